"""ONNX Runtime as an engine: the graph of :func:`compiler.export.to_onnx`, on the CPU.

It is a check of this compiler, and an engine under test.  It sees what goes in and
what comes out: the status is set by tokens and outputs that are not finite, not by
what happens between the layers, so it can be later (or milder) than the status of
``native``.  What ONNX Runtime has no float64 kernel for (RNN, LSTM, GRU) is refused.
Where it has no float16 kernel it computes in float32 between two conversions, so its
``float16`` rounds weights, tokens and outputs, but few of the values between.

Its sigmoid and tanh are approximations.  In float32 the tanh of a small x is off by 2^-23 of
x (less in the LSTM, more in the GRU), so a value that is neither 0 nor 1 loses or gains as
much each time it passes a tanh.  In the LSTM, sigmoid is exactly 0 and 1 from ±18 on, tanh ±1
from ±9 on; in the GRU a reset gate that is shut is −2^-22, and tanh reaches 1 + 2^-21.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.errors import ConfigError
from compiler.export.onnx import OUTPUTS_NAME, TOKENS_NAME, to_onnx
from compiler.model import Model
from stability.engines.base import Segment, Session
from stability.engines.outside import Watch, float_format, turned
from stability.formats import FLOATS, Format
from stability.policy import AnyPolicy
from stability.rounding import round_array

QUIET = 4
"""ONNX Runtime logs only what is fatal: what fails is raised, too."""


class OnnxRuntimeEngine:
    """float32; float16 and float64 where ONNX Runtime has the operators.

    Args:
        threads: how many threads one operator may use.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads

    def prepare(self, model: Model, fmt: AnyPolicy, keep: Sequence[int] = ()) -> Session:
        """See :class:`stability.engines.base.Engine`; missing packages are a ConfigError too."""
        known = float_format("onnxruntime", fmt, FLOATS)
        runtime = _onnxruntime()
        graph = to_onnx(model, known.name, states=True, wires=keep, infinities=True)
        options = runtime.SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = options.inter_op_num_threads = self._threads
        # a kernel that is missing is found at the start or, for some, at the first token
        try:
            session = runtime.InferenceSession(
                graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            session.run(None, {TOKENS_NAME: np.zeros((1, 1, model.input_dim), dtype=known.dtype)})
        except Exception as problem:
            if type(problem).__module__.partition(".")[0] != "onnxruntime":
                raise
            raise ConfigError.single(
                f"ONNX Runtime cannot run {model.target} in {known.name}: {_reason(problem)}",
                hint="take float32, or engine torch or native",
            ) from None
        return _OnnxSession(session, known, tuple(keep))


class _OnnxSession:
    def __init__(self, session: Any, fmt: Format, keep: tuple[int, ...]) -> None:
        self._session, self._format, self._keep = session, fmt, keep
        self._names = [output.name for output in session.get_outputs()]
        self._states: dict[str, npt.NDArray[Any]] = {}
        self._watch = Watch()

    def step(self, tokens: npt.NDArray[Any]) -> Segment:
        """See :class:`stability.engines.base.Session`."""
        rounded = round_array(tokens, self._format)
        values = self._session.run(self._names, {TOKENS_NAME: turned(rounded)} | self._states)
        results = dict(zip(self._names, values, strict=True))
        self._states = {
            f"state.{name.removeprefix('next.')}": value
            for name, value in results.items()
            if name.startswith("next.")
        }
        outputs = turned(results[OUTPUTS_NAME])
        wires = {wire: turned(results[f"wire.{wire}"]) for wire in self._keep}
        return Segment(outputs=outputs, status=self._watch.see(rounded, outputs), wires=wires)


def _onnxruntime() -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 -- optional and heavy
    except ImportError:
        raise ConfigError.single(
            "the package onnxruntime is not installed", hint="pip install 'lsrl-stability[onnx]'"
        ) from None
    return onnxruntime


def _reason(problem: Exception) -> str:
    """The runtime's own words, in one line and without its codes."""
    return " ".join(str(problem).rpartition(" : ")[2].split())[:200]
