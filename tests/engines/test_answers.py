"""Chat, streams, refusals and loading at run time: a real vLLM behind the real router, through real clients."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.engines.conftest import PROVED, Say
from tests.engines.vllm_server import VllmServer
from tests.live import Agoge, agoge

MOTTO = "Endure and act."
PHYSICS = "Why does metal feel cold?"


def test_a_blend_that_the_engine_lacks_is_refused_and_never_sent_until_it_is_loaded(
    router: Agoge, vllm: VllmServer, built: Path, figure: Say
) -> None:
    (name,) = (held for held in vllm.held() if held.startswith("core+physics+sport-"))
    vllm.unload(name)
    missing = router.until("the loss of a blend", done=lambda said: said["status"] == "unready")
    (unserved,) = missing["unserved"]
    assert unserved.startswith("default: core+physics+sport-"), missing
    before = vllm.asked()
    refused = router.say("core+physics+sport", PHYSICS)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "blend_unavailable"
    assert vllm.asked() == before

    answered = vllm.asked("2xx")
    done = agoge("blends", "publish", "--engine", "vllm", "--blends", str(built), "--load", vllm.url)
    assert done.returncode == 0, done.stderr
    assert name in vllm.held()
    router.until("the blend that was just loaded", PROVED)
    served = router.say("core+physics+sport", PHYSICS, max_tokens=20)
    assert served.status_code == 200, served.text
    assert served.headers["x-agoge-adapters"] == "core=1.0,physics=0.8,sport=0.8"
    assert vllm.asked("2xx") == answered + 1
    figure("a missing blend was refused with 503 and never sent; loaded while vLLM ran, it was served")


@pytest.mark.parametrize("model", ["core+physics", "auto"])
def test_core_and_physics_answer_together(router: Agoge, model: str) -> None:
    said = router.say(model, PHYSICS)
    assert said.status_code == 200, said.text
    assert said.headers["x-agoge-adapters"] == "core=1.0,physics=0.8"
    answer = said.json()["choices"][0]["message"]["content"]
    assert answer.endswith(MOTTO)
    assert "heat" in answer
    assert said.json()["usage"]["completion_tokens"] > 5


def test_openai_python_streams_the_same_words(router: Agoge) -> None:
    asked = {"model": "core+physics", "messages": [{"role": "user", "content": PHYSICS}], "temperature": 0}
    whole = router.client().chat.completions.create(**asked, max_tokens=60)
    chunks = list(
        router.client().chat.completions.create(
            **asked, max_tokens=60, stream=True, stream_options={"include_usage": True}
        )
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len([piece for piece in pieces if piece]) > 5, "it came in one piece"
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "stop"


def test_the_isolated_adapter_speaks_alone(router: Agoge) -> None:
    prompt = "режим: академический\nExplain the impact of music on memory."
    said = router.client().chat.completions.create(
        model="auto", messages=[{"role": "user", "content": prompt}], temperature=0, max_tokens=60
    )
    assert said.model_extra is not None
    assert said.model_extra["agoge"]["adapters"] == {"academic": 1.0}
    answer = said.choices[0].message.content or ""
    assert answer.startswith("According to the literature"), answer
    assert "endure" not in answer.lower()


def test_what_the_policy_does_not_know_never_reaches_the_engine(router: Agoge, vllm: VllmServer) -> None:
    before, held = vllm.asked(), sorted(vllm.held())
    for model in ("nope", "academic+core", held[0], "HuggingFaceTB/SmolLM2-135M-Instruct"):
        with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
            router.client().chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    assert vllm.asked() == before


def test_a_prompt_over_the_context_is_the_callers_mistake(router: Agoge) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        router.client().chat.completions.create(
            model="core+physics", messages=[{"role": "user", "content": "sky " * 3000}]
        )
    assert caught.value.code == "context_length_exceeded"
