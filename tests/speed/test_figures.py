"""Percentiles and spreads, worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.speed.figures import latencies, load, over, percentile, rounded, save, shown


@pytest.mark.parametrize(
    ("share", "expected"),
    # the nearest-rank table of five ordered values, as in textbooks: 5th 15, 30th 20, 40th 20, 50th 35, 100th 50
    [(0.05, 15), (0.3, 20), (0.4, 20), (0.5, 35), (1.0, 50), (0.0, 15)],
)
def test_a_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([50, 15, 40, 20, 35], share) == expected


def test_of_no_samples_there_is_no_percentile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.5)


def test_a_busy_round_does_not_move_the_median_of_rounds() -> None:
    found = latencies([[0.001, 0.001, 0.001], [0.002, 0.002, 0.002], [0.9, 0.9, 0.9]])
    assert found["p50"] == {"median": 2.0, "least": 1.0, "most": 900.0, "rounds": 3}
    assert found["samples"] == 9
    assert found["p99"] == 900.0


def test_people_see_the_median_and_from_least_to_most() -> None:
    assert shown(over([3.0, 1.0, 2.5])) == "2.50 (1.00 to 3.00)"


def test_what_is_saved_is_loaded_with_five_digits(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "it.json"
    save({"a": [1.23456789, 2], "b": {"c": 123456.789}}, file)
    assert load(file) == {"a": [1.2346, 2], "b": {"c": 123460.0}}
    assert load(tmp_path / "none.json") is None
    assert [path.name for path in file.parent.iterdir()] == ["it.json"]
    assert rounded((0.1,)) == [0.1]
