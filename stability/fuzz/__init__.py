"""Hypothesis strategies for programs, prompts and policies (needs the package hypothesis)."""

from stability.fuzz.cases import Case, cases
from stability.fuzz.corpus import Entry, entries, keep, read_entry
from stability.fuzz.drifting import Drift, drift_of
from stability.fuzz.hunting import Finding, Hunt, hunt, steer
from stability.fuzz.policies import policies
from stability.fuzz.programs import PROFILES, Profile, programs
from stability.fuzz.prompts import prompts
from stability.fuzz.properties import PROPERTIES, Property, judge

__all__ = [
    "PROFILES", "PROPERTIES", "Case", "Drift", "Entry", "Finding", "Hunt", "Profile", "Property", "cases",
    "drift_of", "entries", "hunt", "judge", "keep", "policies", "programs", "prompts", "read_entry", "steer",
]  # fmt: skip
