"""What the page asks of the server: planes that mix to what the Python API gives, downloads, archives, sessions."""

import io
import json
import zipfile
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from served import pixels, png, reason, serving

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.web.limits import MIB, Limits, Refused
from semcolor_jax.web.names import distinct, safe_name, with_suffix
from semcolor_jax.web.page import AB_SCALE, STATIC
from semcolor_jax.web.sessions import Sessions


class Client:
    """A page without a browser."""

    def __init__(self, server):
        self.server = server
        self.session = self.json(server.ask("POST", "/api/sessions"))["session"]

    @staticmethod
    def json(answer):
        assert answer[0] in (200, 201), answer
        return json.loads(answer[2])

    def ask(self, method, path, body=None):
        return self.server.ask(method, path, body, {"semcolor-session": self.session})

    def add(self, content, name="old.png"):
        return self.json(self.ask("POST", f"/api/photos?name={name}", content))

    def planes(self, photo, path):
        data = self.ask("GET", f"/api/photos/{photo['id']}/{path}")[2]
        return np.frombuffer(data, "<i2").reshape(-1, *photo["planes"], 2) / AB_SCALE

    def download(self, photo, **settings):
        return self.ask("POST", f"/api/photos/{photo['id']}/download", json.dumps(settings))


@pytest.fixture(scope="module")
def client(server):
    return Client(server)


@pytest.fixture(scope="module")
def photo(client):
    found = client.add(png(40, 60))
    client.planes(found, "variants")
    return found


def test_a_photo_is_described(client, photo):
    assert (photo["name"], photo["height"], photo["width"], photo["grey"]) == ("old.png", 40, 60, [40, 60])
    assert photo["branches"] == ["reg", "soft"]
    assert photo["part"] == [0, 40, 0, 60]
    assert photo["scenes"][0][0] == "zen_garden"
    classes = np.frombuffer(client.ask("GET", f"/api/photos/{photo['id']}/classes")[2], np.uint8)
    assert set(classes.reshape(photo["classes"])[0]) == {7, 9}
    grey = np.frombuffer(client.ask("GET", f"/api/photos/{photo['id']}/grey")[2], np.uint8)
    np.testing.assert_array_equal(grey.reshape(40, 60), pixels(png(40, 60))[..., 0])


def test_a_download_is_what_the_python_api_gives(server, client, photo):
    colorizer = Colorizer(server.network, side=32, choice=ColorChoice("both", share=0.25))
    for settings in ({}, {"share": 0.7, "temperature": 0.9, "saturation": 1.5}):
        names = {"share": "soft_weight"}
        asked: Any = {names.get(key, key): value for key, value in settings.items()}
        expected = np.asarray(colorizer.colorize(png(40, 60), **asked).image.convert("RGB")).astype(int)
        status, headers, body = client.download(photo, **settings)
        assert status == 200
        assert headers["content-disposition"].startswith('attachment; filename="old.png"')
        assert np.abs(pixels(body) - expected).max() <= 1  # logits in half precision


def test_the_planes_mix_to_the_colours_of_the_download(client, photo):
    reg, soft = client.planes(photo, "planes?temperature=0.38")
    assert np.abs(reg).max() == 25
    shifts = client.planes(photo, "variants")
    assert 1 <= len(shifts) <= 5
    from semcolor_jax.inference.strips import merge

    grey = pixels(png(40, 60)).astype(np.uint8)
    expected = merge(grey, 1.2 * (0.5 * reg + 0.5 * soft) + 1.2 * shifts[0])
    _, _, body = client.download(photo, share=0.5, saturation=1.2, variant=1)
    assert np.abs(pixels(body) - expected).max() <= 1
    usual = pixels(client.download(photo, share=0.5, saturation=1.2)[2])
    assert np.abs(usual - expected).max() > 5


def test_hints_are_spread_in_the_picture_as_in_the_download(client, photo):
    red = {"hints": [{"x": 0.25, "y": 0.5, "color": "#c02020"}]}
    status, headers, body = client.ask("POST", f"/api/photos/{photo['id']}/painted", json.dumps(red))
    assert (status, headers["content-type"]) == (200, "image/png")
    hinted, usual = pixels(client.download(photo, **red)[2]), pixels(client.download(photo)[2])
    np.testing.assert_array_equal(pixels(body), hinted)  # the photo is no larger than the screen
    y, x = 20, 15
    assert hinted[y, x, 0] - hinted[y, x, 2] > 30 + usual[y, x, 0] - usual[y, x, 2]


def test_a_stroke_is_one_hint_along_its_whole_length(client, photo):
    stroke = {"hints": [{"points": [[0.1, 0.2], [0.1, 0.8], [0.4, 0.8]], "color": "#c02020"}]}
    shown = pixels(client.ask("POST", f"/api/photos/{photo['id']}/painted", json.dumps(stroke))[2])
    np.testing.assert_array_equal(shown, pixels(client.download(photo, **stroke)[2]))
    expected = rgb_to_lab(np.array([192, 32, 32], np.uint8), xp=np)[1:]
    for y, x in ((8, 6), (20, 6), (32, 6), (32, 15), (32, 24)):
        found = rgb_to_lab(shown[y, x].astype(np.uint8), xp=np)[1:]
        hue, wanted = (np.arctan2(ab[1], ab[0]) for ab in (found, expected))
        assert hue == pytest.approx(wanted, abs=0.05)  # chroma gives way where sRGB has none so strong


def test_no_saturation_is_grey(client, photo):
    assert np.ptp(pixels(client.download(photo, saturation=0)[2]), axis=-1).max() <= 1


def test_a_place_has_a_distribution(client, photo):
    right = client.json(client.ask("GET", f"/api/photos/{photo['id']}/distribution?x=0.9&y=0.5"))["bins"]
    assert right[0][2] == pytest.approx(right[1][2], abs=1e-3)  # torn between two
    assert 0.4 < right[0][2] < 0.5
    for place in ("x=2&y=0", "x=0", "x=a&y=0", "x=nan&y=0"):
        assert reason(client.ask("GET", f"/api/photos/{photo['id']}/distribution?{place}"))[0] == 400


def test_an_archive_has_every_photo_once_under_a_plain_name(client):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "Grandmother, 1931"
    Image.open(io.BytesIO(png())).save(file, "JPEG", exif=exif)
    names = ["a.jpg", "..%2F..%2Fa.jpg", "A.JPG"]
    photos = [client.add(file.getvalue(), name) for name in names]
    wanted = [{"id": photo["id"], "saturation": 0.5} for photo in photos]
    status, headers, body = client.ask("POST", "/api/zip", json.dumps(wanted))
    assert (status, headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.jpg", "a (2).jpg", "A (3).JPG"]
        first = archive.read("a.jpg")
    assert Image.open(io.BytesIO(first)).getexif()[0x010E] == "Grandmother, 1931"
    np.testing.assert_array_equal(pixels(first), pixels(client.download(photos[0], saturation=0.5)[2]))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"saturation": "1"}, "saturation must be a number"),
        ({"temperature": 0}, "temperature is 0"),
        ({"share": 1.5}, "share is 1.5"),
        ({"variant": 6}, "variant is 6"),
        ({"format": "exe"}, "'exe'"),
        ({"hints": [{"x": 0, "y": 0, "color": "red"}]}, "#rrggbb"),
        ({"hints": [{"x": 2, "y": 0, "color": "#ff0000"}]}, "x is 2"),
        ({"hints": 201 * [{}]}, "at most 200"),
        ({"hints": [{"points": [], "color": "#ff0000"}]}, '"points"'),
        ({"hints": [{"points": [[0, 0], [0]], "color": "#ff0000"}]}, '"points"'),
        ({"hints": [{"points": [[0, 0], [0, 1.5]], "color": "#ff0000"}]}, "y is 1.5"),
        ({"hints": [{"points": 9 * [[0, 0], [0, 1]], "color": "#ff0000"}]}, "16 times across"),
        ({"hints": [{"points": 8001 * [[0, 0]], "color": "#ff0000"}]}, "8000 points"),
        ([], "object"),
    ],
)
def test_nonsense_settings_are_named(client, photo, settings, word):
    answer = client.ask("POST", f"/api/photos/{photo['id']}/download", json.dumps(settings))
    status, code, sentence = reason(answer)
    assert (status, code) == (400, "bad_settings")
    assert word in sentence


def test_no_page_sees_the_photos_of_another(server, client, photo):
    other = Client(server)
    assert reason(other.ask("GET", f"/api/photos/{photo['id']}/grey"))[:2] == (404, "no_photo")
    other.session = "guess"
    assert reason(other.ask("GET", f"/api/photos/{photo['id']}/grey"))[:2] == (410, "session_gone")


def test_photos_go_with_their_session():
    with serving(Limits(sessions=1)) as server:
        client = Client(server)
        photo = client.add(png())
        assert client.download(photo)[0] == 200
        assert client.ask("DELETE", f"/api/photos/{photo['id']}")[0] == 204
        assert reason(client.download(photo))[:2] == (404, "no_photo")
        assert reason(server.ask("POST", "/api/sessions"))[:2] == (429, "busy")
        server.ask("POST", "/api/end", client.session)
        assert reason(client.ask("POST", "/api/alive"))[:2] == (410, "session_gone")


def test_a_page_that_says_nothing_is_forgotten(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("semcolor_jax.web.sessions.time", SimpleNamespace(monotonic=lambda: now[0]))
    sessions = Sessions(Limits(idle_seconds=60))
    name = sessions.begin()
    for _ in range(3):
        now[0] += 59
        sessions.get(name)
    now[0] += 61
    with pytest.raises(Refused, match="1 idle minutes") as refused:
        sessions.get(name)
    assert (refused.value.status, refused.value.code) == (410, "session_gone")


def test_memory_for_photos_is_bounded():
    with serving(Limits(held_bytes=MIB, session_photos=2)) as server:
        client = Client(server)
        assert reason(client.ask("POST", "/api/photos?name=a", bytes(2 * MIB)))[:2] == (503, "full")
        for _ in range(2):
            client.add(png(8, 8))
        assert reason(client.ask("POST", "/api/photos?name=a", png(8, 8)))[:2] == (409, "too_many")


def test_the_page_and_its_parts_are_served_as_what_they_are(server):
    for path in STATIC.iterdir():
        status, _, body = server.ask("GET", f"/{path.name}")
        assert status == 200
        assert body == path.read_bytes()
        assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")  # nothing from elsewhere
        assert b"https://" not in body
    assert server.ask("GET", "/")[1]["content-type"] == "text/html; charset=utf-8"
    assert server.ask("GET", "/app.js")[1]["content-type"].startswith("text/javascript")
    assert server.ask("GET", "/../app.py")[0] == 404


def test_names():
    assert safe_name(None) == "photo"
    assert safe_name("x" * 300 + ".jpeg") == "x" * 115 + ".jpeg"
    assert safe_name("\u202egpj.exe") == "gpj.exe"  # no writing backwards
    assert with_suffix("a.gif", (".png",)) == "a.png"
    assert with_suffix("Mr. Smith", (".png",)) == "Mr. Smith.png"
    taken = set()
    assert [distinct("a.png", taken) for _ in range(2)] == ["a.png", "a (2).png"]
