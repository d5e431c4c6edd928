"""How words are compared: edit distance against the textbook matrix, scripts, folding."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.words import fold, keyword, one_edit, parts, unmixed


def distance(one: str, other: str) -> int:
    """Return the optimal string alignment distance by its dynamic programme (Damerau 1964; Boytsov 2011)."""
    table = [[i + j if not i or not j else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            table[i][j] = min(
                table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (one[i - 1] != other[j - 1])
            )
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


@settings(deadline=None)  # the machine may be loaded
@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_one_edit_agrees_with_the_matrix(one: str, other: str) -> None:
    assert one_edit(one, other) is (distance(one, other) == 1)


@pytest.mark.parametrize(
    ("word", "plain"),
    [
        ("аgоgе", ("agoge",)),
        ("физикa", ("физика",)),
        ("core", ()),
        ("ядро", ()),
        ("яdro", ()),
        ("сoр", ("сор", "cop")),
    ],
)
def test_mixed_script_is_read_as_what_it_looks_like(word: str, plain: tuple[str, ...]) -> None:
    assert unmixed(word) == plain


def test_folding() -> None:
    assert fold("ПЕРЕЛЁТ ｍode") == "перелет mode"
    assert fold("и\u0306") == "й"
    assert parts("My-Physics_v2.1") == ("my", "physics", "v2", "1")
    assert keyword("Pежим") == "режим"
