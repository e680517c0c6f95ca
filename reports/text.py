"""Text from programs and files, made safe to print."""

from __future__ import annotations


def plain(text: object) -> str:
    """Text that is safe to print: control characters and odd spaces are written out."""
    shown = str(text).replace("\n", " / ")
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in shown)
