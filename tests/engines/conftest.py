"""One real vLLM behind one real Agoge, with the demo's blends composed, published and served for real.

These tests are marked `engine` and are no part of `make test`, whose run deselects the mark (see pyproject.toml):
vLLM needs an environment of 3.4 GB and a minute to start. `make test-engines` runs them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.engines.vllm_server import LIMITS, VllmServer
from tests.live import ROOT, Agoge, agoge, own_policy, serving

HERE = Path(__file__).parent
TEST_SECONDS = 1500  # the first test that needs vLLM waits for its start, and for the canary
PROVED = 900  # seconds: the canary hears every blend before it is served, and two busy cores take their time

Say = Callable[[str], None]
_FIGURES: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder, and nothing else: the hook is given every test of the run."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """End with what was measured, in words."""
    if _FIGURES:
        terminalreporter.section("on the real engine")
        for line in _FIGURES:
            terminalreporter.write_line(f"  {line}")


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Say:
    """Tell whoever waits what is going on, although the output of tests is captured."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def tell(what: str) -> None:
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            print(f"\n  {time.strftime('%H:%M:%S')} {what}", end="", flush=True)

    return tell


@pytest.fixture(scope="session")
def figure() -> Say:
    """Note a measured fact for the end of the run."""
    return _FIGURES.append


@pytest.fixture(scope="session")
def base(say: Say) -> Path:
    """The carried base as a transformers folder in float32, which both vLLM and peft read. Kept between runs."""
    from blends.base import locate_base
    from blends.runtime import save_base

    gguf = locate_base()
    folder = ROOT / ".agoge" / "engines" / f"base-{hashlib.sha256(gguf.read_bytes()).hexdigest()[:12]}"
    if not (folder / "whole").exists():
        say("turning the carried base into a folder that vLLM reads (a minute, once)")
        save_base(folder / "model", gguf, "float32")
        (folder / "whole").touch()
    return folder / "model"


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped policy, on a backend named engine instead of the embedded one."""
    return own_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="session")
def built(policy: Path, base: Path, say: Say, tmp_path_factory: pytest.TempPathFactory, figure: Say) -> Path:
    """Every blend that the policy can reach, built as a person builds it, and what peft says for each."""
    out = tmp_path_factory.mktemp("built") / "blends"
    say("agoge blends build, agoge blends reference")
    done = agoge("blends", "build", str(policy), "--out", str(out))
    assert done.returncode == 0, done.stderr
    spoken = agoge("blends", "reference", "--blends", str(out), "--base", str(base))
    assert spoken.returncode == 0, spoken.stderr
    figure(done.stdout.strip().partition(" Next:")[0])
    return out


@pytest.fixture(scope="session")
def launch(built: Path) -> dict[str, Any]:
    """How vLLM is launched with them, as `agoge blends publish` says it."""
    done = agoge("blends", "publish", "--engine", "vllm", "--blends", str(built), "--format", "json")
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.fixture(scope="session")
def vllm(
    launch: dict[str, Any], base: Path, say: Say, figure: Say, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmServer]:
    """The engine, launched as `publish` says."""
    log = tmp_path_factory.mktemp("vllm") / "log"
    server = VllmServer(launch["command"], launch["environment"], base, log)
    try:
        say(f"vLLM starts on {server.url}: a minute or two; its log is {server.log}")
        seconds = server.start()
        say(f"vLLM is ready after {seconds:.0f} s")
        figure(f"vLLM 0.32.0 on the CPU in float32, ready after {seconds:.0f} s")
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def router(vllm: VllmServer, policy: Path, built: Path, data: Path, say: Say) -> Iterator[Agoge]:
    """Agoge in front of it, all of its blends proved."""
    say("Agoge starts, and the canary proves five blends (a few minutes)")
    at = f"engine=vllm+{vllm.url}?{LIMITS}&canary=86400"  # proved at readiness, then left alone
    with serving(policy, data, "--blends", str(built), "--backend", at) as live:
        live.until("the first proof", PROVED)
        yield live
