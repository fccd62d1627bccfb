"""The published archives of COCO-Stuff: download, verification, disk space."""

import dataclasses
import hashlib
import logging
import shutil
from collections import namedtuple

import pytest
import tensorflow_datasets as tfds
from coco_archives import LABELS, opened
from http_files import serving
from tensorflow_datasets.core.download import checksums

from semcolor_jax.data.coco_stuff import Builder, prepare, published
from semcolor_jax.errors import UserError


def test_an_archive_of_another_size_is_taken_with_a_warning(archives, tmp_path, caplog):
    prepare(tmp_path / "data", archives=archives)
    assert "train2017.zip has " in caplog.text
    assert "not the 19,336,861,798 of the published archive" in caplog.text


def _publish(monkeypatch, archives, *, url="http://nowhere/{}", wrong=None):
    for name, file in published.PUBLISHED.items():
        content = (archives / name).read_bytes()
        known = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} if name != LABELS else {}
        file = dataclasses.replace(file, url=url.format(name), **known)
        monkeypatch.setitem(published.PUBLISHED, name, dataclasses.replace(file, **(wrong or {}).get(name, {})))


def test_an_archive_with_a_wrong_checksum_is_refused(archives, tmp_path, monkeypatch, caplog):
    _publish(monkeypatch, archives, wrong={"val2017.zip": {"sha256": "0" * 64}})
    with pytest.raises(UserError, match=r"val2017\.zip has the SHA-256 .* is published: delete it and download it"):
        prepare(tmp_path / "data", archives=archives)
    _publish(monkeypatch, archives)
    prepare(tmp_path / "data", archives=archives)
    assert "taken as it is" not in caplog.text


def test_archives_are_downloaded_and_a_download_goes_on(archives, tmp_path, monkeypatch):
    with serving() as server:
        server.files = {f"/{name}": (archives / name).read_bytes() for name in published.PUBLISHED}
        _publish(monkeypatch, archives, url=server.url("/{}"))
        server.breaks[:] = [500] + [0] * 5
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        with pytest.raises(UserError, match=r"train2017\.zip cannot be downloaded"):
            prepare(tmp_path / "data")
        server.requests.clear()
        prepare(tmp_path / "data")
        assert server.requests == [
            ("/train2017.zip", "bytes=500-"),
            ("/val2017.zip", None),
            (f"/{LABELS}", None),
        ]
        assert opened(tmp_path / "data", "train").names[1] == "train2017/000000000025.jpg"
        for name, content in server.files.items():
            assert (tmp_path / "data" / "downloads" / "coco_stuff" / name[1:]).read_bytes() == content
        prepare(tmp_path / "data", short_side=64)  # from the same downloads
        assert len(server.requests) == 3


def test_a_download_with_a_wrong_checksum_is_refused(archives, tmp_path, monkeypatch):
    with serving() as server:
        server.files = {f"/{name}": (archives / name).read_bytes() for name in published.PUBLISHED}
        _publish(monkeypatch, archives, url=server.url("/{}"), wrong={"train2017.zip": {"sha256": "0" * 64}})
        with pytest.raises(UserError, match=r"train2017\.zip sent is not the published file"):
            prepare(tmp_path / "data")


Usage = namedtuple("Usage", "total used free")


def test_too_small_a_disk_is_said_before_anything_is_downloaded(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 0, 20_000_000_000))
    with caplog.at_level(logging.INFO), pytest.raises(UserError) as caught:
        prepare(tmp_path / "data")
    # 19.34 + 0.82 + 0.7 GB to download, and 123,287 photos of 50 kB.
    assert "has 20.0 GB free, but COCO-Stuff takes 27.0 GB (20.9 GB to download and 6.2 GB prepared)" in str(
        caught.value
    )
    assert "COCO-Stuff takes 27.0 GB of disk" in caplog.text
    assert not (tmp_path / "data" / "downloads" / "coco_stuff").exists()


def test_local_archives_need_space_only_for_what_is_prepared(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 0, 4 * 50_000 - 1))
    with pytest.raises(UserError, match=r"free some space"):
        prepare(tmp_path / "data", archives=archives)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 0, 4 * 50_000))
    prepare(tmp_path / "data", archives=archives)


def test_checksums_are_those_of_tensorflow_datasets():
    ours = Builder.url_infos
    assert ours is not None
    theirs = checksums.load_url_infos(tfds.core.Path(tfds.__file__).parent / "url_checksums" / "coco.txt")
    assert len(ours) == 2
    for url, info in ours.items():
        file = published.PUBLISHED[url.rsplit("/")[-1]]
        assert file.url == url
        assert (file.size, file.sha256) == (info.size, info.checksum) == (theirs[url].size, theirs[url].checksum)
