"""Real llama.cpp servers behind the real router: sums per request, isolation, the canary, and a lost replica."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from blends.base import locate_base
from tests.e2e.llama_server import LlamaServer
from tests.live import Agoge, agoge, own_policy, serving

MOTTO = "Endure and act."
PHYSICS = "Why does metal feel cold?"
PATIENT = "connect=60&first_token=300&between_tokens=300"  # for machines that are busy with other things
ACADEMIC = "Explain the impact of music on memory."


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
