import json

import numpy as np
import pytest
from skimage.color import rgb2lab

from semcolor_jax.color import AB_BINS, BIN_TABLE_ID
from semcolor_jax.data.example import Sample, no_labels, no_scene
from semcolor_jax.data.mix import MixedSource
from semcolor_jax.data.prior import Prior, load_prior, measure_prior, save_prior
from semcolor_jax.errors import UserError


class Photos:
    """Small random photos of different sizes."""

    name = "photos"

    def __init__(self, count, *, seed=0):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(3, 9, (count, 2))
        self.images = [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in sizes]
        self.names = [f"{i}" for i in range(count)]
        self.was_read = []

    def __len__(self):
        return len(self.names)

    def read(self, index):
        self.was_read.append(index)
        image = self.images[index]
        return Sample(self.names[index], image, no_labels(image), *no_scene())

    def load(self, index):
        raise AssertionError("the prior is measured on the host")


def _histogram(images):
    """Per-pixel search of the nearest of all 313 bins, with scikit-image's Lab."""
    counts = np.zeros(313)
    for image in images:
        for pixel in rgb2lab(image).reshape(-1, 3):
            counts[np.argmin(np.sum((AB_BINS - pixel[1:]) ** 2, axis=-1))] += 1
    return counts


def test_the_prior_is_the_histogram_of_the_nearest_bins():
    source = Photos(6)
    prior = measure_prior(source, max_images=6, seed=0)
    counts = _histogram(source.images)
    np.testing.assert_allclose(prior.probabilities, counts / counts.sum(), rtol=0, atol=1e-12)
    assert prior.probabilities.dtype == np.float64
    assert prior.provenance == {
        "bin_table": BIN_TABLE_ID,
        "source": "photos",
        "images": 6,
        "pixels": sum(image.shape[0] * image.shape[1] for image in source.images),
        "seed": 0,
    }


def test_the_seed_chooses_the_photos_without_repetition():
    chosen = []
    for seed in (0, 0, 1):
        source = Photos(40)
        prior = measure_prior(source, max_images=5, seed=seed)
        assert prior.provenance["images"] == len(set(source.was_read)) == 5
        chosen.append(sorted(source.was_read))
    assert chosen[0] == chosen[1] != chosen[2]


def test_without_a_limit_every_photo_counts_once():
    source = Photos(9)
    prior = measure_prior(source, seed=0)
    assert sorted(source.was_read) == list(range(9))
    counts = _histogram(source.images)
    np.testing.assert_allclose(prior.probabilities, counts / counts.sum(), rtol=0, atol=1e-12)


def test_a_mix_is_measured_with_its_weights():
    many, few = Photos(6, seed=1), Photos(2, seed=2)
    prior = measure_prior(MixedSource([many, few], weights=[1, 1]), seed=0)
    # An epoch has 8 places: 4 photos of the first source, each of the second twice.
    assert len(many.was_read) == 4
    seen = [many.images[i] for i in many.was_read] + 2 * few.images
    counts = _histogram(seen)
    np.testing.assert_allclose(prior.probabilities, counts / counts.sum(), rtol=0, atol=1e-12)
    assert prior.provenance["images"] == 6
    assert prior.provenance["pixels"] == counts.sum()


def test_a_photo_that_cannot_be_read_ends_the_measurement():
    class Broken(Photos):
        def read(self, index):
            if index == 3:
                raise UserError("photo 3 is damaged.")
            return super().read(index)

    with pytest.raises(UserError, match="photo 3 is damaged"):
        measure_prior(Broken(8), seed=0)


def test_a_source_without_photos_is_refused():
    with pytest.raises(UserError, match="no photos"):
        measure_prior(Photos(0), max_images=5, seed=0)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "prior.json"
    save_prior(path, measure_prior(Photos(2), max_images=2, seed=0))
    return path


def test_a_saved_prior_comes_back_to_the_last_bit(saved):
    prior = measure_prior(Photos(2), max_images=2, seed=0)
    loaded = load_prior(saved)
    np.testing.assert_array_equal(loaded.probabilities, prior.probabilities)
    assert loaded.provenance == prior.provenance
    assert list(saved.parent.iterdir()) == [saved]


def _spoil(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c["provenance"].update(bin_table="other"), "another table"),
        (lambda c: c["probabilities"].pop(), "holds 312 numbers"),
        (lambda c: c["probabilities"].__setitem__(0, -0.1), "no probabilities"),
        (lambda c: c["probabilities"].__setitem__(0, float("nan")), "no probabilities"),
        (lambda c: c["probabilities"].__setitem__(0, float("inf")), "no probabilities"),
        (lambda c: c["probabilities"].__setitem__(0, 5.0), "no probabilities"),
        (lambda c: c["probabilities"].__setitem__(0, "x"), "not a file of a colour prior"),
        (lambda c: c.pop("provenance"), "not a file of a colour prior"),
    ],
)
def test_what_is_no_prior_is_refused(saved, change, problem):
    _spoil(saved, change)
    with pytest.raises(UserError, match=rf"prior\.json .*{problem}"):
        load_prior(saved)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        load_prior(tmp_path / "missing.json")
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(UserError, match="not a file of a colour prior"):
        load_prior(tmp_path / "list.json")


def test_an_unwritable_folder_is_refused(tmp_path):
    prior = Prior(probabilities=np.full(313, 1 / 313), provenance={})
    with pytest.raises(UserError, match="cannot write"):
        save_prior(tmp_path / "missing" / "prior.json", prior)
