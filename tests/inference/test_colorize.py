import os

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab

from semcolor_jax.data.taxonomy import PLACES365
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.branches import ColorChoice
from semcolor_jax.inference.colorize import WRITABLE_SUFFIXES, Colorizer, colorize_files, top_scenes
from semcolor_jax.inference.strips import merge
from semcolor_jax.models import Predictions


def photo_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


class Stripes:
    """A network that colours the left half warm and the right half cold, and remembers the sizes it saw."""

    def __init__(self):
        self.shapes = []

    def __call__(self, lightness):
        self.shapes.append(lightness.shape)
        shape = lightness.shape[:3]
        ab = np.zeros((*shape, 2), np.float32)
        ab[..., 1] = np.where(np.arange(shape[2]) < shape[2] / 2, 25, -25)
        seg = np.zeros((*shape, 183), np.float32)
        seg[..., 7] = 1
        return Predictions(ab=ab, seg_logits=seg, scene_logits=np.arange(365, dtype=np.float32)[None])


@pytest.fixture
def colorizer():
    return Colorizer(Stripes(), side=16, choice=ColorChoice("reg"))


@pytest.mark.parametrize(("height", "width"), [(40, 60), (37, 23), (1, 1), (1, 50), (9, 400), (16, 16)])
def test_the_output_has_the_size_of_the_photo(colorizer, height, width):
    result = colorizer(photo_of(height, width))
    assert result.rgb.shape == (height, width, 3)
    assert result.rgb.dtype == np.uint8
    assert result.ab.dtype == np.float32
    assert result.segmentation.shape == result.ab.shape[:2]
    assert (result.segmentation == 7).all()


@pytest.mark.parametrize(
    ("photo", "network"),
    [
        ((40, 60), (16, 24)),
        ((60, 40), (24, 16)),
        ((8, 12), (8, 12)),
        ((20, 640), (2, 64)),
        ((10, 64), (10, 64)),
    ],
)
def test_the_network_sees_a_bounded_size_and_nothing_enlarged(photo, network):
    predictor = Stripes()
    Colorizer(predictor, side=16, choice=ColorChoice("reg"))(photo_of(*photo))
    assert predictor.shapes == [(1, *network, 1)]


def test_the_lightness_is_kept(colorizer):
    photo = photo_of(61, 83)
    change = np.abs(rgb2lab(colorizer(photo).rgb) - rgb2lab(photo))[..., 0]
    assert change.max() < 1
    assert np.median(change) < 0.2


def test_the_colour_is_the_networks(colorizer):
    result = colorizer(np.full((30, 60, 3), 128, np.uint8))
    lab = rgb2lab(result.rgb)
    np.testing.assert_allclose(lab[:, :25, 2], 25, atol=1)
    np.testing.assert_allclose(lab[:, 35:, 2], -25, atol=1)
    np.testing.assert_allclose(lab[..., 1], 0, atol=1)


def test_the_photos_own_colours_do_not_leak(colorizer):
    photo = photo_of(30, 40)
    grey = np.rint(photo @ [0.2126, 0.7152, 0.0722])[..., None].repeat(3, axis=-1).astype(np.uint8)
    np.testing.assert_array_equal(colorizer(photo).ab, colorizer(grey).ab)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 23), width=st.integers(1, 17), strip_pixels=st.integers(1, 400))
def test_strips_give_the_same_as_one_piece(height, width, strip_pixels):
    photo = photo_of(height, width)
    ab = np.random.default_rng(1).uniform(-40, 40, (max(1, height // 3), max(1, width // 2), 2)).astype(np.float32)
    whole = merge(photo, ab, strip_pixels=height * width)
    np.testing.assert_array_equal(merge(photo, ab, strip_pixels=strip_pixels), whole)


@pytest.mark.parametrize(
    ("small", "large"), [((4, 6), (17, 31)), ((5, 3), (5, 3)), ((1, 1), (6, 4)), ((7, 9), (14, 9))]
)
def test_ab_is_enlarged_bilinearly(small, large):
    # Compared after the way through uint8, at colours that a mid-grey of this lightness can take.
    ab = np.random.default_rng(2).uniform(-15, 15, (*small, 2)).astype(np.float32)
    photo = np.full((*large, 3), 128, np.uint8)
    expected = jax.image.resize(ab, (*large, 2), "bilinear")
    np.testing.assert_allclose(rgb2lab(merge(photo, ab))[..., 1:], expected, atol=0.8)


def test_top_scenes_by_hand():
    logits = np.full(365, -np.inf, np.float32)
    logits[[10, 20, 30, 40, 50]] = np.log([0.1, 0.4, 0.3, 0.05, 0.15])
    names, probabilities = zip(*top_scenes(logits), strict=True)
    assert names == tuple(PLACES365[i] for i in (20, 30, 50, 10, 40))
    np.testing.assert_allclose(probabilities, [0.4, 0.3, 0.15, 0.1, 0.05], rtol=1e-5)


def test_branches_that_are_off_give_none():
    def predict(lightness):
        return Predictions(ab=np.zeros((*lightness.shape[:3], 2), np.float32))

    result = Colorizer(predict, choice=ColorChoice("reg"))(photo_of(8, 8))
    assert result.scenes is None
    assert result.segmentation is None


def test_a_missing_branch_is_named():
    with pytest.raises(UserError, match=r"no branch 'soft'; it has: reg"):
        Colorizer(Stripes(), choice=ColorChoice("soft"))(photo_of(8, 8))


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"branch": "seg"}, "branch"),
        ({"temperature": 0.0}, "temperature"),
        ({"share": 1.5}, "share"),
        ({"saturation": 0.0}, "saturation"),
    ],
)
def test_wrong_choices_are_refused(setting, word):
    with pytest.raises(UserError, match=word):
        ColorChoice(**setting)


def test_a_wrong_side_is_refused():
    with pytest.raises(UserError, match="side"):
        Colorizer(Stripes(), side=0)


def test_both_branches_are_mixed_and_saturated():
    colors = {"reg": np.full((2, 2), 10.0), "soft": np.full((2, 2), 50.0)}
    assert np.all(ColorChoice("both", share=0.25, saturation=1.5).apply(colors) == 30)
    assert np.all(ColorChoice("soft", saturation=0.5).apply(colors) == 25)
    with pytest.raises(UserError, match="no branch 'soft'"):
        Colorizer(Stripes(), choice=ColorChoice("both"))(photo_of(8, 8))


def save(path, *, height=12, width=18, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo_of(height, width)).convert(mode).save(path)
    return path


def sizes_of(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with Image.open(path) as image:
                found[path.relative_to(folder).as_posix()] = (image.size, image.mode)
    return found


def test_files_keep_name_and_size(colorizer, tmp_path):
    inputs = [
        save(tmp_path / "in/a.png", height=13, width=7),
        save(tmp_path / "in/b.JPG"),
        save(tmp_path / "c.webp"),
    ]
    written = colorize_files(colorizer, inputs, tmp_path / "new/out")
    assert written == [tmp_path / "new/out" / name for name in ("a.png", "b.JPG", "c.webp")]
    assert sizes_of(tmp_path / "new/out") == {
        "a.png": ((7, 13), "RGB"),
        "b.JPG": ((18, 12), "RGB"),
        "c.webp": ((18, 12), "RGB"),
    }


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_every_listed_format_can_be_written(colorizer, tmp_path, suffix):
    source = save(tmp_path / f"photo{suffix}")
    assert colorize_files(colorizer, [source], tmp_path / "out") == [tmp_path / "out" / source.name]


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA"])
def test_other_modes_come_out_as_colour(colorizer, tmp_path, mode):
    source = save(tmp_path / "gray.png", mode=mode)
    (target,) = colorize_files(colorizer, [source], str(tmp_path / "out"))
    with Image.open(target) as image:
        assert (image.size, image.mode) == ((18, 12), "RGB")


def test_a_gray_file_keeps_its_lightness_and_gains_colour(colorizer, tmp_path):
    source = save(tmp_path / "gray.png", height=24, width=36, mode="L")
    (target,) = colorize_files(colorizer, [source], tmp_path / "out")
    with Image.open(source) as before, Image.open(target) as after:
        old, new = rgb2lab(np.asarray(before.convert("RGB"))), rgb2lab(np.asarray(after))
    assert np.abs(old - new)[..., 0].max() < 1
    assert np.abs(new[..., 2]).mean() > 5


def test_folders_keep_the_places_of_their_images(colorizer, tmp_path):
    for name in ("one.png", "sub/one.png", "sub/deep/two.png"):
        save(tmp_path / "in" / name)
    (tmp_path / "in/notes.txt").write_text("no image")
    colorize_files(colorizer, [tmp_path / "in", save(tmp_path / "three.png")], tmp_path / "out")
    assert list(sizes_of(tmp_path / "out")) == ["one.png", "sub/deep/two.png", "sub/one.png", "three.png"]


def test_a_second_run_into_a_folder_inside_the_input_takes_no_output_as_input(colorizer, tmp_path):
    save(tmp_path / "photos/a.png")
    for _ in range(2):
        colorize_files(colorizer, [tmp_path / "photos"], tmp_path / "photos/coloured")
    assert list(sizes_of(tmp_path / "photos")) == ["a.png", "coloured/a.png"]


def refuse(colorizer, inputs, out_dir, message):
    """Checks that the inputs are refused before anything is coloured or written."""
    before = sorted(out_dir.parent.rglob("*"))
    with pytest.raises(UserError, match=message):
        colorize_files(colorizer, inputs, out_dir)
    assert sorted(out_dir.parent.rglob("*")) == before
    assert colorizer.predictor.shapes == []


def test_two_inputs_of_one_name_are_refused(colorizer, tmp_path):
    inputs = [save(tmp_path / "x/a.png"), save(tmp_path / "y/a.png")]
    refuse(colorizer, inputs, tmp_path / "out", "would both be written")


def test_an_output_that_is_an_input_is_refused(colorizer, tmp_path):
    source = save(tmp_path / "a.png")
    content = source.read_bytes()
    refuse(colorizer, [source], tmp_path, "would replace the input")
    assert source.read_bytes() == content


def test_an_output_that_is_an_input_through_a_link_is_refused(colorizer, tmp_path):
    source = save(tmp_path / "photos/a.png")
    (tmp_path / "link").symlink_to(source.parent)
    refuse(colorizer, [source], tmp_path / "link", "would replace the input")


def test_one_input_must_not_be_replaced_by_the_output_of_another(colorizer, tmp_path):
    inputs = [save(tmp_path / "x/a.png"), save(tmp_path / "out/a.png"), save(tmp_path / "y/b.png")]
    refuse(colorizer, [inputs[2], inputs[0], tmp_path / "out/a.png"], tmp_path / "out", "would both be written")
    save(tmp_path / "out/sub/a.png")
    refuse(
        colorizer,
        [save(tmp_path / "in/sub/a.png").parent.parent, tmp_path / "out/sub/a.png"],
        tmp_path / "out",
        "would replace the input",
    )


def test_all_inputs_are_checked_before_the_first_output(colorizer, tmp_path):
    good = save(tmp_path / "good.png")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    refuse(colorizer, [good, bad], tmp_path / "out", "bad.png")
    refuse(colorizer, [good, tmp_path / "missing.png"], tmp_path / "out", "missing.png")
    refuse(
        colorizer,
        [good, save(tmp_path / "anim.gif")],
        tmp_path / "out",
        "cannot be coloured under its own name",
    )


def test_nothing_to_colour_is_refused(colorizer, tmp_path):
    (tmp_path / "empty").mkdir()
    refuse(colorizer, [tmp_path / "empty"], tmp_path / "out", "holds no images")
    refuse(colorizer, [], tmp_path / "out", "nothing to colour")


def test_an_output_folder_that_cannot_be_made_is_the_users_mistake(colorizer, tmp_path):
    source = save(tmp_path / "a.png")
    refuse(colorizer, [source], save(tmp_path / "file.png"), "cannot be made")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_without_write_permission_is_the_users_mistake(colorizer, tmp_path):
    source = save(tmp_path / "a.png")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot"):
        colorize_files(colorizer, [source], locked)


def test_a_file_cut_short_leaves_no_half_written_output(colorizer, tmp_path):
    good, cut = save(tmp_path / "a.png"), save(tmp_path / "b.png", height=60, width=60)
    cut.write_bytes(cut.read_bytes()[:200])
    with pytest.raises(UserError, match=r"b\.png"):
        colorize_files(colorizer, [good, cut], tmp_path / "out")
    assert list(sizes_of(tmp_path / "out")) == ["a.png"]
