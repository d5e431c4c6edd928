"""A real Valkey that writes to its disk, and what of it a test may look at."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.ports import free_port
from tests.caches.servers import Server, binaries

Start = Callable[..., Server]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers with more options, each in a folder of its own unless one is given."""
    started: list[Server] = []
    with tempfile.TemporaryDirectory(prefix="agoge-") as root:

        def one(*options: str, folder: Path | None = None) -> Server:
            place = folder or Path(root) / str(len(started))
            place.mkdir(exist_ok=True)
            server = Server(binaries()["valkey"], place, port=free_port(), options=options)
            server.start()
            started.append(server)
            return server

        yield one
        for server in started:
            server.kill()


@pytest.fixture
def server(start: Start) -> Server:
    """A server as docs/integrations.md asks for: it writes what it is told to its disk."""
    return start("--appendonly", "yes")
