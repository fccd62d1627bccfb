import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image

from semcolor_jax.errors import UserError
from semcolor_jax.files import read_json, replacing, write_json
from semcolor_jax.photos import files as photos
from semcolor_jax.photos.files import list_images, read_photo, write_image
from semcolor_jax.photos.reading import read_one

CORNERS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[9, 9, 9], [90, 90, 90], [200, 200, 200]]], np.uint8)


def _noise(height=24, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# What becomes of the stored picture once the tag's instruction is carried out (EXIF 2.3, tag 0x0112).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(tmp_path, orientation):
    image = Image.fromarray(CORNERS)
    image.getexif()[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=image.getexif())
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), UPRIGHT[orientation](CORNERS))


def test_an_orientation_that_does_not_exist_is_ignored(tmp_path):
    image = Image.fromarray(CORNERS)
    image.getexif()[0x0112] = 99
    image.save(tmp_path / "a.png", exif=image.getexif())
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), CORNERS)


@pytest.mark.parametrize("height", [255, 256, 257, 600])
def test_every_row_of_a_tall_photo_is_read(tmp_path, height):
    photo = _noise(height, 3)
    Image.fromarray(photo).save(tmp_path / "a.png")
    read = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(read, photo)
    assert read.flags.writeable


def test_grayscale_fills_three_channels(tmp_path):
    Image.fromarray(CORNERS[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), np.repeat(CORNERS[..., :1], 3, axis=-1))


def test_sixteen_bits_keep_the_upper_eight(tmp_path):
    values = np.array([[0, 255, 256], [0x1234, 0x80FF, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.array([[0, 0, 1], [0x12, 0x80, 255]], np.uint8)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png")[..., 1], expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_min_is_white_is_no_negative(tmp_path, dtype):
    grey = np.arange(24, dtype=dtype).reshape(4, 6) * (np.iinfo(dtype).max // 24)
    tifffile.imwrite(tmp_path / "a.tif", np.iinfo(dtype).max - grey, photometric="miniswhite")
    expected = grey >> (8 * grey.itemsize - 8)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif")[..., 1], expected)


def test_palette(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 10, 20, 30])
    image.save(tmp_path / "a.png")
    expected = [[[255, 0, 0], [0, 255, 0]], [[10, 20, 30], [255, 0, 0]]]
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), expected)


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    # 51 / 255 = one fifth of black on white is 204.
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), [[[10, 20, 30], [255] * 3, [204] * 3]])


def test_a_transparent_colour_of_a_palette_is_laid_on_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "a.png", transparency=1)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), [[[255, 0, 0], [255, 255, 255]]])


def test_cmyk(tmp_path):
    # Cyan ink alone takes away red; no ink is white; black ink alone is black.
    ink = np.zeros((8, 24, 4), np.uint8)
    ink[:, :8, 0] = 255
    ink[:, 16:, 3] = 255
    Image.frombytes("CMYK", (24, 8), ink.tobytes()).save(tmp_path / "a.jpg", quality=100)
    photo = read_photo(tmp_path / "a.jpg")[4, [4, 12, 20]].astype(int)
    np.testing.assert_allclose(photo, [[0, 255, 255], [255, 255, 255], [0, 0, 0]], atol=3)


def _truncated(path):
    Image.fromarray(_noise()).save(path)
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".gif"])
def test_a_truncated_file_is_named(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    _truncated(path)
    with pytest.raises(UserError, match=f"cut{suffix}"):
        read_photo(path)


def test_what_is_not_an_image_is_named(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    for name, problem in {
        "text.jpg": "not an image",
        "empty.jpg": "not an image",
        "folder.jpg": "is a folder",
        "missing.jpg": "there is no file",
    }.items():
        with pytest.raises(UserError, match=problem) as caught:
            read_photo(tmp_path / name)
        assert name in str(caught.value)


def test_the_profile_is_applied_as_for_colouring(tmp_path):
    profile = imagecodecs.cms_profile("adobergb")
    for mode in ("RGB", "RGBA"):
        Image.fromarray(_noise()).convert(mode).save(tmp_path / "a.png", icc_profile=profile)
        read = read_photo(tmp_path / "a.png")
        np.testing.assert_array_equal(read, read_one(tmp_path / "a.png").pixels)
        assert (read != _noise()).mean() > 0.5


def test_a_plain_jpeg_has_the_pixels_that_pillow_decodes(tmp_path):
    Image.fromarray(_noise()).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        np.testing.assert_array_equal(read_photo(tmp_path / "a.jpg"), np.asarray(image))


def test_heic_is_read_and_found_in_folders(tmp_path):
    pillow_heif.from_pillow(Image.fromarray(_noise(64, 64) // 8 + 100)).save(tmp_path / "a.heic", quality=100)
    assert list_images(tmp_path) == [tmp_path / "a.heic"]
    np.testing.assert_array_equal(read_photo(tmp_path / "a.heic"), read_one(tmp_path / "a.heic").pixels)


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif has floating-point pixels"):
        read_photo(tmp_path / "a.tif")


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    Image.fromarray(_noise()).save(tmp_path / "bomb.png")
    monkeypatch.setattr(photos.Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"bomb\.png is too large"):
        read_photo(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
def test_lossless_formats_give_back_what_was_written(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", _noise())
    np.testing.assert_array_equal(read_photo(tmp_path / f"a{suffix}"), _noise())
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_come_close_and_obey_the_quality(tmp_path, suffix):
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    smooth = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(128)), axis=-1)
    write_image(tmp_path / f"fine{suffix}", smooth)
    write_image(tmp_path / f"coarse{suffix}", smooth, quality=10)
    difference = read_photo(tmp_path / f"fine{suffix}").astype(int) - smooth
    assert np.abs(difference).mean() < 3
    assert (tmp_path / f"coarse{suffix}").stat().st_size < (tmp_path / f"fine{suffix}").stat().st_size


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(UserError, match="suffix must be one of"):
        write_image(tmp_path / "a.xyz", _noise())


def test_an_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for folder in ("missing", "file"):
        with pytest.raises(UserError, match="cannot write"):
            write_image(tmp_path / folder / "a.png", _noise())


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, None]})
    assert read_json(tmp_path / "a.json") == {"x": [1, None]}
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(UserError, match="cannot read"):
        read_json(tmp_path / "b.json")


def test_images_are_listed_recursively_in_order_without_hidden_ones(tmp_path):
    for name in ("b/z.JPG", "b/a.png", "a.webp", "note.txt", ".hidden.jpg", ".folder/x.jpg", "b/c/d.jpeg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a.webp", "b/a.png", "b/c/d.jpeg", "b/z.JPG"]


def test_only_folders_can_be_listed(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        list_images(tmp_path / "file")
    with pytest.raises(UserError, match="does not exist"):
        list_images(tmp_path / "missing")
