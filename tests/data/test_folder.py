import json
import logging

import numpy as np
import pytest
from PIL import Image

from semcolor_jax.data import scan
from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.folder import HOLD_OUT, FolderSource, hold_out, list_photos
from semcolor_jax.errors import UserError
from semcolor_jax.photos.files import read_photo
from semcolor_jax.taxonomy.label_sets import coco_stuff_id, places365_id

TABLE = {"ignore": 9, "classes": {"0": "sky-other", "1": "person", "9": "void"}}


def _photo(path, *, height=12, width=16, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    image = Image.fromarray(np.kron(pixels, np.ones((4, 4, 1), np.uint8)))
    image.save(path, **options)
    return path


def _labels(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(ids, np.uint8)).save(path)
    return path


def _table(root, table=TABLE):
    root.mkdir(parents=True, exist_ok=True)
    (root / "labels.json").write_text(json.dumps(table))


@pytest.fixture
def labelled(tmp_path):
    """A split folder: two photos to train on, of which one has labels, and one to validate."""
    root = tmp_path / "set"
    _photo(root / "train/images/a.jpg", seed=1)
    _photo(root / "train/images/deep/b.png", seed=2)
    _photo(root / "val/images/c.jpg", seed=3)
    ids = np.zeros((12, 16))
    ids[:4], ids[4:8] = 1, 9
    _labels(root / "train/labels/deep/b.png", ids)
    _labels(root / "val/labels/c.png", ids)
    _table(root, {"ignore": 9, "classes": {"0": "sky-other", "1": "person", "9": "person"}})
    return root


def _load_all(source):
    dataset = tf.data.Dataset.range(len(source)).map(source.load)
    return list(dataset.as_numpy_iterator())


def _assert_load_is_read(source):
    for index, loaded in enumerate(_load_all(source)):
        sample = source.read(index)
        for key in ("image", "labels", "scene_index", "scene_prob"):
            np.testing.assert_array_equal(loaded[key], getattr(sample, key), err_msg=f"{sample.name} {key}")
            assert loaded[key].dtype == getattr(sample, key).dtype


def test_photos_and_labels(labelled):
    source = FolderSource(labelled, "train")
    assert source.name == "set"
    assert source.names == ["train/images/a.jpg", "train/images/deep/b.png"]
    assert len(source) == 2
    bare, full = source.read(0), source.read(1)
    np.testing.assert_array_equal(bare.labels, np.full((12, 16), 255))
    np.testing.assert_array_equal(full.image, read_photo(labelled / "train/images/deep/b.png"))
    rows = [coco_stuff_id("person"), 255, coco_stuff_id("sky-other")]
    np.testing.assert_array_equal(full.labels, np.repeat(rows, 4)[:, None].repeat(16, axis=1))
    _assert_load_is_read(source)


def test_splits(labelled):
    assert FolderSource(labelled, "val").names == ["val/images/c.jpg"]
    assert len(FolderSource(labelled)) == 3
    with pytest.raises(UserError, match="no split 'test'"):
        FolderSource(labelled, "test")  # pyright: ignore[reportArgumentType]  (the test)


def test_unlabeled_becomes_class_zero(labelled):
    _table(labelled, {"ignore": None, "unlabeled": 9, "classes": {"0": "sky-other", "1": "person"}})
    assert set(np.unique(FolderSource(labelled, "val").read(0).labels)) == {
        0,
        coco_stuff_id("person"),
        coco_stuff_id("sky-other"),
    }


def test_files_that_tensorflow_decodes_otherwise_come_out_alike(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    _photo(tmp_path / "turned.jpg", seed=1, exif=exif)
    _photo(tmp_path / "plain.jpg", seed=2)
    _photo(tmp_path / "progressive.jpg", seed=3, progressive=True, quality=60)
    _photo(tmp_path / "web.webp", seed=4)
    _photo(tmp_path / "picture.bmp", seed=5)
    _photo(tmp_path / "keyed.png", seed=6, transparency=(0, 0, 0))
    rgb = np.random.default_rng(7).integers(0, 256, (8, 8, 4), np.uint8)
    Image.fromarray(rgb).save(tmp_path / "glass.png")
    Image.frombytes("CMYK", (8, 8), rgb.tobytes()).save(tmp_path / "ink.jpg")
    Image.fromarray(rgb[..., :3]).quantize(16).save(tmp_path / "palette.png")
    source = FolderSource(tmp_path)
    assert len(source) == 9
    assert source.read(source.names.index("turned.jpg")).image.shape == (16, 12, 3)
    _assert_load_is_read(source)


def test_palette_label_maps_hold_indices(labelled):
    image = Image.fromarray(np.full((12, 16), 1, np.uint8)).convert("P")
    image.putpalette([200, 200, 200, 9, 9, 9])
    image.save(labelled / "val/labels/c.png")
    source = FolderSource(labelled, "val")
    np.testing.assert_array_equal(source.read(0).labels, np.full((12, 16), coco_stuff_id("person")))
    _assert_load_is_read(source)


def test_label_size_is_compared_with_the_upright_photo(labelled):
    exif = Image.Exif()
    exif[0x0112] = 8
    _photo(labelled / "val/images/c.jpg", height=16, width=12, exif=exif)
    assert FolderSource(labelled, "val").read(0).labels.shape == (12, 16)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_label_map_belongs_to_the_photo_as_shown_in_every_orientation(labelled, orientation, caplog):
    exif = Image.Exif()
    exif[0x0112] = orientation
    height, width = (16, 12) if orientation > 4 else (12, 16)
    _photo(labelled / "val/images/c.jpg", height=height, width=width, exif=exif)
    ids = np.arange(192).reshape(12, 16) % 2
    _labels(labelled / "val/labels/c.png", ids)
    with caplog.at_level(logging.INFO, logger="semcolor_jax"):
        source = FolderSource(labelled, "val")
    sky, person = coco_stuff_id("sky-other"), coco_stuff_id("person")
    np.testing.assert_array_equal(source.read(0).labels, np.where(ids == 0, sky, person))
    assert ("1 photo with a label map is turned by EXIF" in caplog.text) == (orientation > 1)


def test_a_label_map_of_the_stored_photo_is_told_from_one_of_another_size(labelled):
    exif = Image.Exif()
    exif[0x0112] = 6
    _photo(labelled / "val/images/c.jpg", height=12, width=16, exif=exif)  # shown 16 x 12
    with pytest.raises(UserError, match=r"EXIF turns the photo.*as it is shown"):
        FolderSource(labelled, "val")


def test_suffixes_of_label_maps_may_be_written_in_any_case(labelled):
    (labelled / "val/labels/c.png").rename(labelled / "val/labels/c.PNG")
    (labelled / "val/images/c.jpg").rename(labelled / "val/images/c.JPG")
    assert (FolderSource(labelled, "val").read(0).labels != 255).any()


def test_a_label_map_that_is_no_png_is_named_as_the_cause(labelled):
    (labelled / "val/labels/c.png").rename(labelled / "val/labels/c.tif")
    with pytest.raises(UserError, match=r"c\.tif is no PNG"):
        FolderSource(labelled, "val")


def test_names_mean_what_the_taxonomy_says_before_what_they_equal(labelled):
    _table(labelled, {"ignore": None, "classes": {"0": "door", "1": "person", "9": "thing"}})
    (labelled / "taxonomy.yaml").write_text("labels: {door: door-stuff, thing: ignore}\n")
    labels = FolderSource(labelled, "val").read(0).labels
    assert set(np.unique(labels)) == {coco_stuff_id("door-stuff"), coco_stuff_id("person"), 255}


def test_a_folder_called_like_a_shipped_taxonomy_uses_it(tmp_path):
    root = tmp_path / "stanford_background"
    _photo(root / "images/a.jpg")
    _labels(root / "labels/a.png", np.ones((12, 16)))
    _table(root, {"ignore": None, "classes": {"1": "mountain", "7": "foreground-object", "2": "water"}})
    assert FolderSource(root).read(0).labels[0, 0] == coco_stuff_id("mountain")


def test_an_unknown_class_is_named_with_close_ones(labelled):
    _table(labelled, {"ignore": 9, "classes": {"0": "skyy-other", "1": "person"}})
    with pytest.raises(UserError, match=r"(?s)labels\.json.*'skyy-other'.*sky-other"):
        FolderSource(labelled, "train")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("[]", "must hold"),
        ("{", "not valid JSON"),
        ('{"classes": {"300": "person"}}', "'300' is no id"),
        ('{"classes": {"x": "person"}}', "'x' is no id"),
        ('{"ignore": "all", "classes": {}}', "'all' is no id"),
    ],
)
def test_a_malformed_table_is_refused(labelled, table, problem):
    (labelled / "labels.json").write_text(table)
    with pytest.raises(UserError, match=problem):
        FolderSource(labelled, "train")


def test_a_label_map_of_another_size_is_refused_with_both_sizes(labelled):
    _labels(labelled / "val/labels/c.png", np.zeros((12, 20)))
    with pytest.raises(UserError, match=r"c\.png is 20 x 12 pixels, but its photo is 16 x 12"):
        FolderSource(labelled, "val")


def test_an_id_outside_the_table_is_refused(labelled):
    _labels(labelled / "val/labels/c.png", np.full((12, 16), 77))
    with pytest.raises(UserError, match=r"c\.png holds the id 77"):
        FolderSource(labelled, "val")


def test_a_label_map_that_is_none_is_refused(labelled):
    _photo(labelled / "val/labels/c.png")
    with pytest.raises(UserError, match=r"c\.png is no label map"):
        FolderSource(labelled, "val")


@pytest.mark.parametrize("name", ["val/images/c.jpg", "val/labels/c.png"])
def test_a_damaged_file_is_named_at_the_start(labelled, name):
    path = labelled / name
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=rf"{path.name} is damaged"):
        FolderSource(labelled, "val")


def test_a_png_that_lacks_only_its_end_mark_is_read(labelled):
    """Pillow needs no end mark, TensorFlow does: the scan must notice, or training stops in its midst."""
    path = labelled / "val/labels/c.png"
    path.write_bytes(path.read_bytes()[:-12])
    source = FolderSource(labelled, "val")
    np.testing.assert_array_equal(source.read(0).labels[:4], np.full((4, 16), coco_stuff_id("person")))
    _assert_load_is_read(source)


def test_labels_without_their_table_are_refused(labelled):
    (labelled / "labels.json").unlink()
    with pytest.raises(UserError, match=r"no .*labels\.json"):
        FolderSource(labelled, "train")


def test_label_maps_that_fit_no_photo_are_refused(labelled):
    (labelled / "val/labels/c.png").rename(labelled / "val/labels/other.png")
    with pytest.raises(UserError, match=r"called like a photo, such as c\.png"):
        FolderSource(labelled, "val")


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        FolderSource(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no photos in"):
        FolderSource(tmp_path / "empty", "train")


def test_grey_photos_are_left_out_and_counted(tmp_path):
    for i in range(3):
        _photo(tmp_path / f"{i}.jpg", seed=i)
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(12, 16)).save(tmp_path / "one_channel.jpg")
    _photo(tmp_path / "three_channels.jpg", seed=9)
    Image.open(tmp_path / "three_channels.jpg").convert("L").convert("RGB").save(tmp_path / "three_channels.jpg")
    source = FolderSource(tmp_path)
    assert source.dropped == 2
    assert source.names == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_folder_of_only_grey_photos_is_refused(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="are grey"):
        FolderSource(tmp_path)


def test_a_small_red_thing_makes_a_photo_coloured():
    image = np.full((100, 100, 3), 128, np.uint8)
    assert scan.is_grey(image)
    image[:5, :5] = (200, 30, 30)
    assert not scan.is_grey(image)


def test_an_undivided_folder_holds_out_the_same_photos_when_photos_are_added():
    names = [f"photo_{i}.jpg" for i in range(4000)]
    few, many = hold_out(names[:2000]), hold_out(names)
    assert few == {name for name in many if name in names[:2000]}
    # A binomial of 4000 draws with p = 1/20 has mean 200 and standard deviation 14.
    assert len(many) == pytest.approx(4000 / HOLD_OUT, abs=60)


def test_an_undivided_folder_is_split_without_overlap_even_if_tiny(tmp_path):
    for i in range(3):
        _photo(tmp_path / f"{i}.jpg", seed=i)
    train, val = FolderSource(tmp_path, "train"), FolderSource(tmp_path, "val")
    assert sorted([*train.names, *val.names]) == ["0.jpg", "1.jpg", "2.jpg"]
    assert len(val) == 1


def test_a_single_photo_cannot_be_split(tmp_path):
    _photo(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="too few photos"):
        FolderSource(tmp_path, "train")


def test_scenes_come_from_folder_names(tmp_path):
    root = tmp_path / "places"
    _photo(root / "kitchen/a.jpg", seed=1)
    _photo(root / "other/b.jpg", seed=2)
    _photo(root / "sky/close/c.jpg", seed=3)
    _photo(root / "tower/d.jpg", seed=4)
    (root / "taxonomy.yaml").write_text("scenes: {sky: coast, tower: ignore}\n")
    source = FolderSource(root)
    kitchen, other, sky, tower = (source.read(i) for i in range(4))
    assert kitchen.scene_index[0] == places365_id("kitchen")
    np.testing.assert_array_equal(kitchen.scene_prob, [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(other.scene_prob, np.zeros(5))
    np.testing.assert_array_equal(tower.scene_prob, np.zeros(5))
    assert sky.scene_index[0] == places365_id("coast")
    _assert_load_is_read(source)


def test_scenes_json_wins_and_is_normalised(tmp_path):
    _photo(tmp_path / "kitchen/a.jpg")
    scenes = {"kitchen/a.jpg": [["beach", 0.1], [3, 0.3]]}
    (tmp_path / "scenes.json").write_text(json.dumps(scenes))
    sample = FolderSource(tmp_path).read(0)
    np.testing.assert_array_equal(sample.scene_index[:2], [3, places365_id("beach")])
    np.testing.assert_allclose(sample.scene_prob, [0.75, 0.25, 0, 0, 0])
    assert sample.scene_index.dtype == np.int32
    assert sample.scene_prob.dtype == np.float32


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        ([["beech", 1]], "beach"),
        ([[365, 1]], "'365'"),
        ([[1, -0.5]], "no probability"),
        ([[1, float("nan")]], "no probability"),
        ([[1, 0]], "all probabilities are 0"),
        ([[i, 1] for i in range(6)], "6 scenes"),
        ("beach", "must be a list"),
    ],
)
def test_malformed_scenes_are_refused(tmp_path, pairs, problem):
    _photo(tmp_path / "a.jpg")
    (tmp_path / "scenes.json").write_text(json.dumps({"a.jpg": pairs}))
    with pytest.raises(UserError, match=rf"scenes\.json: a\.jpg.*{problem}"):
        FolderSource(tmp_path)


def test_unchanged_files_are_not_looked_at_twice(labelled, monkeypatch):
    FolderSource(labelled)
    looked = []
    for name in ("_look_at_photo", "_look_at_labels"):
        look = getattr(scan, name)
        monkeypatch.setattr(scan, name, lambda path, look=look: looked.append(path.name) or look(path))
    again = FolderSource(labelled)
    assert looked == []
    _assert_load_is_read(again)
    _photo(labelled / "val/images/c.jpg", seed=8, quality=50)
    FolderSource(labelled)
    assert looked == ["c.jpg"]


def test_a_cache_that_cannot_be_used_is_no_error(labelled, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(FolderSource(labelled)) == 3


def test_all_photos_can_be_listed_without_looking_into_them(labelled):
    (labelled / "train/images/deep/b.png").write_bytes(b"damaged")
    photos = list_photos(labelled)
    assert [photo.relative_to(labelled).as_posix() for photo in photos] == [
        *("train/images/a.jpg", "train/images/deep/b.png", "val/images/c.jpg"),
    ]
    assert list_photos(labelled / "val") == [labelled / "val/images/c.jpg"]
    with pytest.raises(UserError, match="does not exist"):
        list_photos(labelled / "missing")
