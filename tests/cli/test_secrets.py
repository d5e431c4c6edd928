"""`agoge serve` with a secret of every kind: each is used, and none is shown, whatever is asked or goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from bench.ports import free_port
from tests.backends.fake_tgi import FakeTgi
from tests.caches.servers import Server, binaries
from tests.cli.test_serve import POLICY, START_SECONDS, agoge
from tests.stubs import until

# One word in all of them, so that one search finds any. What is no secret does not hold it.
MARK = "hunter2"
SECRETS = {
    "AGOGE_CACHE_SECRET": f"{MARK}-of-the-digests",
    "AGOGE_REDIS_PASSWORD": f"{MARK}/of@redis",
    "TGI_KEY": f"{MARK}-of-the-engine",
    "SLACK_BOT_TOKEN": f"xoxb-{MARK}",
    "SLACK_SIGNING_SECRET": f"{MARK}-of-slack",
}
CALLER = f"sk-{MARK}-of-the-caller"


@pytest.fixture
def store() -> Iterator[Server]:
    """A Valkey that wants the password."""
    with tempfile.TemporaryDirectory(prefix="agoge-") as folder:
        options = ("--requirepass", SECRETS["AGOGE_REDIS_PASSWORD"])
        made = Server(binaries()["valkey"], Path(folder), port=free_port(), options=options)
        made.start()
        yield made
        made.kill()


@pytest.mark.parametrize("in_files", [True, False], ids=["in-files", "in-variables"])
async def test_every_secret_is_used_and_none_is_shown(
    tmp_path: Path, data: Path, store: Server, in_files: bool
) -> None:
    environment = dict(SECRETS)
    if in_files:
        for name, secret in SECRETS.items():
            (tmp_path / name).write_text(f"{secret}\n", "utf-8")
        environment = {f"{name}_FILE": str(tmp_path / name) for name in SECRETS}
    (tmp_path / "policy.yaml").write_text(POLICY, "utf-8")
    (tmp_path / "keys.yaml").write_text(f"keys:\n  {CALLER}: {{ tenant: default }}\n", "utf-8")
    port = free_port()
    async with FakeTgi(names=["core"], api_key=SECRETS["TGI_KEY"]) as tgi:
        engine = f"primary=tgi+{tgi.url}?names=core&api_key_env=TGI_KEY&canary=off"
        options = ["--policy", str(tmp_path / "policy.yaml"), "--keys", str(tmp_path / "keys.yaml")]
        options += ["--cache", store.tcp_url, "--backend", engine, "--data", str(data), "--port", str(port)]
        process = await agoge(*options, AGOGE_SLACK_KEY=CALLER, **environment)
        said: list[str] = []
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                await answers(client, process)
                allowed = {"authorization": f"Bearer {CALLER}"}
                hello = {"messages": [{"role": "user", "content": "hello"}]}
                good = await client.post("/v1/chat/completions", json=hello, headers=allowed)
                assert good.status_code == 200  # the engine was given its key
                admin = redis.Redis(port=store.port, password=SECRETS["AGOGE_REDIS_PASSWORD"])
                await until(lambda: admin.dbsize() > 0)  # Redis was given its password
                admin.config_set("requirepass", "another")
                admin.client_kill_filter(_type="normal", skipme=True)  # who is let in stays in
                tgi.api_key = "another"
                said += [str(psutil.Process(process.pid).cmdline())]
                for headers in (allowed, {"authorization": f"Bearer {MARK}-unknown"}, {}):
                    said += await everything(client, headers, {**hello, "model": "core"})
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            out, log = await asyncio.wait_for(process.communicate(), START_SECONDS)
    assert process.returncode == 0, log.decode()
    assert b"CacheFailed" in log  # it did go wrong, and the log says so
    assert b"BackendAttemptFailed" in log
    for text in [*said, out.decode(), log.decode()]:
        assert MARK not in text


async def answers(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    """Wait until the server answers."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            assert process.returncode is None
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code in (200, 503):
                    return
            await asyncio.sleep(0.1)


async def everything(client: httpx.AsyncClient, headers: dict[str, str], body: dict[str, object]) -> list[str]:
    """Return all that the server says to this caller, head and body."""
    asked = [
        await client.post("/v1/chat/completions", json=body, headers=headers),
        await client.post("/v1/decisions", json={"input": "hello", "explain": True}, headers=headers),
        await client.post("/slack/events", content=b"{}", headers=headers),
    ]
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/v1/models", "/no/such/route"):
        asked.append(await client.get(path, headers=headers))
    assert {answer.status_code for answer in asked} >= {200, 404}
    return [f"{answer.status_code} {answer.headers} {answer.text}" for answer in asked]
