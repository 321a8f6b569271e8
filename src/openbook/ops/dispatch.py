"""Which implementation serves a call: by device, precision and size, or as OPENBOOK_KERNELS says."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import Tensor

from openbook.errors import UsageError
from openbook.ops import ahead

VARIABLE = "OPENBOOK_KERNELS"
CHOICES = ("auto", "reference", "numba", "triton")
SMALL = 100_000  # multiplications below which a kernel gains nothing worth its compilation
_modules: dict[tuple[str, str], ModuleType | None] = {}
_used: set[tuple[str, str]] = set()


def asked_for() -> str:
    """The value of OPENBOOK_KERNELS; anything else than a choice is refused."""
    asked = os.environ.get(VARIABLE) or "auto"
    if asked not in CHOICES:
        raise UsageError(
            "unknown_kernels",
            expected=" or ".join(CHOICES),
            got=repr(asked),
            where=f"environment variable {VARIABLE}",
            fix="unset it, or set it to one of these",
        )
    return asked


@contextmanager
def implementation(
    op: str, tensor: Tensor, size: int, reference: ModuleType, *, small: int = SMALL
) -> Iterator[ModuleType]:
    """The module of an operation that serves ``tensor``; says so on a terminal if its first call takes long to compile.

    ``numba`` serves float32 on a CPU, ``triton`` an NVIDIA GPU (or a CPU where TRITON_INTERPRET=1), each from ``small``
    multiplications on or when asked for; ``reference`` all else.
    """
    asked = asked_for()
    kind = _fitting(tensor) if asked == "auto" and size >= small else asked
    if kind not in ("numba", "triton") or not _serves(kind, tensor):
        yield reference
        return
    module = _load(op, kind)
    if module is None:
        yield reference
        return
    if (op, kind) in _used:
        yield module
        return
    with _said_if_slow():
        if op in ahead.OPERATIONS:  # another process may be compiling what would otherwise be compiled here
            ahead.wait()
        yield module
    _used.add((op, kind))


def _fitting(tensor: Tensor) -> str:
    return "triton" if tensor.is_cuda else "numba"


def _serves(kind: str, tensor: Tensor) -> bool:
    if kind == "numba":
        return tensor.device.type == "cpu" and tensor.dtype == torch.float32
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not (tensor.is_cuda or (interpreted and tensor.device.type == "cpu")):
        return False
    half = tensor.dtype in (torch.float16, torch.bfloat16)  # which autocast hands on as float32, and nothing else does
    return tensor.dtype == torch.float32 or (half and tensor.is_cuda and torch.is_autocast_enabled("cuda"))


def _load(op: str, kind: str) -> ModuleType | None:
    """An operation's kernels; None, with one warning, where their compiler can not be imported or does not work."""
    if (op, kind) not in _modules:
        try:
            module = importlib.import_module(f"openbook.ops.{op}.{kind}")
            getattr(module, "reach", lambda: None)()
            _modules[op, kind] = module
        except Exception as error:  # whatever keeps a compiler from working is no reason to fail
            told = any(other == kind and module is None for (_, other), module in list(_modules.items()))
            _modules[op, kind] = None
            if not told:
                warnings.warn(
                    f"{kind} can not be used ({type(error).__name__}: {error}); models take the plain, slower path. "
                    f"Install {kind}, or set {VARIABLE}=reference to say that this is meant.",
                    RuntimeWarning,
                    stacklevel=4,
                )
    return _modules[op, kind]


@contextmanager
def _said_if_slow(after: float = 1.0) -> Iterator[None]:
    """A line on a terminal when compiling takes longer than ``after`` seconds; nothing where it was cached."""
    screen = sys.stderr  # none in programs without a console, and some put an object of their own there
    if screen is None or not getattr(screen, "isatty", bool)():
        yield
        return
    note = "openbook: compiling kernels for this processor, once; takes some seconds\n"
    timer = threading.Timer(after, lambda: screen.write(note))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
