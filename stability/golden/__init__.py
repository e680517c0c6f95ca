"""Golden cases: weights, tokens and the true answer in one .npz, to judge a kernel in any language."""

from stability.golden.case import GoldenCase, golden_case, judge_of, save_case
from stability.golden.reading import CaseError, read_case, read_outputs
from stability.golden.scoring import Score, score
from stability.golden.special import SPECIAL, special_case
from stability.golden.states import StateScore, score_states

__all__ = [
    "SPECIAL",
    "CaseError",
    "GoldenCase",
    "Score",
    "StateScore",
    "golden_case",
    "judge_of",
    "read_case",
    "read_outputs",
    "save_case",
    "score",
    "score_states",
    "special_case",
]
