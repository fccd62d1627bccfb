import os

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab
from stub_network import Stripes, photo_of

from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.photo_files import BATCH, WRITABLE_SUFFIXES, colorize_files
from semcolor_jax.models import Predictions


@pytest.fixture
def colorizer():
    return Colorizer(Stripes(), side=16, choice=ColorChoice("reg"))


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


class Remembering(Stripes):
    """Colours every pixel by its lightness and the mean of its photo, whatever else is in the batch."""

    def __call__(self, lightness):
        self.shapes.append(lightness.shape)
        ab = np.concatenate([lightness, np.broadcast_to(lightness.mean((1, 2), keepdims=True), lightness.shape)], -1)
        return Predictions(ab=(ab - 50).astype(np.float32) / 3)


@pytest.fixture
def remembering():
    return Colorizer(Remembering(), side=16, choice=ColorChoice("reg"))


def folder_of(path, sizes):
    """Writes differing photos, which sort in the order of their sizes; returns their paths."""
    path.mkdir()
    for index, (height, width) in enumerate(sizes):
        Image.fromarray(photo_of(height, width, seed=index)).save(path / f"{index:03}.png")
    return sorted(path.iterdir())


def test_batches_give_what_photos_one_by_one_give(remembering, tmp_path):
    sizes = [(16, 24)] * (BATCH + 3) + [(24, 16)] + [(32, 48)] * 2
    sources = folder_of(tmp_path / "in", sizes)
    written = colorize_files(remembering, [tmp_path / "in"], tmp_path / "out")
    assert [path.name for path in written] == [path.name for path in sources]
    assert (
        remembering.predictor.shapes
        == [(BATCH, 16, 24, 1)] + [(1, 16, 24, 1)] * 3 + [(1, 24, 16, 1)] + [(1, 16, 24, 1)] * 2
    )
    for source, target in zip(sources, written, strict=True):
        with Image.open(source) as before, Image.open(target) as after:
            expected = remembering(np.asarray(before)).rgb
            np.testing.assert_array_equal(np.asarray(after), expected)


def test_photos_of_one_network_shape_share_a_batch_whatever_their_size(remembering, tmp_path):
    folder_of(tmp_path / "in", [(16, 24), (32, 48)] * (BATCH // 2))
    colorize_files(remembering, [tmp_path / "in"], tmp_path / "out")
    assert remembering.predictor.shapes == [(BATCH, 16, 24, 1)]
    assert [size for size, _ in sizes_of(tmp_path / "out").values()] == [(24, 16), (48, 32)] * (BATCH // 2)


def test_large_photos_and_large_networks_go_alone(tmp_path):
    large = folder_of(tmp_path / "large", [(720, 740)] * BATCH)
    for colorizer, photos in (
        (Colorizer(Remembering(), side=16, choice=ColorChoice("reg")), large),
        (
            Colorizer(Remembering(), side=500, choice=ColorChoice("reg")),
            folder_of(tmp_path / "in", [(500, 500)] * BATCH),
        ),
    ):
        colorize_files(colorizer, photos, tmp_path / "out")
        assert [shape[0] for shape in colorizer.predictor.shapes] == [1] * BATCH


def test_photos_before_a_damaged_one_are_coloured(remembering, tmp_path):
    *good, cut = folder_of(tmp_path / "in", [(60, 60)] * 4)
    cut.write_bytes(cut.read_bytes()[:200])
    with pytest.raises(UserError, match=cut.name):
        colorize_files(remembering, [tmp_path / "in"], tmp_path / "out")
    assert list(sizes_of(tmp_path / "out")) == [path.name for path in good]
