"""One real server per program and test module, emptied for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from bench.ports import free_port
from tests.caches.servers import Server, binaries


@pytest.fixture(params=sorted(binaries()))
def binary(request: pytest.FixtureRequest) -> str:
    """Path of each server program on this machine in turn."""
    return binaries()[request.param]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a unix socket's may have 107 bytes, pytest's tmp_path can be longer."""
    with tempfile.TemporaryDirectory(prefix="agoge-") as path:
        yield Path(path)


@pytest.fixture
def server(binary: str, folder: Path) -> Iterator[Server]:
    """A running server on a unix socket and on TCP."""
    server = Server(binary, folder, port=free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture
def inspect(server: Server) -> Iterator[redis.Redis]:
    """A plain synchronous client, to look at the server from outside."""
    client = redis.Redis(unix_socket_path=str(server.socket))
    yield client
    client.close()
