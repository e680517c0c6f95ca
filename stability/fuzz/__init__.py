"""Hypothesis strategies for programs, prompts and policies (needs the package hypothesis).

What judges and keeps a case is :mod:`stability.corpus`, which does not need it.
"""

from stability.corpus import (
    PROPERTIES,
    Case,
    Drift,
    Entry,
    Property,
    drift_of,
    entries,
    judge,
    keep,
    read_entry,
    replay,
)
from stability.fuzz.cases import cases
from stability.fuzz.hunting import Finding, Hunt, hunt, steer
from stability.fuzz.policies import policies
from stability.fuzz.programs import PROFILES, Profile, programs
from stability.fuzz.prompts import prompts

__all__ = [
    "PROFILES", "PROPERTIES", "Case", "Drift", "Entry", "Finding", "Hunt", "Profile", "Property", "cases",
    "drift_of", "entries", "hunt", "judge", "keep", "policies", "programs", "prompts", "read_entry", "replay",
    "steer",
]  # fmt: skip
