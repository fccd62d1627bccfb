"""A local server of files that knows Range requests, and breaks connections where it is told to."""

import contextlib
import http.server
import re
import threading


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        shop = self.server
        assert isinstance(shop, FileServer)
        shop.requests.append((self.path, self.headers.get("Range")))
        content = shop.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match and shop.ranges else 0
        if match and shop.ranges and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if match and shop.ranges else 200)
        if match and shop.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        length = shop.breaks.pop(0) if shop.breaks else len(content)
        self.wfile.write(content[start : start + length])  # fewer than announced: the connection breaks

    def log_message(self, format, *_):
        pass


class FileServer(http.server.ThreadingHTTPServer):
    """Serves `files` (path -> content).

    `breaks` lists after how many bytes the next connections break; `ranges` says whether Range is understood;
    `requests` records (path, Range header).
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.ranges, self.requests = True, []

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"


@contextlib.contextmanager
def serving():
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
