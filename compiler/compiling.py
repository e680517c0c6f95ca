"""The pipeline: program → lowered program → path → weights of a target."""

from __future__ import annotations

from dataclasses import replace

from compiler import ir
from compiler.config import CompileConfig
from compiler.errors import ConfigError
from compiler.layering import to_path
from compiler.lowering import Lowered, lower
from compiler.model import MAX_WINDOW, Model
from compiler.real_gates import NativeGates, RealGates, build, check_native
from compiler.selfcheck import check_compilation, path_model
from compiler.targets.base import Target
from compiler.targets.gated_rnn import GATED_RNN
from compiler.targets.griffin import GRIFFIN
from compiler.targets.gru import GRU
from compiler.targets.hawk import HAWK
from compiler.targets.linear_rnn import GATED_LINEAR_RNN, LINEAR_RNN
from compiler.targets.lstm import LSTM
from compiler.targets.relu_rnn import RELU_RNN
from compiler.targets.uncompiled import build_uncompiled

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (LINEAR_RNN, GATED_LINEAR_RNN, RELU_RNN, GATED_RNN, LSTM, GRU, HAWK, GRIFFIN)
}
UNCOMPILED = "uncompiled"
TARGET_NAMES: tuple[str, ...] = (*TARGETS, UNCOMPILED)
DEFAULT_WINDOW = 4096


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


def compile_program(
    program: ir.Program,
    target: str = "lstm",
    config: CompileConfig | str | None = None,
    *,
    window: int | None = None,
    check: int = 0,
    native: NativeGates | None = None,
) -> Model:
    """Compile a program exactly into the weights of an architecture.

    Args:
        program: from :func:`compiler.loading.load_program`, the text or the Python front end.
        target: one of :data:`TARGET_NAMES`; ``uncompiled`` is the program itself, node by node.
        config: step form, conditional, μ, λ, complement, or the name of a configuration
            (default: ``stable``).
        window: for ``hawk`` and ``griffin``, the longest prompt that the model can read;
            default: :data:`DEFAULT_WINDOW`.
        check: hold every step of the compilation to the one before on so many random
            prompts, in exact rationals (see :mod:`compiler.selfcheck`).
        native: for ``lstm`` and ``gru``, real sigmoid and tanh in place of ReLU, for a number
            format and a length of prompt (see :mod:`compiler.real_gates`).

    Raises:
        ConfigError: an unknown target or configuration, or a window or real gates for a
            target without them.
        CompileRefusal: the target or configuration cannot carry the program exactly;
            names the source line and the way out.
        CompilerBugError: ``check`` found a step that changes what the program computes.
    """
    check_target(target)
    chosen = CompileConfig.named(config) if isinstance(config, str) else config or CompileConfig()
    lowered = lower(program, settle(chosen, target))
    return compile_lowered(lowered, target, window=window, check=check, native=native)


def settle_window(target: str, window: int | None) -> int | None:
    """The window of a model of ``target``; ``None`` for targets without one.

    Raises:
        ConfigError: a window out of bounds, or for a target that keeps a state instead.
    """
    if target not in TARGETS or not TARGETS[target].windowed:
        if window is None:
            return None
        named = ", ".join(name for name, each in TARGETS.items() if each.windowed)
        raise ConfigError.single(f"target {target} has no window", hint=f"targets with one: {named}")
    if window is None:
        return DEFAULT_WINDOW
    if window != int(window) or not 1 <= window <= MAX_WINDOW:
        raise ConfigError.single(f"window={window}", hint=f"1 to {MAX_WINDOW} tokens")
    return window


def build_native(lowered: Lowered, target: str, native: NativeGates) -> RealGates:
    """The cells of a lowered program with real gates, with what was chosen and proved for each.

    Raises:
        ConfigError: a target without sigmoid and tanh.
        CompileRefusal: see :func:`compiler.real_gates.build.build`.
    """
    check_native(target)
    return build(to_path(lowered, signed=True), target, native)


def compile_lowered(
    lowered: Lowered,
    target: str,
    *,
    window: int | None = None,
    check: int = 0,
    native: NativeGates | None = None,
) -> Model:
    """Compile a program that is already lowered (see :func:`compile_program`)."""
    settled = settle_window(target, window)
    program = lowered.program
    stages: list[tuple[str, Model]] = []
    if check and target != UNCOMPILED:
        stages.append(("layering", path_model(to_path(lowered), program.output_dim)))
    readout_wires: tuple[int, ...] | None = None
    if native is not None:
        stack = build_native(lowered, target, native).stack
    elif target == UNCOMPILED:
        stack, readout_wires = build_uncompiled(lowered)
    else:
        stack = TARGETS[target].build(to_path(lowered))
    settings = {f"param {name}": str(value) for name, value in program.parameters}
    model = Model(
        target=target,
        name=program.name,
        input_dim=program.input_dim,
        output_dim=program.output_dim,
        layers=stack.layers,
        readout_wires=readout_wires or (len(stack.layers),),
        readout=stack.readout,
        readout_bias=stack.readout_bias,
        settings=settings | lowered.config.settings() | (native.settings() if native else {}),
        warnings=tuple(str(note.finding) for note in lowered.notes),
        window=settled,
    )
    if check:
        if native is None:
            stages.append((f"target {target}", replace(model, window=None)))
        check_compilation(lowered, stages, prompts=check)
    return model
