"""Which float type can carry a policy's arithmetic, each operation rounded after the fact.

An operation of the carrier followed by a rounding to nearest equals the one rounding that a
policy asks for if the carrier's result is exact, or if no rounding of it can lie halfway
between two values of the format without being there (Figueroa 1995): for sums of numbers of
p bits, a carrier of 2p + 2 bits.  Where that does not hold, and in any direction other than
nearest, the integers of :mod:`.soft` compute.
"""

from __future__ import annotations

from collections.abc import Iterator

from stability.formats import BFLOAT16, FLOAT32, FLOAT64, AnyFormat, Format
from stability.policy import Policy


def carrier_of(policy: Policy) -> Format | None:
    """float32 or float64, whichever is the first to carry the policy; None for neither."""
    return next((wide for wide in (FLOAT32, FLOAT64) if carries(policy, wide)), None)


def carries(policy: Policy, wide: Format) -> bool:
    """Whether every operation of a policy may be done in ``wide`` and then rounded."""
    total = policy.accumulator
    if policy.rounding != "nearest" or policy.products != total or not isinstance(total, Format):
        return False
    if not all(isinstance(fmt, Format) and wide.holds(fmt) for fmt in policy.formats.values()):
        return False
    if total == wide:
        return True
    return (
        isinstance(policy.activations, Format)
        and total.holds(policy.activations)  # 1 − z is a sum of an activation
        and wide.precision >= 2 * total.precision + 2
        and all(_exact_enough(left, right, total, wide) for left, right in _factors(policy))
    )


def _factors(policy: Policy) -> Iterator[tuple[Format, Format]]:
    """The formats of two numbers that are multiplied, of every kind of product."""
    read = (policy.input, policy.activations, policy.state)
    shares = (policy.activations, policy.accumulator)
    pairs: list[tuple[AnyFormat, AnyFormat]] = [(policy.weights, fmt) for fmt in read]
    pairs += [(share, fmt) for share in shares for fmt in (policy.activations, policy.state)]
    pairs.append((policy.activations, policy.accumulator))
    for left, right in pairs:
        assert isinstance(left, Format)
        assert isinstance(right, Format)
        yield left, right


def _exact_enough(left: Format, right: Format, fmt: Format, wide: Format) -> bool:
    """Whether a product rounded to ``wide`` and then to ``fmt`` is rounded as if once.

    It is exact in ``wide`` unless it lies among the subnormal numbers there.  Those go wrong
    only where the product comes within half of ``wide``'s smallest number of a tie of ``fmt``
    without being there: then it has all bits from that tie down to beyond the smallest number.
    """
    bits = left.precision + right.precision
    if bits > wide.precision:
        return False
    if _lowest(left) + _lowest(right) >= _lowest(wide):
        return True
    room = _lowest(fmt) - _lowest(wide)
    # of 16 bits only 65535 = 255·257 would do, which is no product of two numbers of 8 bits
    return bits < room or (bits == room and left == right == BFLOAT16)


def _lowest(fmt: Format) -> int:
    """The exponent of the smallest subnormal number."""
    return fmt.min_exponent - fmt.precision + 1
