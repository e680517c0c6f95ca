"""The command line ``lsrl``."""

import os
import signal
import sys

INTERRUPTED = 130


def main() -> None:
    """Entry point of the command ``lsrl``; Ctrl-C ends it quietly, while it is still loading too."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is for what a shell runs behind
        signal.signal(signal.SIGINT, _stop)
    try:
        from reports.cli.app import main as run  # noqa: PLC0415 -- takes a second or more

        run()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(INTERRUPTED)


def _stop(*_: object) -> None:
    """The first Ctrl-C: put away what is open."""
    signal.signal(signal.SIGINT, _leave)
    raise KeyboardInterrupt


def _leave(*_: object) -> None:
    """The second: at once, without waiting for processes that the first has disturbed."""
    os._exit(INTERRUPTED)
