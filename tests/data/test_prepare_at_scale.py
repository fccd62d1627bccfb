"""COCO-Stuff prepared by Apache Beam: the files of the plain way."""

import json

import coco_archives
import pytest
from at_scale import needs_beam
from coco_archives import PANOPTIC, opened

from semcolor_jax.cli.main import main
from semcolor_jax.data import beam
from semcolor_jax.data.beam import pipeline_options
from semcolor_jax.data.coco_stuff import prepare, shards
from semcolor_jax.errors import UserError

pytestmark = [
    needs_beam,
    pytest.mark.filterwarnings("ignore:label.. is deprecated:DeprecationWarning"),  # TFDS beside Beam's protobuf
]


def contents(data_dir):
    """Every file of a prepared data set: its path and its bytes."""
    return {
        path.relative_to(data_dir).as_posix(): path.read_bytes()
        for path in sorted(data_dir.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def plain(archives, tmp_path, monkeypatch):
    """Prepared without an engine, two photos a shard."""
    monkeypatch.setattr(shards, "SHARD_LENGTH", 2)
    prepare(tmp_path / "plain", archives=archives)
    return contents(tmp_path / "plain")


def test_the_same_files(plain, archives, tmp_path):
    prepare(tmp_path / "engine", archives=archives, beam_options=pipeline_options("DirectRunner"))
    assert contents(tmp_path / "engine") == plain
    assert sum("array_record" in name for name in plain) == 3
    assert opened(tmp_path / "engine", "train").names == ["train2017/000000000009.jpg", "train2017/000000000025.jpg"]


def test_a_damaged_photo_is_named_and_the_same_command_goes_on(plain, tmp_path, monkeypatch):
    files = coco_archives.files()
    whole = files["train2017.zip"]["train2017/000000000030.jpg"]
    files["train2017.zip"]["train2017/000000000030.jpg"] = whole[: len(whole) // 2]
    archives = coco_archives.write(tmp_path / "archives", files)
    options = pipeline_options("DirectRunner")
    with pytest.raises(UserError, match=r"000000000030\.jpg is not an image"):
        prepare(tmp_path / "engine", archives=archives, beam_options=options)
    staged = tmp_path / "engine/coco_stuff/256px/1.0.0.partial"
    assert len(list(staged.glob("*.array_record-*-of-?????"))) == 2  # of three
    wrote, write = [], shards.Shards.write
    monkeypatch.setattr(shards, "store_sample", _mended(whole, shards.store_sample))
    monkeypatch.setattr(
        shards.Shards, "write", lambda self, index, **options: (wrote.append(index), write(self, index, **options))
    )
    prepare(tmp_path / "engine", archives=archives, beam_options=options)
    assert wrote == [1]
    assert contents(tmp_path / "engine") == plain


def _mended(content, store_sample):
    """A `store_sample` to which photo 30 reads as this content."""

    class Mended:
        def __init__(self, archive):
            self.path, self._archive = archive.path, archive

        def read(self, name):
            return content if name.endswith("30.jpg") else self._archive.read(name)

    return lambda *names, photos, **options: store_sample(*names, photos=Mended(photos), **options)


def test_workers_that_write_elsewhere_are_noticed(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(beam, "share_out", lambda *units, **options: None)
    with pytest.raises(UserError, match=r"shards are missing in .*partial, .* under the same path"):
        prepare(tmp_path / "engine", archives=archives, beam_options=pipeline_options("DirectRunner"))


def test_the_command_prepares_and_labels(plain, archives, tmp_path):
    arguments = ["--archives", str(archives), "--teacher", "small", "--runner", "DirectRunner"]
    main(["data", "prepare", "coco_stuff", "-o", str(tmp_path / "engine"), *arguments])
    main(["data", "label-scenes", str(tmp_path / "plain"), "--source", "coco_stuff", "--teacher", "small"])
    made, plain = contents(tmp_path / "engine"), contents(tmp_path / "plain")
    kept = [name for name in plain if not name.startswith("coco_stuff/scenes.parts")]
    assert "coco_stuff/scenes.json" in kept
    assert {name: made[name] for name in kept} == {name: plain[name] for name in kept}


@pytest.mark.slow
@pytest.mark.skipif(not PANOPTIC.is_file(), reason="the set of real photos is not here")
def test_real_photos_in_processes_of_their_own(tmp_path):
    """As on an engine: the pipeline and all it holds go to other processes."""
    files, _ = coco_archives.real(tmp_path / "raw", count=100)
    archives = coco_archives.write(tmp_path / "archives", files)
    settings = ["direct_running_mode=multi_processing", "direct_num_workers=2"]
    engine = ["--runner", "DirectRunner", *(f"--runner-option={setting}" for setting in settings)]
    command = ["data", "prepare", "coco_stuff", "--archives", str(archives), "--teacher", "small"]
    main([*command, "-o", str(tmp_path / "plain")])
    main([*command, "-o", str(tmp_path / "engine"), *engine])
    made, plain = contents(tmp_path / "engine"), contents(tmp_path / "plain")
    kept = [name for name in plain if "scenes.parts" not in name]
    assert {name: made.get(name) for name in kept} == {name: plain[name] for name in kept}
    assert len(json.loads(plain["coco_stuff/scenes.json"])) > 150  # but the grey ones
