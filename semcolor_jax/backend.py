"""Chooses between the plain XLA and the CPU-tuned form of the network's operators.

Each operator has two forms. "xla" is plain `lax` and Flax: it runs on any accelerator, splits over devices, and can be
differentiated in forward and reverse mode. "cpu" has the rewrites that pay on one CPU device: convolutions with fewer
products, losses that never hold all logits, barriers where XLA's CPU compiler would recompute a value for each of its
consumers. `semcolor_jax.ops` holds both forms and asks here which to take.

The environment variable SEMCOLOR_OPS chooses: "xla", "cpu" or "auto" (the default), which is "cpu" in a process whose
only device is a CPU and "xla" in every other.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal, TypeVar, cast

import jax

from semcolor_jax.errors import UserError

VARIABLE = "SEMCOLOR_OPS"
CHOICES = ("auto", "xla", "cpu")

ONEDNN = "--xla_cpu_experimental_onednn_custom_call=true"
"""In XLA_FLAGS, has oneDNN compute the convolutions on a CPU."""

Form = Literal["xla", "cpu"]
T = TypeVar("T")

_portable: ContextVar[bool] = ContextVar("portable", default=False)
_CPU_OPTIONS = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}


@functools.cache
def form() -> Form:
    """Returns this process' form of the operators; read once, because compiled programs would keep the old one.

    Raises:
      UserError: SEMCOLOR_OPS has an unknown value.
    """
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in CHOICES:
        raise UserError(f"{VARIABLE} is {choice!r}, but must be one of {', '.join(CHOICES)}.")
    if choice == "auto":
        return "cpu" if platform() == "cpu" and jax.device_count() == 1 else "xla"
    return cast(Form, choice)


def on_one_cpu() -> bool:
    """Whether programs take the form for one CPU device."""
    return not _portable.get() and form() == "cpu"


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Traces what is inside in the "xla" form: for programs that leave this process."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def barrier(arrays: T) -> T:
    """Returns a tree of arrays unchanged; in the "cpu" form, XLA materialises it before any consumer runs.

    Otherwise XLA's CPU compiler fuses cheap-looking work into each of its consumers and recomputes it there.
    """
    return jax.lax.optimization_barrier(arrays) if on_one_cpu() else arrays


def platform() -> str:
    """Returns the platform that programs run on, in JAX's words: "cpu", "gpu" or "tpu"."""
    return jax.default_backend()


def computes_bfloat16() -> bool:
    """Whether networks may compute in bfloat16 here.

    On a CPU, XLA's own fused kernels can return NaN for bfloat16 convolutions (JAX 0.11, 0.12: two of them, ReLU and
    max-pooling suffice); those of oneDNN do not.
    """
    return platform() != "cpu" or ONEDNN in os.environ.get("XLA_FLAGS", "")


def compiler_options() -> dict[str, str | bool] | None:
    """Returns options of the platform's compiler for large programs, for `jax.jit(compiler_options=...)`.

    XLA's default order on a CPU starts whatever can run in parallel, and so takes a third more memory.
    """
    return dict(_CPU_OPTIONS) if platform() == "cpu" else None
