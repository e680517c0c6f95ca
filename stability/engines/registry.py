"""Engines by name."""

from __future__ import annotations

from collections.abc import Callable

from compiler.errors import ConfigError
from stability.engines.base import Engine
from stability.engines.mpmath_engine import MpmathEngine
from stability.engines.native.engine import NativeEngine
from stability.engines.onnxruntime_engine import OnnxRuntimeEngine
from stability.engines.scalar import ScalarEngine
from stability.engines.torch_engine import TorchCudaEngine, TorchEngine
from stability.formats import AnyFormat, MpmathFormat

ENGINES: dict[str, Callable[[], Engine]] = {
    "native": NativeEngine,
    "scalar": ScalarEngine,
    "mpmath": MpmathEngine,
    "onnxruntime": OnnxRuntimeEngine,
    "torch": TorchEngine,
    "torch-cuda": TorchCudaEngine,
}


def default_engine(fmt: AnyFormat) -> str:
    """Who executes a format unless an engine is named."""
    return "mpmath" if isinstance(fmt, MpmathFormat) else "native"


def check_engine(engine: str) -> str:
    """``engine`` itself.

    Raises:
        ConfigError: an unknown name, with the choices.
    """
    if engine not in ENGINES:
        raise ConfigError.single(f"unknown engine {engine!r}", hint="one of " + ", ".join(ENGINES))
    return engine


def find_engine(engine: str | Engine | None, fmt: AnyFormat) -> Engine:
    """The engine of that name; ``None`` chooses by format; an engine is returned as it is.

    Raises:
        ConfigError: an unknown name, with the choices.
    """
    if engine is None:
        engine = default_engine(fmt)
    return ENGINES[check_engine(engine)]() if isinstance(engine, str) else engine
