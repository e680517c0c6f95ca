"""Engines by name."""

from __future__ import annotations

from collections.abc import Callable

from compiler.errors import ConfigError
from stability.engines.base import Engine
from stability.engines.exact_engine import ExactEngine
from stability.engines.mpmath_engine import MpmathEngine
from stability.engines.native.engine import NativeEngine
from stability.engines.onnxruntime_engine import OnnxRuntimeEngine
from stability.engines.scalar import ScalarEngine
from stability.engines.torch_engine import TorchCudaEngine, TorchEngine
from stability.formats import ExactFormat, MpmathFormat
from stability.policy import AnyPolicy, as_policy

ENGINES: dict[str, Callable[[], Engine]] = {
    "native": NativeEngine,
    "scalar": ScalarEngine,
    "mpmath": MpmathEngine,
    "exact": ExactEngine,
    "onnxruntime": OnnxRuntimeEngine,
    "torch": TorchEngine,
    "torch-cuda": TorchCudaEngine,
}


def default_engine(fmt: AnyPolicy) -> str:
    """Who executes a policy unless an engine is named."""
    if isinstance(fmt, MpmathFormat):
        return "mpmath"
    if isinstance(fmt, ExactFormat):
        return "exact"
    return "native" if as_policy(fmt).binary else "scalar"


def check_engine(engine: str) -> str:
    """``engine`` itself.

    Raises:
        ConfigError: an unknown name, with the choices.
    """
    if engine not in ENGINES:
        raise ConfigError.single(f"unknown engine {engine!r}", hint="one of " + ", ".join(ENGINES))
    return engine


def find_engine(engine: str | Engine | None, fmt: AnyPolicy) -> Engine:
    """The engine of that name; ``None`` chooses by format; an engine is returned as it is.

    Raises:
        ConfigError: an unknown name, with the choices.
    """
    if engine is None:
        engine = default_engine(fmt)
    return ENGINES[check_engine(engine)]() if isinstance(engine, str) else engine
