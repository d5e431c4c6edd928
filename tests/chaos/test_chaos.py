"""Every fault of `make chaos`, shortly, on one installation of real processes: no promise may break."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bench.chaos import process_faults
from bench.chaos.__main__ import FAULTS
from bench.chaos.run import Finding, run
from bench.chaos.stage import Stage, staged

SECONDS = 0.5  # before each fault, and in it where it needs no more
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(data: Path) -> AsyncIterator[Stage]:
    async with staged(data) as made:
        yield made


def _sound(finding: Finding) -> None:
    assert finding.violations == []
    assert sum(finding.requests.values()) > 0
    assert finding.recovery is not None


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_breaks_no_promise(stage: Stage, name: str) -> None:
    _sound(await run(stage, FAULTS[name], SECONDS))


@pytest.mark.parametrize("name", process_faults.FAULTS)
async def test_ending_the_router_breaks_no_promise(stage: Stage, name: str) -> None:
    _sound(await process_faults.FAULTS[name](stage, SECONDS))
