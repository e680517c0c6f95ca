"""Hypothesis strategies for programs and prompts (needs the package hypothesis)."""

from stability.fuzz.programs import PROFILES, Profile, programs
from stability.fuzz.prompts import prompts

__all__ = ["PROFILES", "Profile", "programs", "prompts"]
