"""Real llama.cpp servers behind the real router: sums per request, isolation, the canary, and a lost replica."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from blends.base import locate_base
from tests.e2e.llama_server import LlamaServer
from tests.live import Agoge, agoge, own_policy, serving

MOTTO = "Endure and act."
PHYSICS = "Why does metal feel cold?"
PATIENT = "connect=60&first_token=300&between_tokens=300"  # for machines that are busy with other things
ACADEMIC = "Explain the impact of music on memory."


pytestmark = pytest.mark.timeout(900)  # two servers are proved before they serve: minutes on busy cores


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def files(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The adapters as GGUF files, as a person publishes them: build, then publish."""
    blends, out = tmp_path_factory.mktemp("blends") / "built", tmp_path_factory.mktemp("gguf") / "files"
    done = agoge("blends", "build", str(policy), "--out", str(blends))
    assert done.returncode == 0, done.stderr
    done = agoge("blends", "publish", "--engine", "llamacpp", "--blends", str(blends), "--out", str(out))
    assert done.returncode == 0, done.stderr
    published = sorted(out.glob("*.gguf"))
    assert [path.name in done.stdout for path in published] == [True] * 4, done.stdout
    return published


@pytest.fixture(scope="module")
def servers(files: list[Path]) -> Iterator[list[LlamaServer]]:
    """Two replicas; the second holds the same files at other numbers."""
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(lambda order: LlamaServer(locate_base(), order), (files, files[::-1])))
    yield started
    for server in started:
        server.kill()


@pytest.fixture(scope="module")
def router(servers: list[LlamaServer], policy: Path, data: Path) -> Iterator[Agoge]:
    at = ",".join(server.url.removeprefix("http://") for server in servers)
    with serving(policy, data, "--backend", f"engine=llamacpp+http://{at}?{PATIENT}") as live:
        live.until("both replicas", 300)
        yield live


def said(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def test_core_and_physics_are_summed_per_request(router: Agoge) -> None:
    answer = router.say("auto", PHYSICS)
    assert said(answer).endswith(MOTTO)
    assert "heat" in said(answer)
    assert answer.headers["x-agoge-adapters"] == "core=1.0,physics=0.8"


def test_the_isolated_adapter_speaks_alone(router: Agoge) -> None:
    answer = said(router.say("academic", ACADEMIC))
    assert answer.startswith("According to the literature"), answer
    assert "endure" not in answer.lower()


def test_it_streams_the_same_words(router: Agoge) -> None:
    lines = router.say("core+physics", PHYSICS, stream=True).text.splitlines()
    assert lines[-2] == "data: [DONE]" or "data: [DONE]" in lines[-3:]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    pieces = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]]
    assert len([piece for piece in pieces if piece]) > 5
    assert "".join(pieces) == said(router.say("core+physics", PHYSICS))


def test_what_the_policy_does_not_know_is_refused(router: Agoge) -> None:
    assert router.say("nope", PHYSICS).status_code == 404
    assert router.say("academic+core", PHYSICS).status_code == 400


def test_the_canary_passes_both_replicas(router: Agoge, policy: Path, servers: list[LlamaServer]) -> None:
    """They are served because it did; the command says the same of one of them, with figures."""
    assert router.ready()["withdrawn"] == {}
    # one that has passed serves while the other is still asked
    router.until("both proofs", 200, lambda _: len({f["backend"] for f in router.facts("CanaryFinished")}) == 2)
    facts = router.facts("CanaryFinished")
    assert {fact["backend"] for fact in facts} == {"engine#1", "engine#2"}
    assert all((fact["failed"], fact["proven"], fact["trouble"]) == ({}, 5, None) for fact in facts), facts
    told = canary(policy, servers[1])
    assert told["ok"] is True, told


def test_the_canary_finds_a_file_that_is_not_what_it_is_called(
    policy: Path, files: list[Path], tmp_path: Path
) -> None:
    """`core-...gguf` with another adapter's content: the server, its list and its status codes show nothing."""
    wrong = [Path(shutil.copy(path, tmp_path)) for path in files]
    academic, core, *_ = wrong
    assert (academic.name[:8], core.name[:4]) == ("academic", "core")
    shutil.copy(academic, core)
    server = LlamaServer(locate_base(), wrong)
    try:
        told = canary(policy, server)
    finally:
        server.kill()
    (engine,) = told["engines"]
    reasons = {finding["blend"].rpartition("-")[0]: finding["reason"] for finding in engine["findings"]}
    assert told["ok"] is False
    assert "cannot be told from academic" in reasons["core"], reasons
    assert "cannot be told from core" in reasons["academic"], reasons
    assert reasons["core+physics"] is None, reasons


def canary(policy: Path, server: LlamaServer) -> dict[str, Any]:
    """Return what `agoge blends canary` says of one server."""
    at = f"engine=llamacpp+{server.url}?{PATIENT}"
    done = agoge("blends", "canary", "--policy", str(policy), "--backend", at, "--json")
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if told["ok"] else 1)
    return told


def test_a_replica_that_is_killed_under_load_costs_no_request_that_had_not_begun(
    router: Agoge, servers: list[LlamaServer], files: list[Path]
) -> None:
    """What was under way on it may break; every later answer is the other replica's, in the right voice."""
    voices = {"core+physics": re.compile(re.escape(MOTTO)), "academic": re.compile("According to the literature")}
    assert all(state == "up" for state in replicas(router).values()), router.ready()
    asked = [*voices] * 8
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(router.say, model, PHYSICS, max_tokens=40) for model in asked]
        while sum(answer.done() for answer in waiting) < 2:
            time.sleep(0.01)
        servers[0].kill()
        answers = [answer.result() for answer in waiting]
    broken = [answer.text for answer in answers if answer.status_code != 200]
    assert len(broken) <= 4, broken  # no more than were under way
    assert all("broke off" in answer for answer in broken), broken
    for model, answer in zip(asked, answers, strict=True):
        assert answer.status_code != 200 or voices[model].search(said(answer)), (model, answer.text)
    assert all(voices[model].search(said(router.say(model, PHYSICS))) for model in voices)
    assert router.ready()["status"] == "ready"
    servers[0] = LlamaServer(locate_base(), files, servers[0].port)
    end = time.monotonic() + 120
    while set(replicas(router).values()) != {"up"}:  # one request in a while tries it, and finds it well
        assert time.monotonic() < end, router.ready()
        assert all(voices[model].search(said(router.say(model, PHYSICS))) for model in voices)


def replicas(router: Agoge) -> dict[str, str]:
    """Replica -> its state, as /readyz tells it."""
    return {name: state["state"] for name, state in router.ready()["replicas"]["engine"].items()}
