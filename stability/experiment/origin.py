"""Where a number comes from: the suite, its dependencies, the commit - and what they decide.

Every row of a store carries :func:`versions` and :func:`commit`; what a cell is, and so
the name of its file, is decided by :func:`identity`.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from stability.cells import Member, Setup

DISTRIBUTION = "lsrl-stability"
NUMERIC_SCHEMA = 1
"""Raised when a change of this suite changes any number that a cell holds."""
DEPENDENCIES = ("numpy", "numba", "mpmath", "gmpy2")
OUTSIDE = {"onnxruntime": ("onnxruntime", "onnx"), "torch": ("torch",), "torch-cuda": ("torch",)}
"""Packages that compute for an engine that nobody here wrote: their versions are part of a cell."""
UNKNOWN = "unknown"


@cache
def version_of(package: str) -> str:
    """The version of an installed package, or ``absent``; as it was when this process first asked."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


@cache
def versions() -> str:
    """``lsrl-stability 0.1.0, python 3.11.9, numpy …``."""
    named = [(DISTRIBUTION, version_of(DISTRIBUTION)), ("python", platform.python_version())]
    named += [(package, version_of(package)) for package in DEPENDENCIES]
    return ", ".join(f"{package} {version}" for package, version in named)


@cache
def commit() -> str:
    """The commit of the checkout that this package runs from, ``-dirty`` where it was changed.

    ``unknown`` for an installed package, whose version has to do.
    """
    root = Path(__file__).resolve().parents[2]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return UNKNOWN
    command = [git, "--no-optional-locks", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40",
               "--exclude=*"]  # fmt: skip
    try:
        # the program is the user's git and every argument is ours
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return UNKNOWN
    return done.stdout.strip() if done.returncode == 0 else UNKNOWN


@cache
def draws() -> str:
    """A digest of a few random draws: it changes only if numpy's generator gives other prompts."""
    generator = np.random.default_rng(0)
    drawn = (
        generator.integers(0, 97, size=64),
        generator.random(64),
        generator.permutation(64),
        generator.choice(64, size=16, replace=False),
        generator.normal(size=16),
    )
    content = hashlib.sha256()
    for values in drawn:
        content.update(np.ascontiguousarray(values).tobytes())
    return content.hexdigest()[:16]


def identity(setup: Setup, member: Member) -> dict[str, object]:
    """Everything that determines the result of a cell - not when it runs, nor beside what."""
    noise = {} if member.noise is None else {"noise": asdict(member.noise)}
    return noise | {
        "suite": version_of(DISTRIBUTION),
        "numeric_schema": NUMERIC_SCHEMA,
        "draws": draws(),
        "file": setup.subject.file,
        "program": setup.subject.text,
        "parameters": {name: str(value) for name, value in setup.subject.parameters.items()},
        "config": setup.config_name,
        "settings": setup.settled.settings(),
        "conditional": setup.conditional,
        "target": member.target,
        "activation": member.activation,
        "order": member.order,
        "format": member.format.name,
        "engine": member.engine,
        "engine_versions": [f"{package} {version_of(package)}" for package in OUTSIDE.get(member.engine, ())],
        "states": member.states,
        "seed": setup.seed,
        "length": setup.length,
    }


def canonical(what: Mapping[str, object]) -> str:
    """One text for equal contents."""
    return json.dumps(what, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def digest(text: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def config_hash(setup: Setup, member: Member) -> str:
    """The configuration in short: equal for cells that were compiled alike."""
    settings = setup.settled.settings() | {"activation": member.activation, "order": member.order}
    return digest(canonical(settings))[:16]
