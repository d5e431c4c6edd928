"""docs/faults.md is what `make chaos` writes: every fault that it knows, in the words that it has for it."""

from __future__ import annotations

import pytest

from bench.chaos.__main__ import FAULTS
from bench.chaos.page import page
from bench.chaos.run import Finding
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text("utf-8")


@pytest.mark.parametrize("name", FAULTS)
def test_the_page_tells_of_every_fault(name: str) -> None:
    assert f"| {FAULTS[name].what} | {FAULTS[name].told} |" in PAGE


def test_what_was_measured_stands_in_its_row() -> None:
    found = Finding("x", "Redis", "it is gone", "Nothing.", during={"whole": 3, "left": 1}, recovery=0.25)
    found.p50_before, found.p50_during = 0.1, 0.2
    told = page([found], {"python": "3", "cores": 2, "load": 1.0}, 4.0)
    assert "| it is gone | Nothing. | 4 | 3 | 100 -> 200 ms | 0.2 s |" in told
    assert "never" in page([Finding("x", "Redis", "a", "b")], {"python": "3", "cores": 2, "load": 1.0}, 4.0)
