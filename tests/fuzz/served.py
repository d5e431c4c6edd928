"""The real application behind a real uvicorn, as a process of its own: what leaks there is no test's.

Run as `python -m tests.fuzz.served FOLDER PARSER`; prints its port, ends when its input ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from router.outcomes.file import FileOutcomes
from tests.stage import staged
from tests.stubs import KEYS, TENANTS

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def served(folder: Path, parser: str) -> Iterator[tuple[int, psutil.Process, Path]]:
    """Run the server; it must end cleanly, with every engine free, and must never have logged a traceback."""
    log = folder / "log"
    with log.open("wb") as sink:
        command = [sys.executable, "-m", "tests.fuzz.served", str(folder), parser]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline()
            assert port, log.read_text()
            yield int(port), psutil.Process(process.pid), log
            process.stdin.close()
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()


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
