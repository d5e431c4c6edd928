"""`agoge serve` as a process: what it refuses to start with, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest
from aiohttp import web

from bench.ports import free_port
from tests.conftest import ROOT
from tests.stubs import until

POLICY = (ROOT / "policies" / "default.yaml").read_text("utf-8").replace('["embedded:"]', "[primary]")
NAMES = "names=core,academic"
START_SECONDS = 120


@asynccontextmanager
async def engine() -> AsyncIterator[tuple[str, list[asyncio.Event]]]:
    """A TGI that says one word and then thinks for ever; yields its address and one event per freed stream."""
    freed: list[asyncio.Event] = []

    async def health(request: web.Request) -> web.Response:
        return web.Response()

    async def chat(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        choice = {"index": 0, "delta": {"role": "assistant", "content": "Endure"}, "finish_reason": None}
        chunk = {"id": "", "object": "chat.completion.chunk", "created": 1, "model": "core", "choices": [choice]}
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        freed.append(asyncio.Event())
        mine = freed[-1]
        try:
            while True:
                await asyncio.sleep(0.05)
                await response.write(b": still thinking\n\n")
        except (ConnectionError, asyncio.CancelledError):
            mine.set()
        return response

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"tgi+http://127.0.0.1:{runner.addresses[0][1]}?{NAMES}&canary=off", freed
    finally:
        await runner.cleanup()


async def agoge(
    *arguments: str, verb: str = "serve", stderr: int | IO[bytes] = asyncio.subprocess.PIPE, **environment: str
) -> asyncio.subprocess.Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AGOGE_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "router.cli", verb, *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env=inherited | environment,
    )


async def refused(*arguments: str, **environment: str) -> str:
    """Return what it says before it ends with 1."""
    process = await agoge(*arguments, **environment)
    out, error = await asyncio.wait_for(process.communicate(), START_SECONDS)
    assert process.returncode == 1, error.decode()
    assert b"Traceback" not in out + error, error.decode()
    return error.decode()


async def test_a_taken_port_is_said_before_anything_is_loaded() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for verb in ("serve", "demo"):
            process = await agoge("--port", str(port), verb=verb)
            out, error = await asyncio.wait_for(process.communicate(), START_SECONDS)
            assert process.returncode == 1
            assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in error.decode()
            assert b"classifier" not in error
            assert b"Traceback" not in out + error


async def test_an_address_that_is_not_ours_is_not_blamed_on_the_port() -> None:
    said = await refused("--host", "192.0.2.1", "--port", "0")  # TEST-NET-1, RFC 5737: nobody's own address
    assert "cannot listen on 192.0.2.1:0" in said
    assert "--host 127.0.0.1" in said
    assert "PORT" not in said


async def test_every_problem_of_a_bad_policy_is_printed(tmp_path: Path, data: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        POLICY.replace("when: always", "when: sometimes").replace("label: sport", "label: sports"), "utf-8"
    )
    said = await refused(
        "--policy", str(file), "--data", str(data), "--port", "0", "--backend", "primary=litellm:x/y"
    )
    assert f"{file}:" in said
    assert "adapters.core.when" in said
    assert "classifier ..." not in said  # it need not be trained to know this
    file.write_text(POLICY.replace("label: sport,", "label: sports,"), "utf-8")
    said = await refused(
        "--policy", str(file), "--data", str(data), "--port", "0", "--backend", "primary=litellm:x/y"
    )
    assert "sports" in said
    file.write_text(POLICY, "utf-8")
    said = await refused("--policy", str(file), "--data", str(data), "--port", "0")
    assert "\nagoge: backends: 'primary' has no address" in said  # on a line of its own, behind the progress
    assert "--backend primary=ADDRESS" in said


@pytest.mark.parametrize(
    ("cache", "environment", "says"),
    [
        ("redis://h:6379/0", {}, "set AGOGE_CACHE_SECRET"),
        ("redis://h:6379/0", {"AGOGE_CACHE_SECRET": "short"}, "shorter than 16 bytes"),
        ("nonsense:", {}, "--cache: "),
        ("redis://h:port/0", {"AGOGE_CACHE_SECRET": "0123456789abcdef"}, "--cache: "),
    ],
)
async def test_a_wrong_cache_is_refused_before_anything_is_loaded(
    cache: str, environment: dict[str, str], says: str
) -> None:
    said = await refused("--port", "0", "--cache", cache, **environment)
    assert says in said
    assert "hunter2" not in said
    assert "classifier ..." not in said


async def test_missing_weights_say_how_to_get_them(tmp_path: Path, data: Path) -> None:
    said = await refused("--port", "0", "--data", str(data), "--backend", "embedded:=embedded:/no/such.gguf")
    assert "there is no file /no/such.gguf; embedded: takes the path of a GGUF" in said


async def test_an_unknown_profile_in_the_keys_file_is_refused(tmp_path: Path, data: Path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text("keys:\n  sk-very-secret: { tenant: nobody }\n", "utf-8")
    said = await refused(
        *("--port", "0", "--data", str(data), "--keys", str(keys), "--backend", "embedded:=litellm:openai/x")
    )
    assert "nobody" in said
    assert "sk-very-secret" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly_even_with_an_open_stream(
    tmp_path: Path, data: Path, number: signal.Signals
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY, "utf-8")
    port = free_port()
    async with engine() as (address, freed), httpx.AsyncClient(timeout=60) as client:
        process = await agoge(
            *("--policy", str(file), "--data", str(data), "--port", str(port), "--backend", f"primary={address}"),
            *("--grace", "0.5"),
        )
        try:
            url = f"http://127.0.0.1:{port}"
            await _listening(process, client, url)
            body = {"messages": [{"role": "user", "content": "marker hello"}], "model": "core", "stream": True}
            async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
                assert answer.status_code == 200
                await until(lambda: len(freed) == 1)
                process.send_signal(number)
                out, error = await asyncio.wait_for(process.communicate(), 30)
            assert process.returncode == 0, error.decode()
            await asyncio.wait_for(freed[0].wait(), 20)
            assert b"Traceback" not in out + error
            assert b"marker" not in out + error
            lines = [line for line in error.decode().splitlines() if line.startswith("{")]
            facts = [json.loads(line).get("fact") for line in lines]
            assert "Decided" in facts
            assert "Abandoned" in facts
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


async def _listening(process: asyncio.subprocess.Process, client: httpx.AsyncClient, url: str) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            assert process.returncode is None, (await process.communicate())[1].decode()
            with contextlib.suppress(httpx.TransportError):
                await client.get(f"{url}/healthz")
                return
            await asyncio.sleep(0.1)
