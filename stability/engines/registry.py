"""Engines by name."""

from __future__ import annotations

from compiler.errors import ConfigError
from stability.engines.base import Engine
from stability.engines.mpmath_engine import MpmathEngine
from stability.engines.native.engine import NativeEngine
from stability.engines.scalar import ScalarEngine
from stability.formats import AnyFormat, MpmathFormat

ENGINES: dict[str, type[NativeEngine | ScalarEngine | MpmathEngine]] = {
    "native": NativeEngine,
    "scalar": ScalarEngine,
    "mpmath": MpmathEngine,
}


def find_engine(engine: str | Engine | None, fmt: AnyFormat) -> Engine:
    """The engine of that name; ``None`` chooses by format; an engine is returned as it is.

    Raises:
        ConfigError: an unknown name, with the choices.
    """
    if engine is None:
        engine = "mpmath" if isinstance(fmt, MpmathFormat) else "native"
    if not isinstance(engine, str):
        return engine
    if engine not in ENGINES:
        raise ConfigError.single(f"unknown engine {engine!r}", hint="one of " + ", ".join(ENGINES))
    return ENGINES[engine]()
