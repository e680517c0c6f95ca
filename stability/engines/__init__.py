"""Engines: what executes a compiled model in a number format."""
