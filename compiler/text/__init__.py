"""The text front end: LSRL programs as ``.lsrl`` text, read and written."""

from compiler.text.program import parse_program
from compiler.text.unparse import unparse

__all__ = ["parse_program", "unparse"]
