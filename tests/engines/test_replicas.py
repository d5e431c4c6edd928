"""Two real vLLM behind one router: one of them dies under load, and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engines.conftest import Say
from tests.engines.vllm_server import LIMITS, VllmServer
from tests.live import Agoge, serving

MOTTO = "Endure and act."
ACADEMIC = "According to the literature"
PROMPTS = {
    "core+physics": ("Why does metal feel cold?", MOTTO),
    "core+sport": ("How do I do more pull-ups?", MOTTO),
    "academic": ("Explain the impact of music on memory.", ACADEMIC),
}


@pytest.fixture(scope="module")
def second(
    launch: dict[str, Any], base: Path, say: Say, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmServer]:
    server = VllmServer(launch["command"], launch["environment"], base, tmp_path_factory.mktemp("second") / "log")
    try:
        say(f"a second vLLM starts on {server.url}")
        say(f"it is ready after {server.start():.0f} s")
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def pair(vllm: VllmServer, second: VllmServer, policy: Path, built: Path, data: Path) -> Iterator[Agoge]:
    """Agoge in front of both. Its canary is off: this is about the loss, and cores are few."""
    at = ",".join(server.url.removeprefix("http://") for server in (vllm, second))
    options = ("--blends", str(built), "--backend", f"engine=vllm+http://{at}?{LIMITS}&canary=off")
    with serving(policy, data, *options) as live:
        live.until("both", 120)
        yield live


def _ask(pair: Agoge, model: str) -> httpx.Response:
    return pair.say(model, PROMPTS[model][0], max_tokens=40)


def _states(pair: Agoge) -> dict[str, str]:
    return {name: said["state"] for name, said in pair.ready()["replicas"]["engine"].items()}


def test_a_vllm_that_is_killed_under_load_costs_no_request_that_had_not_begun(
    pair: Agoge, vllm: VllmServer, second: VllmServer, say: Say, figure: Say
) -> None:
    """Nothing is promised to a caller before the first word, so whatever had no word yet goes to the other one."""
    assert set(_states(pair).values()) == {"up"}
    for model in PROMPTS:  # both have spoken, and are warm
        assert _ask(pair, model).status_code == 200
    models = [*PROMPTS] * 4
    say("twelve requests, four at a time; the second vLLM is killed under them")
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(_ask, pair, model) for model in models]
        while sum(answer.done() for answer in waiting) < 2:
            time.sleep(0.05)
        second.kill()
        answers = [answer.result() for answer in waiting]
    failed = [answer for answer in answers if answer.status_code != 200]
    for answer in failed:  # it had begun: its first words came from the engine that died
        assert "broke off" in answer.text, answer.text
    assert len(failed) <= 4, [answer.text for answer in failed]
    spoken = [(model, answer) for model, answer in zip(models, answers, strict=True) if answer.status_code == 200]
    for model, answer in spoken:
        assert PROMPTS[model][1] in answer.json()["choices"][0]["message"]["content"], answer.text
    assert all(_ask(pair, model).status_code == 200 for model in PROMPTS), "every blend is still served"
    said = pair.ready()
    assert said["status"] == "ready", said
    figure(
        f"a vLLM killed under {len(models)} requests: {len(spoken)} answered, {len(failed)} broken in the middle, "
        "none refused; every blend stayed served"
    )


def test_it_is_used_again_when_it_is_back(pair: Agoge, vllm: VllmServer, second: VllmServer, say: Say) -> None:
    say("the second vLLM starts again")
    second.start()
    until = time.monotonic() + 300
    while set(_states(pair).values()) != {"up"}:
        assert time.monotonic() < until, pair.ready()
        assert all(_ask(pair, model).status_code == 200 for model in PROMPTS)
    before = second.asked()
    for model in PROMPTS:
        for _ in range(2):
            assert _ask(pair, model).status_code == 200
    assert second.asked() + vllm.asked() > before
    assert second.asked() > before, "one of three blends prefers it, or the hashing is broken"
