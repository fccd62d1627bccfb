"""Whatever is sent, the server answers, uses little for it, and goes on."""

import io
import json
import resource
import socket
import struct
import threading
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from served import form, pixels, png, reason, serving

from semcolor_jax.web.guard import COOKIE, Guard
from semcolor_jax.web.limits import MIB, Limits
from semcolor_jax.web.server import announcement


def huge_png(side):
    """Returns a PNG that states a side in its head and holds one row."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(side + 1))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize("side", [9_000, 50_000])
def test_a_huge_photo_is_refused_by_its_head(server, side):
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    status, code, sentence = reason(server.colorize(huge_png(side), "scan.png"))
    assert (status, code) == (413, "too_large")
    assert "scan.png" in sentence
    assert "64 megapixels" in sentence
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
    assert time.process_time() - began < 10  # of work, however busy the machine is


def test_a_jpeg_of_very_many_scans_is_refused(server):
    file = io.BytesIO()
    Image.open(io.BytesIO(png())).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    assert server.colorize(content, "a.jpg")[0] == 200
    scan = content[content.rindex(b"\xff\xda") : -2]
    many = content[:-2] + 300 * scan + content[-2:]
    status, code, sentence = reason(server.colorize(many, "a.jpg"))
    assert (status, code) == (413, "too_large")
    assert "scans" in sentence


def test_a_polyglot_comes_back_as_a_photo_alone(server):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("run.html", "<script>alert(1)</script>")
    both = png() + archive.getvalue()
    assert zipfile.is_zipfile(io.BytesIO(both))
    status, headers, body = server.colorize(both, "page.html")
    assert status == 200
    assert headers["content-type"] == "image/png"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"].startswith('attachment; filename="page.png"')
    assert not zipfile.is_zipfile(io.BytesIO(body))
    assert b"script" not in body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a<script>alert(1)</script>",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.7\n",
        png()[:60],
    ],
    ids=["empty", "gif and html", "svg", "eps", "pdf", "cut off"],
)
def test_what_is_no_photo_is_refused(server, content):
    status, code, sentence = reason(server.colorize(content, "x.png"))
    assert (status, code) == (415, "not_a_photo")
    assert sentence.startswith("x.png")
    assert "standard input" not in sentence


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd.png"),
        ("C:\\Users\\me\\old.png", "old.png"),
        ("/absolute/a.png", "a.png"),
        ("..", "photo.png"),
        ("a\x01\x1b[2J.png", "a[2J.png"),
        ("CON.png", "photo_CON.png"),
    ],
)
def test_no_path_in_a_file_name_is_used(server, sent, kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, headers, _ = server.colorize(png(), sent.replace('"', "%22"))
    assert status == 200
    assert headers["content-disposition"].endswith(f"filename*=UTF-8''{kept.replace('[', '%5B')}")
    assert list(tmp_path.rglob("*")) == []


def raw(server, head, body=b""):
    """Returns an open connection on which a head and the beginning of a body have been sent."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=120)
    connection.sendall(head.replace("PORT", str(server.port)).encode() + body)
    return connection


HEAD = "POST /colorize HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Type: multipart/form-data; boundary=b\r\n"


def answer_on(connection):
    answer = b""
    while part := connection.recv(65536):
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body.split(b"\r\n")[1] if b"chunked" in head else body)


def test_a_declared_upload_of_two_gigabytes_is_refused_before_it_comes(server):
    with raw(server, HEAD + f"Content-Length: {2 * 2**30}\r\n\r\n") as connection:
        status, body = answer_on(connection)
    assert (status, body["error"]) == (413, "too_large")
    assert "64 MiB" in body["reason"]


def test_a_stream_of_two_gigabytes_is_cut_at_the_bound():
    with serving(Limits(upload_bytes=2 * MIB)) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sent, part = 0, b"10000\r\n" + bytes(2**16) + b"\r\n"
        with raw(server, HEAD + "Transfer-Encoding: chunked\r\n\r\n") as connection:
            try:
                while sent < 2 * 2**30:
                    connection.sendall(part)
                    sent += 2**16
            except OSError:  # the server has closed
                pass
        assert (
            2 * MIB <= sent < 64 * MIB
        )  # the bound, what a refused client may still say, and the buffers of the system
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
        assert server.colorize(png())[0] == 200


def test_a_client_beyond_the_bound_reads_why():
    with serving(Limits(upload_bytes=2 * MIB)) as server:
        assert reason(server.colorize(bytes(5 * MIB)))[:2] == (413, "too_large")


def test_all_uploads_together_are_bounded():
    with serving(Limits(incoming_bytes=3 * MIB)) as server:
        with raw(server, HEAD + f"Content-Length: {2 * MIB}\r\n\r\n"):
            answer = server.colorize(bytes(2 * MIB))
            assert reason(answer)[:2] == (429, "busy")
            assert answer[1]["retry-after"] == "5"
        end = time.monotonic() + 120
        while server.colorize(bytes(2 * MIB))[0] == 429:  # until the server sees that the other has left
            assert time.monotonic() < end
            time.sleep(0.1)


def test_slow_clients_are_given_up_while_others_are_served():
    with serving(Limits(upload_seconds=3.0, upload_rate=1000)) as server:
        stop = threading.Event()

        def drip(connection):
            while not stop.wait(0.2):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        with raw(server, HEAD + "Content-Length: 100000\r\n\r\n", part) as slow, raw(server, HEAD[:30]) as silent:
            threading.Thread(target=drip, args=(slow,), daemon=True).start()
            assert server.colorize(png())[0] == 200
            status, body = answer_on(slow)
            stop.set()
            assert (status, body["error"]) == (408, "too_slow")
            assert silent.recv(100) == b""  # half a head: closed without a word
        assert server.colorize(png())[0] == 200


def test_a_client_that_takes_no_answer_is_given_up():
    with serving(Limits(upload_seconds=0.5, upload_rate=2**20)) as server:
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1500, 2000), np.uint8))
        file = io.BytesIO()
        noise.save(file, "PNG", compress_level=0)
        body, kind = form({"image": ("a.png", file.getvalue()), "format": "bmp"})
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect(("127.0.0.1", server.port))
            head = f"POST /colorize HTTP/1.1\r\nHost: localhost:{server.port}\r\nContent-Type: {kind}\r\n"
            lazy.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            lazy.settimeout(120)
            lazy.recv(1)
            time.sleep(3)
            taken = 1
            try:
                while part := lazy.recv(2**20):
                    taken += len(part)
            except OSError:
                pass
        assert taken < 1500 * 2000 * 3  # closed before the end
        assert server.colorize(png())[0] == 200


def test_the_work_for_a_client_that_leaves_is_given_up():
    with serving() as server:
        server.network.hold.clear()
        body, kind = form({"image": ("a.png", png())})
        head = HEAD.replace("multipart/form-data; boundary=b", kind) + f"Content-Length: {len(body)}\r\n\r\n"

        def wait_for(waiting):
            end = time.monotonic() + 120
            while json.loads(server.ask("GET", "/healthz")[2])["waiting"] != waiting:
                assert time.monotonic() < end
                time.sleep(0.05)

        with raw(server, head, body), raw(server, head, body):
            wait_for(2)
        wait_for(0)
        server.network.hold.set()
        assert server.colorize(png())[0] == 200
        assert len(server.network.shapes) <= 2  # the first may have begun


def test_pages_from_elsewhere_are_refused(server):
    page = {"Origin": "https://example.org"}
    assert reason(server.colorize(png(), headers=page))[:2] == (403, "foreign_page")
    assert reason(server.colorize(png(), headers={"Sec-Fetch-Site": "cross-site"}))[:2] == (403, "foreign_page")
    assert server.colorize(png(), headers={"Origin": f"http://localhost:{server.port}"})[0] == 200
    # A name that somebody has let point to the loopback.
    assert reason(server.ask("GET", "/healthz", host="example.org"))[:2] == (403, "foreign_host")


def test_a_shared_server_wants_its_token():
    with serving(token="secret") as server:
        assert server.ask("GET", "/healthz", host="192.168.1.7")[0] == 200
        answer = server.colorize(png())
        assert reason(answer)[:2] == (401, "no_token")
        assert answer[1]["www-authenticate"] == "Bearer"
        assert reason(server.colorize(png(), headers={"Authorization": "Bearer wrong"}))[0] == 401
        assert reason(server.ask("GET", "/openapi.json?token=wrong"))[0] == 401
        assert server.colorize(png(), headers={"Authorization": "Bearer secret"})[0] == 200
        status, headers, _ = server.ask("GET", "//evil.org/?token=secret&a=1", host="192.168.1.7")
        assert (status, headers["location"]) == (303, "/evil.org/?a=1")
        assert headers["set-cookie"] == f"{COOKIE}=secret; HttpOnly; SameSite=Strict; Path=/"
        assert server.ask("GET", "/openapi.json", headers={"Cookie": f"{COOKIE}=secret"})[0] == 200


def test_what_is_opened_is_said():
    (alone,) = announcement(80, None)
    assert "this computer only" in alone
    shared = announcement(80, "secret")
    assert "token=secret" in shared[0]
    assert "everybody in it who has this link" in shared[1]


def test_every_answer_has_strict_headers(server):
    for answer in (server.ask("GET", "/healthz"), server.ask("GET", "/nothing"), server.colorize(png())):
        assert answer[1]["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert answer[1]["x-content-type-options"] == "nosniff"
        assert answer[1]["cache-control"] == "no-store"


def test_a_bug_is_an_answer_too(caplog):
    async def broken(scope, receive, send):
        raise ZeroDivisionError

    import asyncio

    sent = []

    async def run():
        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [(b"host", b"localhost")],
            "query_string": b"",
        }
        await Guard(broken, limits=Limits())(scope, receive, send)

    asyncio.run(run())
    assert sent[0]["status"] == 500
    assert "A bug of ours" in caplog.text


def test_photos_on_a_white_ground_keep_their_pixels(server):
    """Alpha is laid on white only where the format asks for it."""
    file = io.BytesIO()
    Image.new("LA", (20, 20), (100, 0)).save(file, "PNG")
    status, _, body = server.colorize(file.getvalue(), format="jpeg")
    assert status == 200
    assert pixels(body).min() > 250
