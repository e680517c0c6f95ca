"""The command line ``lsrl``."""

from reports.cli.app import main

__all__ = ["main"]
