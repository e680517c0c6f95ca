"""Cases worth keeping, and what is judged of a case; nothing here draws one, nor needs hypothesis."""

from stability.corpus.case import Case
from stability.corpus.drifting import Drift, drift_of
from stability.corpus.entry import DRIFT, Entry, Kept, entries, entry_files, keep, read_entry
from stability.corpus.properties import PROPERTIES, DiscardError, Property, judge
from stability.corpus.replaying import Difference, replay

__all__ = [
    "DRIFT", "PROPERTIES", "Case", "Difference", "DiscardError", "Drift", "Entry", "Kept", "Property",
    "drift_of", "entries", "entry_files", "judge", "keep", "read_entry", "replay",
]  # fmt: skip
