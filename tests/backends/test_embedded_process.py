"""llama.cpp as a guest in the process: signals, output, ports, and how soon it lets go of its thread."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from router.backends.embedded import EmbeddedBackend
from router.backends.timeouts import Timeouts
from router.core.blend import Blend
from router.core.conversation import Message
from router.core.reply import Delta, Prompt
from tests.backends.tiny_llama import random_lora, write_base

BLEND = Blend.of("base", {"core": 1.0}, {"core": "./core"})
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The base model and one adapter."""
    folder = tmp_path_factory.mktemp("tiny")
    return write_base(folder / "base.gguf"), random_lora(1, 4, 8.0, ["attn_q"]).write(folder / "core.gguf")


def backend_of(files: tuple[Path, Path], **options: Any) -> EmbeddedBackend:
    base, core = files
    timeouts = Timeouts(first_token=200, between_tokens=200)
    return EmbeddedBackend("embedded", base, {"core": core}, timeouts=timeouts, **options)


def prompt(text: str, **parameters: Any) -> Prompt:
    return Prompt(BLEND, (Message("user", text),), {"temperature": 0, **parameters})


QUIET = """
import asyncio, os, signal, sys
from pathlib import Path
from router.backends.embedded import EmbeddedBackend
from router.core.blend import Blend
from router.core.conversation import Message
from router.core.errors import BackendRefused
from router.core.reply import Prompt

async def main():
    backend = EmbeddedBackend("embedded", Path(sys.argv[1]), {"core": Path(sys.argv[2])})
    await backend.start()
    blend = Blend.of("base", {"core": 1.0}, {"core": "."})
    events = [e async for e in backend.stream(Prompt(blend, (Message("user", "hi"),), {"max_tokens": 3}))]
    assert len(events) > 2, events
    listening = {line.split()[9] for name in ("tcp", "tcp6") if os.path.exists(f"/proc/self/net/{name}")
                 for line in open(f"/proc/self/net/{name}") if line.split()[3] == "0A"}
    links = [Path("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
    ours = {os.readlink(link) for link in links if link.is_symlink()}
    assert not ours & {f"socket:[{inode}]" for inode in listening}, "a TCP port is open"
    assert "xllamacpp" in sys.modules
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(43))
    if sys.argv[3] == "close":
        await backend.aclose()
        sys.exit(44)
    os.kill(os.getpid(), getattr(signal, sys.argv[3]))
    await asyncio.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(42)
"""


@pytest.mark.parametrize(("last", "code"), [("close", 44), ("SIGINT", 42), ("SIGTERM", 43)])
def test_it_is_quiet_opens_no_port_and_leaves_the_signals_alone(
    files: tuple[Path, Path], last: str, code: int
) -> None:
    """Ctrl-C must reach Python: llama.cpp's own server program takes the signals over."""
    command = [sys.executable, "-c", QUIET, str(files[0]), str(files[1]), last]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


async def test_its_http_server_can_be_reached_by_nobody(files: tuple[Path, Path]) -> None:
    backend = backend_of(files)
    await backend.start()
    engine, _ = backend._running()
    address = engine.listening_address.removeprefix("unix://")
    folder = Path(address).parent
    assert folder.stat().st_mode & 0o777 == 0o700, "only this user can even connect"
    body = b'{"messages": [{"role": "user", "content": "hi"}]}'
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(address)
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 401 ")
    await backend.aclose()
    assert not folder.exists()


class Watched:
    """The real engine, with its chunks counted on their way."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.chunks = 0

    def handle_chat_completions(self, request: Mapping[str, Any], callback: Callable[[Any], bool]) -> None:
        def count(chunk: Any) -> bool:
            self.chunks += 1
            return callback(chunk)

        self.engine.handle_chat_completions(request, count)


async def test_a_reader_who_leaves_frees_the_engine_at_once(files: tuple[Path, Path]) -> None:
    """One slot: the next request is answered only after the first has let go of it."""
    backend = backend_of(files, parallel=1, context=8192)
    await backend.start()
    backend._engine = watched = Watched(backend._engine)
    stream = backend.stream(prompt("tell me everything", max_tokens=8000))
    assert isinstance(await anext(stream), Delta)
    await stream.aclose()
    events = [event async for event in backend.stream(prompt("hi", max_tokens=1))]
    assert len(events) == 3
    assert watched.chunks < 4000, "8000 tokens were wanted; the engine stopped soon after its reader left"
    await backend.aclose()


async def test_a_reader_who_leaves_while_the_prompt_is_read_frees_the_engine(files: tuple[Path, Path]) -> None:
    """8000 tokens of prompt are 63 batches with one event each. Without those it could not be stopped at all."""
    backend = backend_of(files, parallel=1, context=8192)
    await backend.start()
    backend._engine = watched = Watched(backend._engine)
    reading = asyncio.create_task(anext(backend.stream(prompt("x" * 8000, max_tokens=1))))
    async with asyncio.timeout(200):
        while watched.chunks < 2:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.001)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    left_after = watched.chunks
    events = [event async for event in backend.stream(prompt("hi", max_tokens=1))]
    assert len(events) == 3
    assert watched.chunks - left_after < 50, "it went on through the rest of the prompt"
    await backend.aclose()


async def test_the_event_loop_runs_while_the_engine_computes(files: tuple[Path, Path]) -> None:
    """An answer of 600 tokens, and a task that needs a thousand turns of the loop meanwhile."""
    backend = backend_of(files, context=8192)
    await backend.start()
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    turning = asyncio.create_task(turn())
    events = [event async for event in backend.stream(prompt("hi", max_tokens=600))]
    turning.cancel()
    assert len(events) > 500
    assert turns > 1000
    await backend.aclose()
