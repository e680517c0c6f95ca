"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def beside(path: Path) -> Path:
    """A new, empty file in the folder of ``path``, to be renamed to it.

    Raises:
        OSError: the folder cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    made = Path(name)
    umask = os.umask(0)
    os.umask(umask)
    made.chmod(0o666 & ~umask)
    return made
