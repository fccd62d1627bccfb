"""Reading and writing of whole photos: lightness, depth, alpha, metadata and compression survive."""

import contextlib
import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin
from skimage.color import rgb2lab

from semcolor_jax.errors import UserError
from semcolor_jax.photos.encoding import encode, write_photos
from semcolor_jax.photos.formats import writable_format
from semcolor_jax.photos.metadata import upright_exif
from semcolor_jax.photos.photo import Photo
from semcolor_jax.photos.profiles import srgb_profile
from semcolor_jax.photos.reading import examine, read_one, read_pages, upright
from semcolor_jax.photos.stretch import is_faded, stretched


def smooth(height=24, width=32, bits=8):
    """Grey that rises to the right and downwards, of the whole range."""
    ramp = np.linspace(0, 1, width)[None] * 0.7 + np.linspace(0, 1, height)[:, None] * 0.3
    return np.rint(ramp * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def linear_grey_profile():
    """A grey ICC profile whose values are linear light (ICC.1:2022, 8.3), made by hand."""
    pack = struct.pack
    tags = {
        b"wtpt": b"XYZ " + bytes(4) + pack(">3i", 63190, 65536, 54061),
        b"kTRC": b"curv" + bytes(4) + pack(">I", 0),
        b"desc": b"desc" + bytes(4) + pack(">I", 2) + b"x\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"-\0\0\0",
    }
    table, body = pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + pack(">2I", 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = pack(">I4s4B", 128 + len(table) + len(body), bytes(4), 2, 64, 0, 0) + b"mntrGRAYXYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


def test_a_profile_is_applied(tmp_path):
    light = np.linspace(0.02, 1, 32)[None].repeat(8, 0)
    image = np.rint(light * 255).astype(np.uint8)
    source = saved(tmp_path / "a.png", image, icc_profile=linear_grey_profile())
    lightness = 116 * np.cbrt(image / 255) - 16  # CIE's formula: the values are luminance itself
    np.testing.assert_allclose(rgb2lab(read_one(source).pixels)[..., 0], lightness, atol=0.6)


def test_a_profile_is_applied_in_sixteen_bits(tmp_path):
    image = np.rint(np.linspace(0.02, 1, 64) * 65535).astype(np.uint16)[None].repeat(4, 0)
    tifffile.imwrite(tmp_path / "a.tif", image, iccprofile=linear_grey_profile())
    photo = read_one(tmp_path / "a.tif")
    lightness = 116 * np.cbrt(image / 65535) - 16
    np.testing.assert_allclose(rgb2lab(photo.pixels / 65535)[..., 0], lightness, atol=0.02)


@pytest.mark.parametrize("profile", [b"damaged", srgb_profile()])
def test_a_profile_that_does_not_fit_is_told_and_left(tmp_path, profile):
    source = saved(tmp_path / "a.png", smooth(), icc_profile=profile)  # RGB's profile in a grey file
    photo = read_one(source)
    assert "taken for sRGB" in photo.warnings[0]
    np.testing.assert_array_equal(photo.pixels[..., 1], smooth())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_every_file_carries_the_profile(tmp_path, suffix):
    source = saved(tmp_path / f"a{suffix}", smooth())
    write_photos(tmp_path / f"b{suffix}", read_pages(source), format=examine(source).format)
    with Image.open(tmp_path / f"b{suffix}") as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


@settings(max_examples=20, deadline=None)
@given(
    channels=st.sampled_from([1, 2, 3, 4]),
    format=st.sampled_from(["PNG", "TIFF"]),
    seed=st.integers(0, 9),
)
def test_sixteen_bits_go_through_unchanged(channels, format, seed):
    pixels = np.random.default_rng(seed).integers(0, 65536, (5, 7, 3), np.uint16)
    if channels < 3:
        pixels = np.repeat(pixels[..., :1], 3, axis=-1)
    alpha = None if channels % 2 else np.random.default_rng(seed + 1).integers(0, 65536, (5, 7), np.uint16)
    data, notes = encode(Photo(pixels=pixels, alpha=alpha), format=format)
    back = read_one(data)
    assert (notes, back.origin.bits) == ([], 16)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert (back.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(back.alpha, alpha)


def test_formats_without_sixteen_bits_say_so():
    data, notes = encode(Photo(pixels=np.repeat(smooth(bits=16)[..., None], 3, -1)), format="JPEG")
    assert "8 bits" in notes[0]
    assert np.abs(read_one(data).pixels[..., 1].astype(int) - smooth()).max() <= 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_min_is_white_is_no_negative(tmp_path, dtype):
    grey = smooth(bits=8 * np.dtype(dtype).itemsize)
    tifffile.imwrite(tmp_path / "a.tif", np.iinfo(dtype).max - grey, photometric="miniswhite")
    np.testing.assert_array_equal(read_one(tmp_path / "a.tif").pixels[..., 0], grey)


def test_twelve_bits_in_sixteen_by_the_files_word(tmp_path):
    twelve = smooth(bits=16) >> 4
    tifffile.imwrite(tmp_path / "a.tif", twelve, extratags=[(341, 3, 1, 4095, True)])  # SMaxSampleValue
    photo = read_one(tmp_path / "a.tif")
    np.testing.assert_allclose(photo.pixels[..., 0], twelve / 4095 * 65535, atol=0.51)
    assert photo.warnings == ()


def test_twelve_bits_in_sixteen_without_a_word_are_told_and_stretched(tmp_path):
    twelve = smooth(bits=16) >> 4
    tifffile.imwrite(tmp_path / "a.tif", twelve)
    photo = read_one(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.pixels[..., 0], twelve)
    assert "1/16 of its range" in photo.warnings[0]
    assert stretched(photo.pixels).max() > 65000


@pytest.mark.parametrize("compression", [None, "lzw", "adobe_deflate", "packbits", "zstd", "jpeg"])
def test_the_compression_of_tiff_stays(tmp_path, compression):
    tifffile.imwrite(
        tmp_path / "a.tif", np.repeat(smooth()[..., None], 3, -1), photometric="rgb", compression=compression
    )
    write_photos(tmp_path / "b.tif", read_pages(tmp_path / "a.tif"), format="TIFF")
    with tifffile.TiffFile(tmp_path / "a.tif") as before, tifffile.TiffFile(tmp_path / "b.tif") as after:
        assert after.pages[0].compression == before.pages[0].compression


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_stays_lossless_or_lossy(tmp_path, lossless):
    source = saved(tmp_path / "a.webp", smooth(), lossless=lossless)
    assert examine(source).lossless == lossless
    data, _ = encode(read_one(source), format="WEBP")
    assert examine(data).lossless == lossless
    if lossless:
        np.testing.assert_array_equal(read_one(data).pixels, read_one(source).pixels)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_is_kept_to_the_bit(tmp_path, suffix):
    rgba = np.dstack([np.repeat(smooth()[..., None], 3, -1), smooth()[::-1]])
    source = saved(tmp_path / f"a{suffix}", rgba, **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    photo = read_one(source)
    data, _ = encode(photo, format=photo.origin.format)
    np.testing.assert_array_equal(read_one(data).alpha, rgba[..., 3])
    assert "laid on white" in encode(photo, format="JPEG")[1][0]


def exif_block():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x013B] = 6, "Großvater".encode("latin-1"), b"ACME"
    exif[0x8769] = {0x9003: "1931:05:06 07:08:09", 0xA002: 32, 0xA003: 24, 0x829A: 0.01, 0x927C: b"maker's own"}
    exif[0x8825] = {1: "N", 2: (45.0, 39.0, 1.5)}
    return exif.tobytes()


def described(path):
    with Image.open(path) as image:
        exif = image.getexif()
        return {tag: exif.get(tag) for tag in (0x0112, 0x010E, 0x013B)}, exif.get_ifd(0x8769), exif.get_ifd(0x8825)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"])
@pytest.mark.parametrize("bits", [8, 16])
def test_exif_is_kept_and_upright(tmp_path, suffix, bits):
    if bits == 16 and suffix not in (".png", ".tif"):
        pytest.skip("8 bits only")
    source = saved(tmp_path / "a.jpg", smooth(), exif=exif_block())
    photo = read_one(source)
    assert photo.pixels.shape == (32, 24, 3)
    if bits == 16:
        photo = Photo(pixels=photo.pixels.astype(np.uint16) * 257, metadata=photo.metadata)
    format = {".jpg": "JPEG", ".tif": "TIFF", ".heic": "HEIF"}.get(suffix, suffix[1:].upper())
    write_photos(tmp_path / f"b{suffix}", [photo], format=format)
    tags, inner, place = described(tmp_path / f"b{suffix}")
    assert tags == {0x0112: None if suffix in (".tif", ".avif") else 1, 0x010E: "Großvater", 0x013B: "ACME"}
    assert inner[0x9003] == "1931:05:06 07:08:09"
    assert (inner[0xA002], inner[0xA003]) == (24, 32)
    assert place[2] == (45.0, 39.0, 1.5)


def test_tiffs_own_tags_are_kept(tmp_path):
    tags = [
        (315, 2, 0, b"Grandfather\0", True),
        (65000, 2, 0, b"private\0", True),
        (33723, 7, 8, b"\x1c\x02IPTC..", True),
    ]
    tifffile.imwrite(
        tmp_path / "a.tif", smooth(bits=16), description="Aunt Mary", resolution=(600, 600), resolutionunit=2,
        metadata=None, extratags=tags, datetime="1931:05:06 07:08:09",
    )  # fmt: skip
    write_photos(tmp_path / "b.tif", read_pages(tmp_path / "a.tif"), format="TIFF")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        found: Any = file.pages[0].aspage().tags
        assert [found[code].value for code in (270, 306, 315, 65000, 33723)] == [
            "Aunt Mary", "1931:05:06 07:08:09", "Grandfather", "private", b"\x1c\x02IPTC..",
        ]  # fmt: skip
        assert found[282].value == (600, 1)


def test_png_text_and_resolution_are_kept(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Description", "Aunt Mary")
    info.add_itxt("Title", "Großvater", "de", "Titel")
    for bits in (8, 16):
        Image.fromarray(smooth(bits=bits)).save(tmp_path / "a.png", pnginfo=info, dpi=(600, 300))
        data, _ = encode(read_one(tmp_path / "a.png"), format="PNG")
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            text: Any = image.text  # pyright: ignore[reportAttributeAccessIssue]  (of PNG)
            assert text == {"Description": "Aunt Mary", "Title": "Großvater"}
            assert text["Title"].lang == "de"
            np.testing.assert_allclose(image.info["dpi"], (600, 300), rtol=1e-4)


def test_xmp_is_kept_and_upright(tmp_path):
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6" dc:creator="ACME"/></x:xmpmeta>'
    source = saved(tmp_path / "a.jpg", smooth(), xmp=packet)
    for format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        data, _ = encode(read_one(source), format=format)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            found = image.info["xmp"]
        found = found if isinstance(found, bytes) else found.encode()
        assert found == packet.replace(b'"6"', b'"1"')


def test_jpegs_iptc_and_comment_are_kept(tmp_path):
    segment = b"\xff\xed\x00\x14Photoshop 3.0\x008BIM"
    source = saved(tmp_path / "a.jpg", smooth(), extra=segment, comment=b"1931")
    data, _ = encode(read_one(source), format="JPEG")
    assert segment in data
    assert b"1931" in data


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_arrays_is_pillows_turning(orientation):
    from PIL import ImageOps

    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(array)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(upright(array, orientation), np.asarray(ImageOps.exif_transpose(image)))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=60))
def test_a_damaged_exif_block_is_an_error_of_struct_or_comes_back(block):
    with contextlib.suppress(struct.error):
        upright_exif(block, quarter_turn=True)


def test_a_jpeg_without_its_last_bytes_is_told_and_half_a_one_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320), np.uint8)
    whole = saved(tmp_path / "a.jpg", noise).read_bytes()
    (tmp_path / "end.jpg").write_bytes(whole[:-40])
    photo = read_one(tmp_path / "end.jpg")
    assert "cut short" in photo.warnings[0]
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"half\.jpg is cut short: 1\d\d of its 240 rows are missing"):
        read_one(tmp_path / "half.jpg")
    half = read_one(tmp_path / "half.jpg", tolerant=True)
    np.testing.assert_array_equal(half.pixels[:80], read_one(whole).pixels[:80])


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animations_are_named(tmp_path, suffix):
    frames = [Image.fromarray(smooth()), Image.fromarray(smooth()[::-1])]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match=r"animation of 2 frames.*`semcolor video`"):
        examine(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(("name", "format"), [("IMG_0001", "JPEG"), ("a.txt", "PNG"), ("b.jpg", "TIFF")])
def test_files_are_known_by_their_content(tmp_path, name, format):
    Image.fromarray(smooth()).save(tmp_path / name, format=format)
    assert examine(tmp_path / name).format == format


def test_what_is_written_where_a_format_cannot_be(tmp_path):
    for name, format in {"a.gif": "PNG", "a.pgm": "PNG", "a.ppm": "PPM", "a.jp2": "JPEG2000"}.items():
        origin = examine(saved(tmp_path / name, smooth()))
        assert writable_format(origin, name[1:]) == format


def test_a_cameras_raw_file_is_no_photo_yet(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "a.nef", format="TIFF")
    with pytest.raises(UserError, match=r"a\.nef is a camera's raw file"):
        examine(tmp_path / "a.nef")


def test_only_faded_photos_are_called_faded():
    grey = np.repeat(smooth()[..., None], 3, -1)
    assert not is_faded(grey)
    assert is_faded((grey // 3 + 80).astype(np.uint8))
    assert not is_faded(np.full_like(grey, 90))
    assert not is_faded(stretched((grey // 3 + 80).astype(np.uint8)))


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"b\.png: No space left"):
        write_photos(tmp_path / "b.png", [Photo(pixels=np.zeros((4, 4, 3), np.uint8))], format="PNG")
    assert list(tmp_path.iterdir()) == []
