"""The command line ``lsrl``."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Entry point of the command ``lsrl``; Ctrl-C ends it quietly, while it is still loading too."""
    try:
        from reports.cli.app import main as run  # noqa: PLC0415 -- takes a second or more

        run()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(INTERRUPTED)
