"""The generic cell rate algorithm against hand-computed minutes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.core.limits import MOST_PER_MINUTE
from router.core.quota import MINUTE, Quota, fits, quota, step


def test_sixty_per_minute_by_hand() -> None:
    second = 1_000_000
    assert step(60) == second
    assert fits([59 * second], [second])
    assert not fits([59 * second + 1], [second])
    assert quota([60], [0], [second], True) == Quota(60, 59, 1.0)
    assert quota([60], [59 * second], [second], True) == Quota(60, 0, 60.0)
    assert quota([60], [60 * second], [second], False) == Quota(60, 0, 60.0, 1.0)


def test_the_nearest_of_several_limits_is_told_and_the_longest_wait() -> None:
    costs = [step(60), step(10)]
    assert quota([60, 10], [0, 0], costs, True) == Quota(10, 9, 6.0)
    assert not fits([0, MINUTE], costs)
    assert quota([60, 10], [0, MINUTE], costs, False) == Quota(10, 0, 60.0, 6.0)


def test_more_than_a_minute_holds_never_fits() -> None:
    assert quota([10], [0], [11 * step(10)], False).retry_after == float("inf")


@given(st.integers(1, MOST_PER_MINUTE))
def test_exactly_as_many_as_the_limit_come_at_once(per_minute: int) -> None:
    backlog = (per_minute - 1) * step(per_minute)
    assert fits([backlog], [step(per_minute)])
    # one more would only fit by what rounding leaves: less than a hundredth of a minute up to 7,700 per minute
    if per_minute <= 1000:
        assert not fits([per_minute * step(per_minute)], [step(per_minute)])
