"""The real application behind a real uvicorn, as a process of its own: what leaks there is no test's.

Run as `python -m tests.fuzz.served FOLDER PARSER`; prints its port, ends when its input ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from router.outcomes.file import FileOutcomes
from tests.stage import staged
from tests.stubs import KEYS, TENANTS


async def serve(folder: Path, parser: Any) -> None:
    """Serve stub engines with keys, tenants and roles until standard input ends."""
    outcomes = FileOutcomes(folder / "outcomes.jsonl")
    async with staged(folder, policy=TENANTS, keys=KEYS, outcomes=outcomes, parser=parser) as stage:
        for backend in stage.backends.values():
            backend.prompts = _Nothing()  # a stub that remembers every prompt would look like a leak
        stage.facts.seen = _Nothing()
        print(stage.url.rpartition(":")[2], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        assert all(backend.open_streams == 0 for backend in stage.backends.values()), "an engine is kept busy"


class _Nothing(list[Any]):
    def append(self, _: object) -> None: ...


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2]))
