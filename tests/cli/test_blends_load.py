"""`agoge blends publish --load`: new names in, old names out, in this order; against both engines' own routes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from blends.manifest import read_manifest
from router.cli.main import command
from tests.blends.small import write_adapter

POLICY = """\
version: 1
base: some/base
adapters:
  core:    { from: ./core,    when: always }
  physics: { from: ./physics, when: { label: physics, at_least: 0.5 }, weight: 0.8 }
compose: { at_most: 1 }
backends: [primary]
"""
OLD = "core+sport-0123456789ab"


@dataclass
class Engine:
    """An engine that loads adapters at run time; `refuses` are names that it cannot load."""

    holds: dict[str, str] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    key: str = ""
    done: list[str] = field(default_factory=list)
    url: str = ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        for prefix in ("", "/v1"):  # SGLang's, vLLM's
            app.router.add_post(f"{prefix}/load_lora_adapter", self._load)
            app.router.add_post(f"{prefix}/unload_lora_adapter", self._unload)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "Unauthorized"}}, status=401)
        cards = [{"id": "some/base", "root": "some/base", "parent": None}]
        cards += [{"id": name, "root": path, "parent": "some/base"} for name, path in self.holds.items()]
        return web.json_response({"object": "list", "data": cards})

    async def _chat(self, request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "The model does not exist", "code": 404}}, status=404)

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, path = body["lora_name"], body["lora_path"]
        if name in self.refuses:
            wrong = {"error": {"message": f"cannot load {name}"}, "error_message": f"cannot load {name}"}
            return web.json_response(wrong, status=400)
        self.holds[name] = path
        self.done.append(f"+{name}")
        return web.json_response({"success": True})

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        del self.holds[name]
        self.done.append(f"-{name}")
        return web.json_response({"success": True})


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Serve an engine from a thread: the command runs an event loop of its own."""
    engine = Engine()
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(engine.app())

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        engine.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield engine
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def built(tmp_path: Path) -> Path:
    for seed, name in enumerate(("core", "physics")):
        write_adapter(tmp_path / name, 4, seed)
    (tmp_path / "policy.yaml").write_text(POLICY)
    result = CliRunner().invoke(
        command,
        ["blends", "build", str(tmp_path / "policy.yaml"), "--out", str(tmp_path / "built"), "--jobs", "1"],
    )
    assert result.exit_code == 0, result.output
    return tmp_path / "built"


def load(kind: str, engine: Engine, built: Path, *more: str) -> Result:
    args = ["blends", "publish", "--engine", kind, "--blends", str(built), "--load", engine.url, *more]
    return CliRunner().invoke(command, args)


KINDS = pytest.mark.parametrize("kind", ["vllm", "sglang"])


@KINDS
def test_what_is_missing_is_loaded_from_where_the_engine_sees_it(kind: str, engine: Engine, built: Path) -> None:
    served = set(read_manifest(built).published.values())
    there = next(iter(served))
    engine.holds = {there: f"/b/{there}", OLD: "/b/old"}
    result = load(kind, engine, built, "--root", "/b")
    assert result.exit_code == 0, result.output
    assert result.stdout == "1 blend loaded, 1 were there, 0 unloaded; 0 failures\n"
    assert engine.holds == {name: f"/b/{name}" for name in served} | {OLD: "/b/old"}
    again = load(kind, engine, built, "--root", "/b")
    assert again.stdout == "0 blends loaded, 2 were there, 0 unloaded; 0 failures\n"


@KINDS
def test_old_blends_go_on_request_after_the_new_ones_came_and_strangers_stay(
    kind: str, engine: Engine, built: Path
) -> None:
    engine.holds = {OLD: "/b/old", "somebody": "/c", "a-retrieval-lora": "/d"}
    result = load(kind, engine, built, "--unload")
    assert result.exit_code == 0, result.output
    assert result.stdout == "2 blends loaded, 0 were there, 1 unloaded; 0 failures\n"
    assert engine.done[-1] == f"-{OLD}"
    assert {"somebody", "a-retrieval-lora"} < engine.holds.keys()
    assert all(Path(engine.holds[name]).is_dir() for name in read_manifest(built).published.values())


@KINDS
def test_nothing_old_goes_while_something_new_is_missing(kind: str, engine: Engine, built: Path) -> None:
    wanted = sorted(read_manifest(built).published.values())
    engine.holds, engine.refuses = {OLD: "/b/old"}, {wanted[0]}
    result = load(kind, engine, built, "--unload")
    assert result.exit_code == 1
    assert wanted[0] in result.stderr
    assert result.stdout == "1 blend loaded, 0 were there, 0 unloaded; 1 failure\n"
    assert OLD in engine.holds


@KINDS
def test_the_key_comes_from_the_environment(
    kind: str, engine: Engine, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.key = "secret"
    assert load(kind, engine, built).exit_code == 1
    assert load(kind, engine, built, "--api-key-env", "ENGINE_KEY").exit_code == 2
    monkeypatch.setenv("ENGINE_KEY", "secret")
    result = load(kind, engine, built, "--api-key-env", "ENGINE_KEY")
    assert result.exit_code == 0, result.output
    assert "secret" not in result.output


@KINDS
def test_an_engine_that_is_not_there(kind: str, engine: Engine, built: Path) -> None:
    engine.url = "http://127.0.0.1:9"
    result = load(kind, engine, built)
    assert result.exit_code == 1
    assert "127.0.0.1:9" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["--engine", "tgi", "--load", "http://h"],
        ["--engine", "llamacpp", "--load", "http://h"],
        ["--engine", "vllm", "--unload"],
        ["--engine", "vllm", "--api-key-env", "X"],
        ["--engine", "vllm", "--load", "h:1"],
    ],
)
def test_wrong_usage(built: Path, args: list[str]) -> None:
    assert CliRunner().invoke(command, ["blends", "publish", "--blends", str(built), *args]).exit_code == 2
