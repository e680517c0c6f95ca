"""Hypothesis profiles: ``quick`` by default, ``thorough`` by hand."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

COMMON = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("quick", COMMON, max_examples=40)
settings.register_profile("thorough", COMMON, max_examples=2500, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell has its background commands ignore Ctrl-C, and so would those that the tests start and stop
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage counts neither random examples nor benchmarks: each part has an example of its own.

    Being traced, they would also take twice the time.
    """
    for item in items:
        if item.get_closest_marker("hypothesis") or "benchmark" in getattr(item, "fixturenames", ()):
            item.add_marker("no_cover")
