"""The pipeline: program → lowered program → path → weights of a target."""

from __future__ import annotations

from compiler import ir
from compiler.config import CompileConfig
from compiler.errors import ConfigError
from compiler.layering import to_path
from compiler.lowering import Lowered, lower
from compiler.model import Model
from compiler.targets.base import Target
from compiler.targets.linear_rnn import GATED_LINEAR_RNN, LINEAR_RNN
from compiler.targets.lstm import LSTM
from compiler.targets.relu_rnn import RELU_RNN
from compiler.targets.uncompiled import build_uncompiled

TARGETS: dict[str, Target] = {
    target.name: target for target in (LINEAR_RNN, GATED_LINEAR_RNN, RELU_RNN, LSTM)
}
UNCOMPILED = "uncompiled"
TARGET_NAMES: tuple[str, ...] = (*TARGETS, UNCOMPILED)


def check_target(target: str) -> str:
    """``target`` itself.

    Raises:
        ConfigError: no such target.
    """
    if target not in TARGET_NAMES:
        raise ConfigError.single(f"unknown target {target!r}", hint="one of " + ", ".join(TARGET_NAMES))
    return target


def settle(config: CompileConfig, target: str) -> CompileConfig:
    """The configuration with its conditional settled for ``target``."""
    if config.conditional is not None or target == UNCOMPILED:
        return (
            config if config.conditional is not None else config.with_conditional("multiplicative_optimized")
        )
    return config.with_conditional(TARGETS[target].conditional)


def compile_program(program: ir.Program, target: str = "lstm", config: CompileConfig | None = None) -> Model:
    """Compile a program exactly into the weights of an architecture.

    Args:
        program: from :func:`compiler.loading.load_program`, the text or the Python front end.
        target: one of :data:`TARGET_NAMES`; ``uncompiled`` is the program itself, node by node.
        config: step form, conditional, μ, λ, complement (default: configuration ``stable``).

    Raises:
        ConfigError: an unknown target.
        CompileRefusal: the target or configuration cannot carry the program exactly;
            names the source line and the way out.
    """
    check_target(target)
    return compile_lowered(lower(program, settle(config or CompileConfig(), target)), target)


def compile_lowered(lowered: Lowered, target: str) -> Model:
    """Compile a program that is already lowered (see :func:`compile_program`)."""
    program = lowered.program
    if target == UNCOMPILED:
        stack, readout_wires = build_uncompiled(lowered)
    else:
        path = to_path(lowered)
        stack = TARGETS[target].build(path)
        readout_wires = (len(stack.layers),)
    settings = {f"param {name}": str(value) for name, value in program.parameters}
    return Model(
        target=target,
        name=program.name,
        input_dim=program.input_dim,
        output_dim=program.output_dim,
        layers=stack.layers,
        readout_wires=readout_wires,
        readout=stack.readout,
        readout_bias=stack.readout_bias,
        settings=settings | lowered.config.settings(),
        warnings=tuple(str(note.finding) for note in lowered.notes),
    )
