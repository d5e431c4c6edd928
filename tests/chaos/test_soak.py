"""The soak of `python -m bench.soak`, for half a minute: nothing that a request held is left."""

from __future__ import annotations

from pathlib import Path

from bench.chaos.stage import staged
from bench.soak import soak


async def test_nothing_is_left_of_half_a_minute_of_trouble(data: Path) -> None:
    async with staged(data) as stage:
        found = await soak(stage, 0.5, workers=4, pause=0.1)
    assert found.violations == []
    assert found.files[1] <= found.files[0]
    assert found.tasks[1] <= found.tasks[0]
    assert {"whole", "left"} == found.requests.keys()
