"""Options of real gates, for the commands that compile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, get_args

import typer

from compiler.errors import ConfigError
from compiler.model import Activation
from compiler.real_gates import NativeGates, check_native
from reports.cli.options import number
from stability.policy import parse_policy
from stability.real_gates import narrowest

RELU, NATIVE = ACTIVATIONS = get_args(Activation)
DEFAULT_LENGTH = NativeGates().length

ActivationOption = Annotated[
    str,
    typer.Option(
        "--activation",
        help="gates of lstm and gru: relu, as in the paper, or native, the real sigmoid and tanh",
    ),
]
GateFormat = Annotated[
    str | None,
    typer.Option("--gate-format", help="native: the format that ε and K are chosen for (default: float32)"),
]
GateLength = Annotated[
    int | None,
    typer.Option("--gate-length", help=f"native: the longest prompt (default: {DEFAULT_LENGTH:,} tokens)"),
]
Epsilon = Annotated[
    str | None, typer.Option("--epsilon", help="native: ε, a power of two such as 1/2048 (default: auto)")
]
GateGain = Annotated[str | None, typer.Option("--gate-gain", help="native: K (default: auto)")]
Restore = Annotated[
    int | None,
    typer.Option(
        "--restore", help="native: read outputs of up to so many steps from Booleans (default: none)"
    ),
]


def check_activation(name: str) -> str:
    """``name`` itself.

    Raises:
        ConfigError: no such activation.
    """
    if name not in ACTIVATIONS:
        raise ConfigError.single(f"unknown activation {name!r}", hint="one of " + ", ".join(ACTIVATIONS))
    return name


def native_gates(
    targets: Sequence[str],
    activation: str,
    *,
    number_format: str | None = None,
    length: int | None = None,
    epsilon: str | None = None,
    gain: str | None = None,
    restore: int | None = None,
) -> NativeGates | None:
    """What ``--activation`` and its companions ask for; None for ReLU.

    Raises:
        ConfigError: an unknown activation, a companion without ``native``, or a target
            without sigmoid and tanh.
    """
    check_activation(activation)
    given = {
        "--gate-format": number_format, "--gate-length": length, "--epsilon": epsilon, "--gate-gain": gain,
        "--restore": restore,
    }  # fmt: skip
    if activation == RELU:
        for option, value in given.items():
            if value is not None:
                raise ConfigError.single(f"{option} is for real gates", hint="add --activation native")
        return None
    for target in targets:
        check_native(target)
    return NativeGates(
        format=narrowest(parse_policy(number_format or "float32")),
        length=DEFAULT_LENGTH if length is None else length,
        epsilon="auto" if epsilon in {None, "auto"} else number("--epsilon", str(epsilon)),
        gain="auto" if gain in {None, "auto"} else number("--gate-gain", str(gain)),
        restore=restore or 0,
    )
