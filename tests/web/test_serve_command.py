"""`semcolor serve` as a process: it says where it is, answers, and ends at Ctrl-C."""

import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.web.server import LOOPBACK, open_socket

ROOT = Path(__file__).parents[2]
PROGRAM = """
import semcolor_jax
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.cli.main import main
semcolor_jax.load = lambda *_, **__: Colorizer(None)
main(["serve", "--port", "0", "--max-megabytes", "1", {more}])
"""


@pytest.mark.parametrize(("more", "times"), [("", 1), ('"--share-lan"', 2)])
def test_from_the_start_to_ctrl_c(more, times):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(more=more)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            port = int(line.rpartition(":")[2].partition("/")[0])
            connection = http.client.HTTPConnection(LOOPBACK, port, timeout=120)
            connection.request("GET", "/healthz", headers={"Host": f"localhost:{port}"})
            assert connection.getresponse().read().startswith(b'{"status":"ok"')
            connection.close()
            connection.request("GET", "/", headers={"Host": f"localhost:{port}"})
            assert connection.getresponse().status == (401 if more else 200)
            connection.close()
            for _ in range(times):  # an impatient user, or a program that asks the whole group
                process.send_signal(signal.SIGINT)
                time.sleep(0.02)  # or else the two are one
            said, complained = process.stdout.read(), process.stderr.read()  # not `communicate`: `readline` reads ahead
            assert process.wait(120) == 0
        finally:
            process.kill()
    assert complained == ""
    assert ("everybody in it who has this link" in said) == bool(more)
    assert ("token=" in line) == bool(more)


def test_a_port_that_is_taken_is_named():
    with open_socket(LOOPBACK, 0) as opened:
        opened.listen()
        port = opened.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} cannot be opened .*--port"):
            open_socket(LOOPBACK, port)
    with pytest.raises(UserError, match="--port"):
        open_socket(LOOPBACK, 70_000)
