"""Random policies: a format for every place, and a direction of rounding."""

from __future__ import annotations

from hypothesis import strategies as st

from stability.policy import PLACES
from stability.rounding import MODES

PLAIN = ("float64", "float32", "float16", "bfloat16", "tf32", "float8_e4m3fn", "float8_e5m2", "e5m3", "e8m4")
PRESETS = ("float16-acc32", "bfloat16-acc32", "float16-state32", "bfloat16-state32", "float8_e5m2-acc32")


def policies(*, mixed: bool = True) -> st.SearchStrategy[str]:
    """Names of policies: plain formats, presets and, if ``mixed``, any combination of them."""
    plain = st.sampled_from((*PLAIN, *PRESETS))
    return st.one_of(plain, _combined()) if mixed else plain


@st.composite
def _combined(draw: st.DrawFn) -> str:
    """A format, other formats for some places, and a direction."""
    parts = [draw(st.sampled_from(PLAIN))]
    places = draw(st.lists(st.sampled_from(PLACES), unique=True, max_size=3))
    parts += [f"{place}={draw(st.sampled_from(PLAIN))}" for place in places]
    direction = draw(st.sampled_from(MODES))
    if direction != "nearest":
        parts.append(f"rounding={direction}")
    if direction == "stochastic":
        parts.append(f"seed={draw(st.integers(0, 99))}")
    return ",".join(parts)
