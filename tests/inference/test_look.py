"""A look at a photo gives, mixed, what colouring gives, for any setting, from one run of the network."""

import jax
import numpy as np
import pytest
from stub_network import Stripes, photo_of

from semcolor_jax.baselines.build import build_model, init_variables
from semcolor_jax.config import default
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.look import look
from semcolor_jax.inference.network import _read_out
from semcolor_jax.models import Predictor


@pytest.fixture(scope="module", params=[1, 2])
def colorizer(request):
    config = default()
    config.model.width, config.model.scene_features, config.model.output_stride = 2, 4, request.param
    model = build_model(config)
    variables = init_variables(model, jax.random.key(0, impl="rbg"), config=config)
    return Colorizer(Predictor(model, jax.tree.map(lambda x: 3 * x, variables)), side=48)


@pytest.mark.parametrize(
    "choice",
    [
        ColorChoice("soft", temperature=0.2),
        ColorChoice("reg", saturation=1.7),
        ColorChoice("both", temperature=0.9, share=0.3, saturation=0.4),
    ],
)
def test_mixing_gives_what_colouring_gives(colorizer, choice):
    photo = photo_of(60, 48)
    expected = Colorizer(colorizer.predictor, side=48, choice=choice).colors([photo])[0]
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(look(colorizer, photo).mix(choice), expected, atol=0.05)  # logits in half precision


def test_the_rest_is_what_colouring_finds(colorizer):
    photo = photo_of(60, 48)
    seen, expected = look(colorizer, photo), colorizer(photo)
    np.testing.assert_array_equal(seen.classes, expected.segmentation)
    assert seen.scenes is not None
    assert expected.scenes is not None
    assert [name for name, _ in seen.scenes] == [name for name, _ in expected.scenes]
    bottom_right = colorizer.colorize(photo).distribution(47, 59)
    near = seen.distribution(1.0, 1.0).probabilities
    assert near.sum() == pytest.approx(1, abs=1e-5)
    if colorizer.predictor.model.output_stride == 1:
        np.testing.assert_allclose(near, bottom_right.probabilities, atol=1e-4)


def test_shifts_lead_to_other_colours(colorizer):
    seen = look(colorizer, photo_of(60, 48))
    shifts = seen.shifts(ColorChoice("both"), count=4)
    assert seen.ab is not None
    assert shifts.shape == (3, *seen.ab.shape)
    assert min(np.abs(shift).mean() for shift in shifts) > 0.1


def _compiled():
    return _read_out._cache_size()  # pyright: ignore[reportAttributeAccessIssue]  (private)


def test_other_numbers_compile_nothing(colorizer):
    photo = photo_of(60, 48)
    Colorizer(colorizer.predictor, side=48, choice=ColorChoice("both")).colors([photo])
    before = _compiled()
    for temperature in (0.3, 0.7):
        choice = ColorChoice("both", temperature=temperature, share=temperature, saturation=2 * temperature)
        Colorizer(colorizer.predictor, side=48, choice=choice).colors([photo])
    assert _compiled() == before


def test_a_network_without_distributions():
    seen = look(Colorizer(Stripes(), side=32, choice=ColorChoice("reg")), photo_of(32, 32))
    assert seen.branches == ("reg",)
    assert seen.shifts(ColorChoice("reg"), count=4).shape[0] == 0
    with pytest.raises(UserError, match="no branch 'soft'"):
        seen.mix(ColorChoice("both"))
    with pytest.raises(UserError, match="no distribution"):
        seen.distribution(0.5, 0.5)
    with pytest.raises(UserError, match="outside the photo"):
        seen.distribution(1.5, 0.5)
