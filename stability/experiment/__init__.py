"""Experiments: grids of cells in TOML, run into a store that survives whatever happens.

>>> from stability.experiment import load_experiment, read_store, run_experiment
"""

from stability.experiment.definition import Experiment, load_experiment
from stability.experiment.frames import StoreWarning, read_noise, read_store
from stability.experiment.reading import ExperimentError, shipped
from stability.experiment.running import Interrupted, Outcome, run_experiment
from stability.experiment.store import STORE_COLUMNS, VOLATILE, StoreError
from stability.experiment.thresholds import Thresholds

__all__ = [
    "STORE_COLUMNS", "VOLATILE", "Experiment", "ExperimentError", "Interrupted", "Outcome", "StoreError",
    "StoreWarning", "Thresholds", "load_experiment", "read_noise", "read_store", "run_experiment",
    "shipped",
]  # fmt: skip
