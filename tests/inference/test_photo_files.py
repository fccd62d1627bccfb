import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab
from stub_network import Stripes, photo_of

from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.finished import Finished
from semcolor_jax.inference.photo_files import BATCH, Options, colorize_bytes, colorize_each, colorize_files
from semcolor_jax.inference.plan import make_plan
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


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".ppm"])
def test_every_format_is_kept(colorizer, tmp_path, suffix):
    source = save(tmp_path / f"photo{suffix}")
    assert colorize_files(colorizer, [source], tmp_path / "out") == [tmp_path / "out" / source.name]


@pytest.mark.parametrize(
    ("mode", "coloured"), [("L", "RGB"), ("1", "RGB"), ("LA", "RGBA"), ("P", "RGB"), ("RGBA", "RGBA")]
)
def test_other_modes_come_out_as_colour_and_keep_their_alpha(colorizer, tmp_path, mode, coloured):
    source = save(tmp_path / "gray.png", mode=mode)
    (target,) = colorize_files(colorizer, [source], str(tmp_path / "out"))
    with Image.open(target) as image:
        assert (image.size, image.mode) == ((18, 12), coloured)


def test_a_grey_file_keeps_its_lightness_and_gains_colour(colorizer, tmp_path):
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


def outcomes(colorizer, folder, out_dir, options=None, **kwargs):
    """Colours a folder; returns the status of each file by name, those that the plan refuses included."""
    plan = make_plan([folder], out_dir)
    found = {source.name: "refused" for source, _ in plan.refused}
    found |= {path.name: "passed over" for path in plan.passed_over}
    coloured = colorize_each(colorizer, plan.jobs, options, **kwargs)
    return found | {Path(os.fsdecode(o.job.source)).name: o.status for o in coloured}


def test_bad_files_never_stop_the_others(colorizer, tmp_path):
    for name in ("a.png", "c.jpg", "e.png"):
        save(tmp_path / "in" / name)
    cut = save(tmp_path / "in/b.png", height=60, width=60)
    cut.write_bytes(cut.read_bytes()[:200])
    (tmp_path / "in/d.jpg").write_text("no photo")
    (tmp_path / "in/empty.png").touch()
    (tmp_path / "in/notes.txt").write_text("1931")
    frames = [Image.fromarray(photo_of(9, 9, seed=seed)) for seed in range(2)]
    frames[0].save(tmp_path / "in/film.gif", save_all=True, append_images=frames[1:])
    assert outcomes(colorizer, tmp_path / "in", tmp_path / "out") == {
        "a.png": "coloured",
        "b.png": "failed",
        "c.jpg": "coloured",
        "d.jpg": "refused",
        "e.png": "coloured",
        "empty.png": "refused",
        "film.gif": "refused",
        "notes.txt": "passed over",
    }
    assert list(sizes_of(tmp_path / "out")) == ["a.png", "c.jpg", "e.png"]


def test_the_library_call_names_all_bad_files_after_the_good_ones_are_done(colorizer, tmp_path):
    good, bad = save(tmp_path / "good.png"), tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"2 of 3 photos were not coloured: .*missing\.png.*bad\.png|bad\.png.*missing"):
        colorize_files(colorizer, [bad, tmp_path / "missing.png", good], tmp_path / "out")
    assert list(sizes_of(tmp_path / "out")) == ["good.png"]


def test_a_second_run_does_what_is_new_changed_or_was_done_otherwise(colorizer, tmp_path):
    for name in ("a.png", "b.png", "c.png", "d.png"):
        save(tmp_path / "in" / name)

    def run(settings="one"):
        return outcomes(colorizer, tmp_path / "in", tmp_path / "out", finished=Finished(tmp_path / "out", settings))

    assert set(run().values()) == {"coloured"}
    assert set(run().values()) == {"skipped"}
    (tmp_path / "out/b.png").unlink()
    (tmp_path / "out/c.png").write_bytes(b"half")
    save(tmp_path / "in/d.png", height=13)
    assert run() == {"a.png": "skipped", "b.png": "coloured", "c.png": "coloured", "d.png": "coloured"}
    assert set(run("other").values()) == {"coloured"}


def test_half_a_line_of_the_record_counts_for_nothing(colorizer, tmp_path):
    save(tmp_path / "in/a.png")
    record = Finished(tmp_path / "out", "x")
    outcomes(colorizer, tmp_path / "in", tmp_path / "out", finished=record)
    (path,) = (tmp_path / "out").glob(".semcolor-finished*")
    path.write_text(path.read_text() + '{"photo": "b.p')
    assert Finished(tmp_path / "out", "x").state(tmp_path / "in/a.png", tmp_path / "out/a.png") == "finished"


def test_what_a_killed_run_left_is_deleted(colorizer, tmp_path):
    save(tmp_path / "in/a.png")
    (tmp_path / "out").mkdir()
    dead, alive = tmp_path / "out/.semcolor-99999999-ab.png", tmp_path / f"out/.semcolor-{os.getpid()}-ab.png"
    for path in (dead, alive):
        path.touch()
    outcomes(colorizer, tmp_path / "in", tmp_path / "out")
    assert (dead.exists(), alive.exists()) == (False, True)


def test_several_folders_keep_their_names(colorizer, tmp_path):
    for name in ("1931/a.png", "1932/a.png"):
        save(tmp_path / name)
    colorize_files(colorizer, [tmp_path / "1931", tmp_path / "1932"], tmp_path / "out")
    assert list(sizes_of(tmp_path / "out")) == ["1931/a.png", "1932/a.png"]


def test_a_format_that_cannot_be_written_goes_beside_as_png_and_replaces_nothing(colorizer, tmp_path):
    for name in ("a.gif", "a.png", "b.gif"):
        save(tmp_path / "in" / name, mode="L")
    colorize_files(colorizer, [tmp_path / "in"], tmp_path / "out")
    assert list(sizes_of(tmp_path / "out")) == ["a.gif.png", "a.png", "b.png"]


def test_the_output_folder_may_not_be_the_input_unless_names_differ(colorizer, tmp_path):
    save(tmp_path / "a.png")
    with pytest.raises(UserError, match="is the input folder"):
        make_plan([tmp_path], tmp_path)
    for _ in range(2):
        (job,) = make_plan([tmp_path], tmp_path, suffix="_colour").jobs
        list(colorize_each(colorizer, [job]))
    assert list(sizes_of(tmp_path)) == ["a.png", "a_colour.png"]


def test_a_name_as_long_as_names_can_be(colorizer, tmp_path):
    source = save(tmp_path / f"{'x' * 251}.png")
    assert colorize_files(colorizer, [source], tmp_path / "out")[0].is_file()


def test_all_pages_of_a_tiff_file(colorizer, tmp_path):
    pages = [Image.fromarray(photo_of(12, 18, seed=seed)) for seed in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    (target,) = colorize_files(colorizer, [tmp_path / "a.tif"], tmp_path / "out")
    with Image.open(target) as image:
        assert image.n_frames == 3  # pyright: ignore[reportAttributeAccessIssue]  (formats with pages)


def test_files_of_several_pages_have_no_pictures_beside_them_and_say_so(colorizer, tmp_path):
    pages = [Image.fromarray(photo_of(12, 18, seed=seed)) for seed in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    jobs = make_plan([tmp_path / "a.tif"], tmp_path / "out").jobs
    for options, beside in ((Options(compare=True), None), (Options(), lambda job, photo: pytest.fail("called"))):
        (outcome,) = colorize_each(colorizer, jobs, options, beside=beside)
        assert "has 2 pages, so no other pictures are made of it" in outcome.notes
    (outcome,) = colorize_each(colorizer, jobs, Options())
    assert outcome.notes == ()


def test_before_and_after_side_by_side(colorizer, tmp_path):
    save(tmp_path / "in/a.png")
    outcomes(colorizer, tmp_path / "in", tmp_path / "out", Options(compare=True))
    assert sizes_of(tmp_path / "out") == {"a.png": ((18, 12), "RGB"), "a_compare.png": ((36, 12), "RGB")}
    with Image.open(tmp_path / "out/a_compare.png") as image:
        before, after = np.split(np.asarray(image), 2, axis=1)
    assert np.ptp(before, axis=-1).max() <= 1 < np.ptp(after, axis=-1).max()


def test_bytes_in_bytes_out(colorizer, tmp_path):
    data, notes = colorize_bytes(colorizer, save(tmp_path / "a.webp").read_bytes())
    assert data[8:12] == b"WEBP"
    assert notes == ()
    with pytest.raises(UserError, match="standard input is not a photo"):
        colorize_bytes(colorizer, b"text")


def test_nothing_to_colour_is_refused(colorizer, tmp_path):
    (tmp_path / "empty").mkdir()
    refuse(colorizer, [tmp_path / "empty"], tmp_path / "out", "holds no photos")
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
        return Predictions(ab=jnp.float32(ab - 50) / 3)


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
    for side, photos in ((16, large), (500, folder_of(tmp_path / "in", [(500, 500)] * BATCH))):
        network = Remembering()
        colorize_files(Colorizer(network, side=side, choice=ColorChoice("reg")), photos, tmp_path / "out")
        assert [shape[0] for shape in network.shapes] == [1] * BATCH


def test_photos_before_a_damaged_one_are_coloured(remembering, tmp_path):
    *good, cut = folder_of(tmp_path / "in", [(60, 60)] * 4)
    cut.write_bytes(cut.read_bytes()[:200])
    with pytest.raises(UserError, match=cut.name):
        colorize_files(remembering, [tmp_path / "in"], tmp_path / "out")
    assert list(sizes_of(tmp_path / "out")) == [path.name for path in good]
