"""A process that keeps outcomes in a file without end, and says each one's id once it is kept."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from router.core.outcome import Outcome
from router.outcomes.file import FileOutcomes


async def write(path: Path, name: str, count: int) -> None:
    """Keep outcomes `NAME-0`, `NAME-1` ... in `path`; `count` 0 never ends."""
    store = FileOutcomes(path)
    number = 0
    while number < count or not count:
        id = f"{name}-{number}"
        await store.add(Outcome(id, "wrong", None, "default", 1.0, text="x" * (1 + 997 * number % 9000)))
        print(id, flush=True)
        number += 1


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
