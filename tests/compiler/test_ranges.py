"""Range arithmetic is an outer bound, and as tight as its tables promise."""

from __future__ import annotations

from gmpy2 import mpq
from hypothesis import given
from hypothesis import strategies as st

from compiler import ranges
from compiler.ranges import Range

HALVES = st.integers(-12, 12).map(lambda n: mpq(n, 2))


@st.composite
def extents(draw: st.DrawFn) -> tuple[Range, list[mpq]]:
    """A range made as a hull of constants, with the constants: values inside by construction."""
    values = draw(st.lists(HALVES, min_size=1, max_size=4))
    extent = ranges.constant(values[0])
    for value in values[1:]:
        extent = ranges.hull(extent, ranges.constant(value))
    if draw(st.booleans()):
        extent = Range(None, extent.hi, extent.step, extent.offset)
    return extent, values


def contains(extent: Range, value: mpq) -> bool:
    """Whether a value lies in the interval and on the lattice."""
    inside = (extent.lo is None or extent.lo <= value) and (extent.hi is None or value <= extent.hi)
    if extent.step is None:
        return inside
    gap = value - extent.offset
    on_lattice = gap == 0 if extent.step == 0 else (gap / extent.step).denominator == 1
    return bool(inside and on_lattice)


@given(extents(), extents(), HALVES, HALVES, HALVES)
def test_operations_contain_their_results(
    left: tuple[Range, list[mpq]], right: tuple[Range, list[mpq]], shift: mpq, a: mpq, b: mpq
) -> None:
    """Affine maps, ReLU, products and hulls of values lie in the ranges computed for them."""
    (one, xs), (two, ys) = left, right
    terms = [(factor, extent) for factor, extent in ((a, one), (b, two)) if factor]
    mapped = ranges.affine(shift, terms)
    for x in xs:
        assert contains(one, x)
        assert contains(ranges.relu(one), max(x, mpq(0)))
        for y in ys:
            assert contains(mapped, shift + a * x + b * y)
            assert contains(ranges.product(one, two), x * y)
            assert contains(ranges.hull(one, two), x)


@given(extents())
def test_smallest_positive_is_a_lower_bound(drawn: tuple[Range, list[mpq]]) -> None:
    """No positive value of a lattice lies below its smallest positive one."""
    extent, values = drawn
    smallest = extent.smallest_positive()
    for value in values:
        if value > 0:
            assert smallest is None or 0 < smallest <= value


@given(extents(), extents())
def test_an_intersection_contains_what_both_contain(
    left: tuple[Range, list[mpq]], right: tuple[Range, list[mpq]]
) -> None:
    """A value in both ranges is in their intersection."""
    both = ranges.intersect(left[0], right[0])
    for value in (*left[1], *right[1]):
        if contains(left[0], value) and contains(right[0], value):
            assert contains(both, value)


def test_half_integers_are_a_lattice() -> None:
    """An integer less one half has no positive value below one half."""
    integer = ranges.declared_range(mpq(1), mpq(26), integer=True)
    assert ranges.affine(mpq(-7, 2), [(mpq(1), integer)]).smallest_positive() == mpq(1, 2)


def test_declared_integer_bounds_move_inward() -> None:
    """Fractional bounds of an integer are tightened to integers."""
    extent = ranges.declared_range(mpq(1, 2), mpq(7, 2), integer=True)
    assert (extent.lo, extent.hi, extent.integer) == (1, 3, True)


def test_ranges_read_as_mathematics() -> None:
    """Ranges print as sets a reader knows."""
    assert str(Range(mpq(0), mpq(1), mpq(1))) == "{0, 1}"
    assert str(Range(mpq(-2), None, mpq(1))) == "[-2, ∞) integer"
    assert str(Range(None, mpq(1))) == "(−∞, 1]"
    assert str(ranges.constant(mpq(1, 2))) == "1/2"
    assert str(Range(mpq(0), mpq(2), mpq(1, 2))) == "[0, 2] in 1/2ℤ"
