"""Compiled models in formats that other programs read: ONNX, and PyTorch's weights."""

from compiler.export.dense import DTYPES
from compiler.export.onnx import onnx_file, save_onnx, to_onnx
from compiler.export.torch import build_torch, save_torch, torch_file

__all__ = ["DTYPES", "build_torch", "onnx_file", "save_onnx", "save_torch", "to_onnx", "torch_file"]
