"""Outcomes in one file of JSON lines, shared by the processes of one machine. Knows no decision and no HTTP.

An outcome is one `write` at the end of the file (O_APPEND), under a lock of the file, then `fsync`. A process
that dies in the middle leaves a torn last line: nobody was told that it was kept. It stays where it is, the next
outcome begins on a line of its own, and whoever reads is told and skips it.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Callable
from itertools import islice
from pathlib import Path

from router.core.outcome import Outcome
from router.outcomes.record import read_outcome, written
from router.ports import OutcomesUnavailable

PAGE = 500  # lines that are read before anybody else gets a turn

Tell = Callable[[str], None]


class FileOutcomes:
    """Keeps outcomes in `path`; its folder is made when the first one comes. `tell` hears of damaged lines.

    Only the owner may read the file: it may hold prompts.
    """

    def __init__(self, path: Path, tell: Tell | None = None) -> None:
        self.path = path
        self._tell = tell or logging.getLogger(__name__).warning

    def __repr__(self) -> str:
        return f"FileOutcomes({self.path})"

    async def add(self, outcome: Outcome) -> None:
        """Append it and wait until the disk has it. Raises OutcomesUnavailable, also when the disk is full."""
        try:
            await asyncio.to_thread(self._append, written(outcome) + b"\n")
        except OSError as error:
            raise OutcomesUnavailable(f"{self.path}: {error.strerror or error}") from error

    async def read(self) -> AsyncIterator[Outcome]:
        """Yield all, oldest first; nothing where there is no file yet. Raises OutcomesUnavailable."""
        try:
            if not await asyncio.to_thread(self.path.exists):
                return
            source = await asyncio.to_thread(self.path.open, "rb")
        except OSError as error:
            raise OutcomesUnavailable(f"{self.path}: {error.strerror or error}") from error
        number = 0
        with source:
            while True:
                try:
                    lines = await asyncio.to_thread(lambda: list(islice(source, PAGE)))
                except OSError as error:
                    raise OutcomesUnavailable(f"{self.path}: {error.strerror or error}") from error
                if not lines:
                    return
                for line in lines:
                    number += 1
                    if (outcome := self._read(line, number)) is not None:
                        yield outcome

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _read(self, line: bytes, number: int) -> Outcome | None:
        try:
            return read_outcome(line)
        except ValueError as error:
            torn = "" if line.endswith(b"\n") else "; the last line, torn by a crash or still being written"
            self._tell(f"{self.path}:{number}: skipped: {error}{torn}")
            return None

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # until the file is closed, however this ends
            end = os.fstat(handle).st_size
            if end and os.pread(handle, 1, end - 1) != b"\n":
                self._tell(f"{self.path}: its last line is torn; it stays, and the next one begins behind it")
                line = b"\n" + line
            count = os.write(handle, line)
            if count < len(line):
                os.ftruncate(handle, end)  # nobody else writes meanwhile
                raise OSError(None, f"only {count} of {len(line)} bytes could be written")
            os.fsync(handle)
            if new:
                _sync_folder(self.path.parent)
        finally:
            os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file last as long as its content."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
