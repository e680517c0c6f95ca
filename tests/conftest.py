"""Hypothesis profiles: ``quick`` by default, ``ci`` in .ci/run, ``thorough`` by hand."""

import os

from hypothesis import HealthCheck, settings

COMMON = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("quick", max_examples=40, **COMMON)
settings.register_profile("ci", max_examples=150, **COMMON)
settings.register_profile("thorough", max_examples=2500, **{**COMMON, "derandomize": False})
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
