"""`agoge blends canary` against a TGI that really computes: its table, its JSON, its exit codes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.cli.blends_canary import command
from router.core.blend import Blend
from router.core.reachable import reachable
from router.policy_file import load_policies
from tests.backends.tiny_engine import TinyEngine
from tests.backends.tiny_tgi import TinyTgi
from tests.canary.cast import Cast, write_cast

POLICY = """\
version: 1
base: some/base
adapters:
  core:     { from: ./core,     when: always }
  physics:  { from: ./physics,  when: { label: physics, at_least: 0.5 }, weight: 0.8 }
  academic: { from: ./academic, when: asked, alone: true }
compose: { at_most: 1 }
backends: [primary]
"""


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Cast:
    return write_cast(tmp_path_factory.mktemp("cast"))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY, encoding="utf-8")
    return file


def closure(policy: Path) -> tuple[Blend, ...]:
    return reachable(load_policies(policy).profiles["default", None])


@contextmanager
def listening(engine: TinyEngine) -> Iterator[str]:
    """Serve `engine` from another thread: the command brings its own event loop."""
    import asyncio

    ready, url = threading.Event(), [""]
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with TinyTgi(engine) as tgi:
            url[0] = tgi.url
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(20)
    try:
        yield url[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def run(url: str, policy: Path, *more: str) -> Result:
    names = ",".join(blend.id for blend in closure(policy))
    address = f"primary=tgi+{url}?names={names}"
    return CliRunner().invoke(command, ["--policy", str(policy), "--backend", address, *more])


def test_all_is_well(cast: Cast, policy: Path) -> None:
    with listening(TinyEngine(cast.blends)) as url:
        done = run(url, policy)
    assert done.exit_code == 0, done.output
    for heading in ("blend", "vs base", "prefill", "decode", "reference", "mixing"):
        assert heading in done.stdout
    for blend in closure(policy):
        (line,) = [line for line in done.stdout.splitlines() if blend.id in line]
        assert "not proven" in line
        assert line.rstrip().endswith("acts")
    assert "asking for 3 blends" in done.stderr


def test_a_blend_that_does_not_act_is_named_with_its_reason(cast: Cast, policy: Path) -> None:
    pair = next(blend for blend in closure(policy) if len(blend.members) > 1)
    held = {name: folder for name, folder in cast.blends.items() if name != pair.id}
    with listening(TinyEngine(held)) as url:
        done = run(url, policy, "--json")
        shown = run(url, policy)
    assert done.exit_code == shown.exit_code == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    (engine,) = told["engines"]
    reasons = {finding["blend"]: finding["reason"] for finding in engine["findings"]}
    assert "acts like the bare base model" in reasons.pop(pair.id)
    assert set(reasons.values()) == {None}
    assert f"{pair.id}: it acts like the bare base model" in shown.stdout


def test_an_engine_that_is_not_there(policy: Path) -> None:
    done = run("http://127.0.0.1:9", policy)
    assert done.exit_code == 1
    assert "does not answer" in done.stdout
    assert json.loads(run("http://127.0.0.1:9", policy, "--json").stdout)["engines"][0]["trouble"]


def test_a_blend_that_the_engine_was_not_launched_with(cast: Cast, policy: Path) -> None:
    with listening(TinyEngine(cast.blends)) as url:
        one = closure(policy)[0]
        address = f"primary=tgi+{url}?names={one.id}"
        done = CliRunner().invoke(command, ["--policy", str(policy), "--backend", address])
    assert done.exit_code == 1
    assert done.stdout.count("the engine does not hold it") == len(closure(policy)) - 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--policy", "no-such.yaml"], "no-such.yaml"),
        (["--backend", "primary=tgi+http://h?names=a&canary=often"], "write seconds"),
        (["--backend", "primary=tgi+http://h?names=a", "--blends", "nowhere"], "agoge blends build"),
    ],
)
def test_what_cannot_be_asked_says_why(policy: Path, more: list[str], says: str) -> None:
    given = more if "--policy" in more else ["--policy", str(policy), *more]
    done = CliRunner().invoke(command, given)
    assert done.exit_code == 1
    assert says in done.output
