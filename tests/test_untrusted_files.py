"""What strangers' files cannot do: write elsewhere, run code, or fill the memory. SECURITY.md has the whole list."""

import ast
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from semcolor_jax.checkpoints.configs import parse_config
from semcolor_jax.data import archive
from semcolor_jax.data.download import download
from semcolor_jax.errors import UserError
from semcolor_jax.formats.safe_pickle import load_arrays
from semcolor_jax.photos.reading import read_pages

ROOT = Path(__file__).parents[1]
SOURCES = [*(ROOT / "semcolor_jax").rglob("*.py"), *(ROOT / "experiments").rglob("*.py"), ROOT / "launch.py"]
ESCAPES = ("../outside.jpg", "/outside.jpg", "a/../../outside.jpg", "..\\outside.jpg")


def calls(path):
    """The names of all functions that a file calls, with what stands before the last dot, and the calls."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def zipped(path):
    with zipfile.ZipFile(path, "w") as file:
        for name in ESCAPES:
            file.writestr(name, b"evil")
    return path


def tarred(path):
    with tarfile.open(path, "w") as file:
        for name in ESCAPES:
            member = tarfile.TarInfo(name)
            member.size = 4
            file.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    return path


@pytest.mark.parametrize("make", [zipped, tarred])
def test_archives_write_nothing_anywhere(tmp_path, make):
    folder = tmp_path / "inside"
    folder.mkdir()
    opened = archive.open_archive(make(folder / "photos"))
    assert "link.jpg" not in opened.names
    for name in opened.names:
        assert opened.read(name) == b"evil"
    assert [path.name for path in tmp_path.rglob("*")] == ["inside", "photos"]


def test_nothing_unpacks_archives_without_python_s_filter():
    """`filter="data"` refuses names that lead out of the folder, links and devices."""
    found = {
        path.relative_to(ROOT).as_posix(): ast.unparse(call)
        for path in SOURCES
        for name, call in calls(path)
        if name.split(".")[-1] in {"extractall", "extract", "unpack_archive"}
    }
    assert all("filter='data'" in call for call in found.values())
    assert {name.partition("/")[0] for name in found} <= {"experiments"}  # compiled programs, brought along


def test_a_member_that_unpacks_to_more_than_a_photo_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.jpg", bytes(100_000))
    with tarfile.open(tmp_path / "bomb.tar", "w") as file:
        member = tarfile.TarInfo("a.jpg")
        member.size = 100_000
        file.addfile(member, io.BytesIO(bytes(100_000)))
    for name in ("bomb.zip", "bomb.tar"):
        with pytest.raises(UserError, match=r"a\.jpg has 100,000 bytes, which is no photo"):
            archive.open_archive(tmp_path / name).read("a.jpg")


def test_pickles_are_read_by_the_refusing_unpickler_alone():
    """No other loader that can run code, and numpy's told not to."""
    runs_code = {"pickle.load", "pickle.loads", "marshal.loads", "shelve.open", "torch.load", "joblib.load"}
    runs_code |= {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec", "os.system", "pickle.Unpickler"}
    found = []
    for path in SOURCES:
        for name, call in calls(path):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name in runs_code or (name == "np.load" and keywords.get("allow_pickle") != "False"):
                found.append(f"{path.relative_to(ROOT)}: {ast.unparse(call)}")
    assert found == []


def test_a_refused_name_cannot_write_to_the_terminal(tmp_path):
    """Found by tools/soak/fuzz_weights.py."""
    (tmp_path / "evil").write_bytes(b"cos\nsystem\x0c\x1b[2J\n(tR.")
    with pytest.raises(UserError, match=r"asks for os\.system\\x0c\\x1b\[2J") as refused:
        load_arrays(tmp_path / "evil")
    assert str(refused.value).isprintable()


def test_a_config_of_a_model_is_data():
    """Its method is one of the package's own: no name of a file or module gets imported."""
    for method in ("os", "../../../evil", "semcolor_jax.cli.main", "__init__"):
        with pytest.raises(UserError, match="must be one of"):
            parse_config(json.dumps({"model": {"method": method}}))
    config = parse_config(json.dumps({"__class__": "x", "model": {"width": 8, "__reduce__": "y"}}))
    assert config.model.width == 8
    assert "__class__" not in config.to_dict()


def test_a_photo_that_claims_more_pixels_than_there_can_be_is_refused_before_it_is_decoded(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    content = bytearray((tmp_path / "small.png").read_bytes())
    content[16:24] = (60_000).to_bytes(4) * 2  # width and height of the header
    import zlib

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    with pytest.raises(UserError) as refused:
        next(read_pages(bytes(content)))
    assert len(str(refused.value).splitlines()) == 1


def test_the_lock_of_the_page_has_the_tested_versions_by_their_hashes():
    lock = (ROOT / "requirements" / "web.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)(?: ;[^\\]*)? \\\n    --hash=sha256:[0-9a-f]{64}", lock, flags=re.M))
    tested = re.findall(r"^([\w.-]+)==([^;\s]+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.M)
    known = {name for name, _ in tested}
    assert all((name, version) in tested for name, version in locked.items() if name in known)
    assert len(locked.keys() & known) > 30
    wanted = "".join((ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8") for name in ("base", "web"))
    names = re.findall(r"^([\w.-]+)", wanted, flags=re.M)
    assert len(names) > 15
    assert {name.replace("_", "-").lower() for name in names} <= locked.keys()


def test_only_the_web_is_downloaded_from(tmp_path):
    with pytest.raises(UserError, match="must begin with https"):
        download("file:///etc/passwd", tmp_path / "file")
    assert not any(tmp_path.iterdir())
