"""`agoge ask` and `agoge chat` as processes that talk to a server of the tests."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass

from tests.conftest import ROOT


@dataclass(frozen=True)
class Done:
    """How a process ended."""

    code: int
    out: str
    err: str


async def start(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    """Start a command of ours with pipes on all sides, and no AGOGE_ variable but those given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AGOGE_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "router.cli", *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=inherited | environment,
    )


async def ended(process: asyncio.subprocess.Process, typed: str = "") -> Done:
    """Type what is left to type, close the input, and wait for the end."""
    out, err = await asyncio.wait_for(process.communicate(typed.encode()), 60)
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return Done(process.returncode, out.decode(), err.decode())


async def run(*arguments: str, typed: str = "", **environment: str) -> Done:
    """Run a command of ours to its end."""
    return await ended(await start(*arguments, **environment), typed)
