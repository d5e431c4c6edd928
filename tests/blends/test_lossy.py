"""The lossy merges against what their papers say, from full matrices; and how a policy names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blends.adapter import read_adapter
from blends.compose import Composite, Member, compose
from blends.lossy import dare, ties
from blends.method import Method
from tests.blends.test_compose import BASE, write


@pytest.fixture
def members(tmp_path: Path) -> list[Member]:
    for name, seed in (("a", 1), ("b", 2)):
        write(tmp_path / name, seed, 8, 8, ["q_proj", "up_proj"])
    return [Member(read_adapter(tmp_path / "a"), 1.0), Member(read_adapter(tmp_path / "b"), 0.5)]


def merged(members: list[Member], text: str, out: Path) -> Composite:
    return compose(members, BASE, out, Method.parse(text))


def updates(folder: Path, weight: float = 1.0) -> list[np.ndarray]:
    return [
        weight * factors.scale * (factors.b.astype(np.float64) @ factors.a.astype(np.float64))
        for factors in read_adapter(folder).factors
    ]


def test_svd_is_the_best_of_its_rank_and_says_what_it_lost(members: list[Member], tmp_path: Path) -> None:
    made = merged(members, "svd(rank=8)", tmp_path / "out")
    lost = whole = 0.0
    sums = [a + b for a, b in zip(updates(tmp_path / "a"), updates(tmp_path / "b", 0.5), strict=True)]
    for total, found in zip(sums, updates(tmp_path / "out"), strict=True):
        values = np.linalg.svd(total, compute_uv=False)
        assert np.linalg.norm(found - total) == pytest.approx(np.sqrt((values[8:] ** 2).sum()), rel=1e-4)
        lost += float((values[8:] ** 2).sum())
        whole += float((values**2).sum())
    assert made.bucket == 8
    assert made.error == pytest.approx(
        (lost / whole) ** 0.5, rel=0.25
    )  # four random probes per module estimate it
    assert merged(members, "svd(rank=16)", tmp_path / "all").error < 1e-6  # the sum has rank 16


def test_ties_by_hand() -> None:
    one = np.array([[5.0, -1.0, 0.5, 2.0]], np.float32)
    two = np.array([[-3.0, -2.0, 4.0, 0.1]], np.float32)
    # the larger half of each: [5, 0, 0, 2] and [-3, 0, 4, 0]; signs of the sum: + 0 + +; what agrees is added
    np.testing.assert_array_equal(ties([one, two], 0.5), [[5.0, 0.0, 4.0, 2.0]])
    np.testing.assert_array_equal(ties([one], 1.0), one)


def test_dare_keeps_the_mean_and_the_share() -> None:
    update = np.full((200, 200), 2.0, np.float32)
    found = dare([update], 0.25, [7])
    assert set(np.unique(found)) == {0.0, 8.0}
    assert found.mean() == pytest.approx(2.0, rel=0.05)
    np.testing.assert_array_equal(found, dare([update], 0.25, [7]))
    assert not np.array_equal(found, dare([update], 0.25, [8]))


@pytest.mark.parametrize("text", ["ties(density=0.5,rank=16)", "dare(density=0.5,rank=16,seed=3)"])
def test_ties_and_dare_are_written_with_their_measured_error(
    members: list[Member], tmp_path: Path, text: str
) -> None:
    made = merged(members, text, tmp_path / "out")
    assert made.bucket == 16
    sums = [a + b for a, b in zip(updates(tmp_path / "a"), updates(tmp_path / "b", 0.5), strict=True)]
    pairs = list(zip(updates(tmp_path / "out"), sums, strict=True))
    off = sum(float(np.square(found - total).sum()) for found, total in pairs)
    assert made.error == pytest.approx(
        (off / sum(float(np.square(total).sum()) for total in sums)) ** 0.5, rel=0.25
    )
    assert made.error > 0.1  # it is lossy, and says so
    assert made == merged(members, text, tmp_path / "again")


def test_one_member_is_never_approximated(members: list[Member], tmp_path: Path) -> None:
    assert merged(members[:1], "dare(density=0.1,rank=8,seed=0)", tmp_path / "out").error < 1e-6


@pytest.mark.parametrize(
    "text", ["exact", "svd(rank=16)", "ties(density=0.5,rank=32)", "dare(density=0.5,rank=32,seed=0)"]
)
def test_methods_read_back_as_they_are_written(text: str) -> None:
    assert str(Method.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("linear", "no way to merge"),
        ("exact(rank=8)", "does not belong"),
        ("svd", "lacks rank"),
        ("svd(rank=12)", "engines serve 8, 16"),
        ("svd(rank=x)", "with numbers"),
        ("ties(density=0,rank=8)", "above 0"),
        ("ties(density=nan,rank=8)", "above 0"),
        ("dare(density=0.5,rank=8)", "lacks seed"),
        ("svd(rank=8,rank=16)", "does not belong"),
        ("svd(rank=8", "no way to merge"),
    ],
)
def test_methods_that_make_no_sense_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Method.parse(text)
