"""PyTorch as an engine: the modules of :func:`compiler.export.build_torch`, on CPU or CUDA.

It is a check of this compiler, and an engine under test.  It sees what goes in and
what comes out: the status is set by tokens and outputs that are not finite, not by
what happens between the layers, so it can be later (or milder) than the status of
``native``.  The order of its sums is PyTorch's affair, and may depend on the number of
sequences; bits are therefore not promised, but the bound of :mod:`stability.verify` is.
Outputs in bfloat16, which NumPy has not, are float32 arrays of its values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.errors import ConfigError
from compiler.export.dense import DTYPES
from compiler.export.torch import build_torch
from compiler.model import Model
from stability.engines.base import Segment, Session
from stability.engines.outside import Watch, float_format, turned
from stability.formats import Format
from stability.policy import AnyPolicy
from stability.rounding import round_array


class TorchEngine:
    """float16, bfloat16, float32 and float64 on the CPU.

    Args:
        device: where the module runs, as PyTorch names it: ``cpu``, ``cuda``, ``cuda:1``.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def prepare(self, model: Model, fmt: AnyPolicy, keep: Sequence[int] = ()) -> Session:
        """See :class:`stability.engines.base.Engine`; a missing PyTorch is a ConfigError too."""
        known = float_format("torch", fmt, DTYPES)
        module = build_torch(model, known.name, infinities=True)
        import torch  # noqa: PLC0415 -- optional and heavy

        if self._device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError.single("engine 'torch-cuda' found no CUDA device", hint="use engine 'torch'")
        return _TorchSession(module.to(self._device), known, tuple(keep), self._device)


class TorchCudaEngine(TorchEngine):
    """The same on the first CUDA device, without TF32."""

    def __init__(self) -> None:
        super().__init__("cuda")


class _TorchSession:
    def __init__(self, module: Any, fmt: Format, keep: tuple[int, ...], device: str) -> None:
        import torch  # noqa: PLC0415 -- optional and heavy

        self._torch, self._module, self._format, self._keep = torch, module, fmt, keep
        self._device = device
        self._states: Any = None
        self._watch = Watch()

    def step(self, tokens: npt.NDArray[Any]) -> Segment:
        """See :class:`stability.engines.base.Session`."""
        torch, rounded = self._torch, round_array(tokens, self._format)
        given = torch.from_numpy(turned(rounded)).to(self._device, getattr(torch, self._format.name))
        # cuDNN would run a float32 RNN in TF32, which has 10 bits less
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            wires, self._states = self._module.wires(given, self._states)
            outputs = self._array(self._module.read(wires))
            kept = {wire: self._array(wires[wire]) for wire in self._keep}
        return Segment(outputs=outputs, status=self._watch.see(rounded, outputs), wires=kept)

    def _array(self, tensor: Any) -> npt.NDArray[Any]:
        held = tensor if self._format.dtype is not None else tensor.float()
        return np.asarray(turned(held.cpu().numpy()))
