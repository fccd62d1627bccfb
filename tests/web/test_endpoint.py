"""`POST /colorize` gives what the Python API gives, or says in JSON why not."""

import io
import json
import threading
import time

import numpy as np
import pytest
from PIL import Image
from served import form, pixels, png, reason, serving

from semcolor_jax import __version__
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.web import endpoint
from semcolor_jax.web.engine import Engine
from semcolor_jax.web.limits import Limits, Refused
from semcolor_jax.web.options import OPTIONS


def expected(server, content, **settings):
    colorizer = Colorizer(server.network, side=32, choice=ColorChoice("both", share=0.25))
    return np.asarray(colorizer.colorize(content, **settings).image.convert("RGB")).astype(int)


def test_a_photo_comes_back_as_the_python_api_colours_it(server):
    status, headers, body = server.colorize(png())
    assert status == 200
    assert headers["content-type"] == "image/png"
    assert json.loads(headers["semcolor-notes"]) == []
    np.testing.assert_array_equal(pixels(body), expected(server, png()))
    assert np.ptp(pixels(body), axis=-1).max() > 20


def test_the_options_are_the_apis(server):
    settings = {"branch": "both", "temperature": 0.9, "soft_weight": 0.8, "saturation": 1.4}
    status, headers, body = server.colorize(png(), "a.jpg", **settings, format="tiff")
    assert status == 200
    assert headers["content-type"] == "image/tiff"
    assert 'filename="a.tif"' in headers["content-disposition"]
    np.testing.assert_array_equal(pixels(body), expected(server, png(), **settings))


def test_hints_are_exact_where_they_are(server):
    hints = [{"x": 4, "y": 5, "color": "#a03020"}]
    status, _, body = server.colorize(png(), hints=json.dumps(hints))
    assert status == 200
    colorizer = Colorizer(server.network, side=32, choice=ColorChoice("both", share=0.25))
    expected = colorizer.colorize(png(), hints=hints).image.convert("RGB")
    np.testing.assert_array_equal(pixels(body), np.asarray(expected))
    assert np.abs(pixels(body)[5, 4] - pixels(server.colorize(png())[2])[5, 4]).max() > 10


def test_metadata_is_kept_or_not_as_asked(server):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "Grandmother, 1931"
    Image.open(io.BytesIO(png())).save(file, "JPEG", exif=exif)
    for strip, kept in (("false", "Grandmother, 1931"), ("true", None)):
        status, _, body = server.colorize(file.getvalue(), "a.jpg", strip_metadata=strip)
        assert status == 200
        assert Image.open(io.BytesIO(body)).getexif().get(0x010E) == kept


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"saturation": "much"}, "saturation is 'much'"),
        ({"saturation": "nan"}, "saturation is 'nan'"),
        ({"temperature": "2"}, "(0, 1]"),
        ({"quality": "101"}, "1..100"),
        ({"format": "gif"}, "'png'"),
        ({"hints": "[{]"}, "hints is '[{]'"),
        ({"hints": 9999 * "["}, "hints is '[["),
        ({"hints": '[{"x": 99, "y": 1, "color": "red"}]'}, "outside the photo"),
        ({"hints": '[{"x": 1, "y": 1, "color": "red", "radius": 9000}]'}, "cover 4 megapixels"),
        ({"colour": "1"}, "There is no option 'colour'"),
    ],
)
def test_a_wrong_option_is_named(server, fields, word):
    status, _, sentence = reason(server.colorize(png(), **fields))
    assert status == 400
    assert word in sentence


def test_what_is_no_form_is_refused(server):
    assert reason(server.ask("POST", "/colorize", png(), {"Content-Type": "image/png"}))[:2] == (415, "not_a_form")
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert reason(server.ask("POST", "/colorize", b"--y\r\nrubbish", broken))[:2] == (400, "bad_form")
    assert reason(server.ask("POST", "/colorize", b"", {"Content-Type": "multipart/form-data"}))[:2] == (
        400,
        "bad_form",
    )
    body, kind = form({"saturation": "1"})
    assert reason(server.ask("POST", "/colorize", body, {"Content-Type": kind}))[:2] == (400, "no_photo")


def test_other_paths_and_methods_say_so(server):
    assert reason(server.ask("GET", "/nothing"))[:2] == (404, "not_found")
    assert reason(server.ask("GET", "/colorize"))[:2] == (405, "method_not_allowed")


def test_health(server):
    status, _, body = server.ask("GET", "/healthz")
    assert status == 200
    assert json.loads(body) == {"status": "ok", "version": __version__, "waiting": 0}


def test_the_description_has_every_route_and_option(server):
    status, _, body = server.ask("GET", "/openapi.json")
    assert status == 200
    described = json.loads(body)
    engine = Engine(Colorizer(server.network, side=32), Limits())
    assert described["paths"].keys() == {route.path for route in endpoint.routes(engine)}
    schema = described["paths"]["/colorize"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["properties"].keys() == {"image", *OPTIONS}
    assert schema["properties"]["soft_weight"]["default"] == 0.25
    engine.close()


def test_photos_of_one_shape_are_one_batch_and_the_queue_is_bounded():
    with serving(Limits(queue=12)) as server:
        server.network.hold.clear()
        answers = []
        clients = [
            threading.Thread(target=lambda seed=seed: answers.append((seed, server.colorize(png(seed=seed)))))
            for seed in range(12)
        ]
        for client in clients:
            client.start()
        end = time.monotonic() + 30
        while json.loads(server.ask("GET", "/healthz")[2])["waiting"] < 12 and time.monotonic() < end:
            time.sleep(0.05)
        status, code, sentence = reason(refused := server.colorize(png()))
        assert (status, code) == (429, "busy")
        assert int(refused[1]["retry-after"]) >= 1
        assert "12 photos are waiting" in sentence
        server.network.hold.set()
        for client in clients:
            client.join(60)
        assert {answer[0] for _, answer in answers} == {200}
        assert sorted(shape[0] for shape in server.network.shapes) == [1, 1, 1, 1, 8]
        for seed, (_, _, body) in answers:
            np.testing.assert_array_equal(pixels(body), expected(server, png(seed=seed)))


def never(lightness):
    raise AssertionError("no photo comes as far as the network")


def test_no_photo_is_taken_in_that_would_not_be_done_in_time():
    engine = Engine(Colorizer(never), Limits(queue=64, answer_seconds=120))
    engine._seconds, engine._admitted = 3.0, 20
    engine.check_place()
    engine._admitted = 40
    with pytest.raises(Refused, match="40 photos are waiting") as refused:
        engine.check_place()
    assert refused.value.headers["retry-after"] == "30"
    engine._seconds, engine._admitted = 1000.0, 0
    engine.check_place()  # but one is always tried
    engine.close()


def test_work_that_takes_too_long_is_given_up():
    with serving(Limits(answer_seconds=0.3)) as server:
        server.network.hold.clear()
        status, code, _ = reason(server.colorize(png()))
        assert (status, code) == (503, "too_long")
        server.network.hold.set()
        end = time.monotonic() + 30
        while server.colorize(png())[0] != 200:  # the thread is free again
            assert time.monotonic() < end
