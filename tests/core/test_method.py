"""The text of `compose.merge`: one canonical form, and the same judgement as the composer's own reader."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blends.method import RANKS as COMPOSED_RANKS
from blends.method import Method
from router.core.method import PATTERN, RANKS, canonical


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("exact", "exact"),
        (" exact ", "exact"),
        ("exact()", "exact"),
        ("svd(rank=16)", "svd(rank=16)"),
        ("svd( rank = 16 )", "svd(rank=16)"),
        ("ties(rank=32, density=0.5)", "ties(density=0.5,rank=32)"),
        ("dare(seed=7,rank=8,density=1)", "dare(density=1.0,rank=8,seed=7)"),
    ],
)
def test_every_spelling_has_one_form(text: str, form: str) -> None:
    assert canonical(text) == form == canonical(form)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no way to merge"),
        ("linear", "'linear' is no way to merge"),
        ("cat", "is no way to merge"),
        ("exact(rank=8)", "'rank=8' does not belong there"),
        ("svd", "'svd' lacks rank"),
        ("svd(16)", "'16' does not belong there"),
        ("svd(rank=16,rank=32)", "'rank=32' does not belong there"),
        ("svd(rank=12)", "engines serve 8, 16, 32, 64, 128"),
        ("ties(density=1.5,rank=8)", "density is 1.5"),
        ("ties(density=nan,rank=8)", "density is nan"),
        ("dare(density=0.5,rank=8)", "lacks seed"),
        ("dare(density=0.5,rank=8,seed=x)", "seed is 'x', not a number"),
        ("svd(rank=16) + ties", "is no way to merge"),
    ],
)
def test_what_is_no_method_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        canonical(text)


NUMBER = st.one_of(
    st.integers(-2, 140).map(str), st.floats(-1, 2).map(repr), st.sampled_from(["", "x", "nan", "1_6"])
)
PAIR = st.tuples(st.sampled_from(["rank", "density", "seed", "k", ""]), st.sampled_from(["=", " = ", ""]), NUMBER)
LIST = st.lists(PAIR.map("".join), max_size=4).map(",".join)
NAMES = st.sampled_from(["exact", "svd", "ties", "dare", "linear", "Exact", ""])


@given(st.tuples(NAMES, LIST).map(lambda parts: f"{parts[0]}({parts[1]})"))
def test_it_judges_as_the_composer_does(text: str) -> None:
    agree(text)


@given(
    st.sampled_from(["svd", "ties", "dare"]),
    st.permutations(["rank", "density", "seed"]),
    st.sampled_from([*map(str, RANKS), "12"]),
    st.floats(0, 1).map(repr),
    st.integers(-9, 9),
)
def test_it_judges_as_the_composer_does_of_what_is_nearly_right(
    name: str, order: list[str], rank: str, density: str, seed: int
) -> None:
    values = {"rank": rank, "density": density, "seed": str(seed)}
    keys = {"svd": {"rank"}, "ties": {"rank", "density"}, "dare": {"rank", "density", "seed"}}[name]
    agree(f"{name}({', '.join(f'{key}={values[key]}' for key in order if key in keys)})")


def agree(text: str) -> None:
    try:
        composers = str(Method.parse(text))
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            canonical(text)
        return
    assert canonical(text) == composers


def test_both_know_the_same_ranks() -> None:
    assert RANKS == COMPOSED_RANKS


@pytest.mark.parametrize("text", ["exact", "svd(rank=16)", "ties(density=0.5,rank=32)", " dare(rank=8, seed=0) "])
def test_editors_let_it_pass(text: str) -> None:
    assert re.search(PATTERN, text)
    assert not re.search(PATTERN, "linear")
