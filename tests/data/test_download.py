import hashlib
import urllib.error
import urllib.request

import numpy as np
import pytest
from http_files import serving

from semcolor_jax.data.download import download, partial, verify
from semcolor_jax.errors import UserError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serving() as server:
        server.files["/a.zip"] = CONTENT
        yield server


def _get(server, path, **options):
    download(server.url("/a.zip"), path, pause=0.0, **{"size": len(CONTENT), "sha256": SHA256} | options)


@pytest.mark.parametrize("known", [True, False])
def test_a_file_arrives_whole(server, tmp_path, known):
    target = tmp_path / "new" / "a.zip"
    _get(server, target, **({} if known else {"size": None, "sha256": None}))
    assert target.read_bytes() == CONTENT
    assert not partial(target).exists()
    _get(server, target)  # it is there: nothing is asked for
    assert server.requests == [("/a.zip", None)]


@pytest.mark.parametrize("known", [True, False])
def test_a_broken_connection_is_taken_up_where_it_broke(server, tmp_path, known):
    server.breaks[:] = [1_000_000, 500_000]
    _get(server, tmp_path / "a.zip", **({} if known else {"size": None, "sha256": None}))
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=1000000-", "bytes=1500000-"]


def test_the_next_call_goes_on_with_the_part(server, tmp_path):
    partial(tmp_path / "a.zip").write_bytes(CONTENT[:2_000_000])
    _get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.requests == [("/a.zip", "bytes=2000000-")]


def test_a_whole_part_needs_no_more_bytes(server, tmp_path):
    partial(tmp_path / "a.zip").write_bytes(CONTENT)
    _get(server, tmp_path / "a.zip", size=None)  # only the server knows that this is all
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.requests == [("/a.zip", f"bytes={len(CONTENT)}-")]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_longer_than_the_file_is_dropped(server, tmp_path, size):
    partial(tmp_path / "a.zip").write_bytes(bytes(len(CONTENT) + 5))
    _get(server, tmp_path / "a.zip", size=size)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_server_without_range_sends_all_again(server, tmp_path):
    server.ranges = False
    partial(tmp_path / "a.zip").write_bytes(CONTENT[:2_000_000])
    _get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": len(CONTENT) - 1}, {"size": len(CONTENT) + 1}])
def test_another_file_is_refused_and_the_next_call_starts_anew(server, tmp_path, wrong):
    with pytest.raises(UserError, match=r"a\.zip.* is not the published file .* published\) and was deleted"):
        _get(server, tmp_path / "a.zip", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_what_has_come_stays_when_the_server_brings_nothing_more(server, tmp_path):
    server.breaks[:] = [1_000_000] + [0] * 5
    with pytest.raises(UserError, match=r"a\.zip cannot be downloaded: the connection broke; 0\.00 GB are in .*a\.zip"):
        _get(server, tmp_path / "a.zip")
    assert partial(tmp_path / "a.zip").read_bytes() == CONTENT[:1_000_000]
    assert len(server.requests) == 6


def test_a_missing_file_and_a_missing_server_are_one_sentence(server, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"b\.zip cannot be downloaded: the server answers 404"):
        download(server.url("/b.zip"), tmp_path / "b.zip")

    def refuse(*_, **__):
        raise urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(UserError, match="Connection refused"):
        _get(server, tmp_path / "a.zip")


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        _get(server, tmp_path / "file" / "a.zip")


def test_verify_says_both_values(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    verify(tmp_path / "x", size=3, sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    with pytest.raises(UserError, match="x has 3 bytes, but 1,234 are published"):
        verify(tmp_path / "x", size=1234, sha256=None)
    with pytest.raises(UserError, match=r"x has the SHA-256 ba7816bf.* but 00"):
        verify(tmp_path / "x", size=None, sha256="0" * 64)
