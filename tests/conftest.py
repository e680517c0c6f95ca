"""Hypothesis profiles: ``quick`` by default, ``ci`` in .ci/run, ``thorough`` by hand."""

import os

import pytest
from hypothesis import HealthCheck, settings

COMMON = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("quick", COMMON, max_examples=40)
settings.register_profile("ci", COMMON, max_examples=60)
settings.register_profile("thorough", COMMON, max_examples=2500, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage does not count random examples: each part has an example of its own that runs it.

    Being traced, they would also take twice the time.
    """
    for item in items:
        if item.get_closest_marker("hypothesis"):
            item.add_marker("no_cover")
