"""Compile LSRL programs (arXiv 2406.01424) exactly into recurrent networks.

>>> from compiler import load_program, compile_program, interpret
>>> model = compile_program(load_program("majority"), target="lstm")
"""

from compiler.compiling import TARGET_NAMES, compile_program
from compiler.config import CompileConfig
from compiler.errors import LsrlError
from compiler.interpreter import interpret
from compiler.loading import load_program
from compiler.model import Model
from compiler.model_file import load_model, model_hash, save_model
from compiler.text import parse_program, unparse

__all__ = [
    "TARGET_NAMES",
    "CompileConfig",
    "LsrlError",
    "Model",
    "compile_program",
    "interpret",
    "load_model",
    "load_program",
    "model_hash",
    "parse_program",
    "save_model",
    "unparse",
]
