"""Tokens as engines really write them: what may be compared, and where nothing can be said any more."""

from __future__ import annotations

from router.canary.distance import expected_gaps, gap, whole
from router.canary.proof import _places
from router.core.reply import Token

# What core 1.0 says in Russian, four tokens: first as peft's reference writes them, then as vLLM 0.32.0 does.
TEXTS, LOGPROBS = (".", " \ufffd", "\ufffd", "ер"), (-0.0212, -0.5938, -0.0001, -0.2)
HEARD = (
    Token(".", -0.0212, {".": -0.0212, ",": -4.3275}),
    Token("", -0.5938, {"": -0.5938, " \n": -4.3275}),
    Token(" Т", -0.0001, {" Т": -0.0001, " У": -9.1}),
    Token("ер", -0.2, {"ер": -0.2, "ы": -2.1}),
)


def test_a_letter_of_two_tokens_is_no_difference() -> None:
    assert list(expected_gaps(HEARD, TEXTS, LOGPROBS)) == [0.0]


def test_before_it_a_difference_counts_and_ends_the_comparison() -> None:
    assert list(expected_gaps(HEARD, (".", " \ufffd"), (-1.0212, 0.0))) == [1.0]
    (far,) = expected_gaps(HEARD, (",", " \ufffd"), (-0.1, 0.0))
    assert abs(far - 4.2275) < 1e-9


def test_no_token_is_asked_again_from_within_a_letter() -> None:
    assert not whole("")
    assert _places([Token(" so", -1.0), Token(" it", -1.0), *HEARD[1:]]) == [1]


def test_parts_of_letters_in_the_lists_prove_nothing() -> None:
    one = Token(".", -0.1, {".": -0.1, "": -2.5})
    other = Token(".", -0.1, {".": -0.1, "": -7.5})
    assert gap(one, other) == 0.0
