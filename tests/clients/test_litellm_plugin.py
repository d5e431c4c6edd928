"""deploy/litellm in a real LiteLLM proxy: Agoge decides, and exactly the decided blend answers or nobody.

The decisions are a real Agoge's. The engine behind the proxy is a vLLM as far as the wire shows it: it records who
was asked, and its base model says that it is the base.
"""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import openai
import pytest
import yaml

from router.core.reachable import reachable
from router.policy_file import load_policies
from tests.backends.fake_engine import BASE_SPEAKS
from tests.clients.engine_thread import EngineThread
from tests.clients.proxy import Proxy, proxying
from tests.live import ROOT, Agoge

DEPLOYED = ROOT / "deploy" / "litellm"
CONFIG = yaml.safe_load((DEPLOYED / "config.yaml").read_text("utf-8"))
IDS = {
    str(blend): blend.id
    for blend in reachable(load_policies(ROOT / "policies" / "default.yaml").profile("default", None))
}
PHYSICS, ACADEMIC = "core=1.0,physics=0.8", "academic=1.0"
ASKED = [
    ("Why is the sky blue?", PHYSICS),
    ("Как подготовиться к марафону?", "core=1.0,sport=0.8"),
    ("включить режим: физика+агоге\nПочему лёд плавает?", PHYSICS),
    ("режим: академический\nExplain the impact of social media on attention.", ACADEMIC),
]


@pytest.fixture
def held(engine: EngineThread) -> EngineThread:
    """The engine, holding every blend of the policy."""
    engine.hold(*IDS.values())
    return engine


def test_the_example_names_every_blend_of_the_shipped_policy() -> None:
    named = {
        entry["model_name"]: entry["litellm_params"]["model"]
        for entry in CONFIG["model_list"]
        if entry["litellm_params"]["model"].startswith("hosted_vllm/")
    }
    assert named == {blend: f"hosted_vllm/{blend}" for blend in IDS.values()}


@pytest.mark.parametrize(("text", "adapters"), ASKED)
def test_auto_is_answered_by_the_decided_blend(
    proxy: Proxy, held: EngineThread, agoge: Agoge, text: str, adapters: str
) -> None:
    reply = proxy.chat("auto", text)
    assert reply.status_code == 200, reply.text
    assert held.fake.models_asked == [IDS[adapters]]
    assert reply.json()["choices"][0]["message"]["content"].startswith(f"{IDS[adapters]} says")
    assert reply.json()["model"] == "auto"
    assert reply.headers["x-agoge-adapters"] == adapters
    assert reply.headers["x-agoge-blend"] == IDS[adapters]
    told = httpx.get(f"{agoge.url}/v1/decisions/{reply.headers['x-agoge-decision-id']}").json()
    assert told["blend"] == IDS[adapters]


def test_a_directive_is_not_sent_to_the_engine(proxy: Proxy, held: EngineThread) -> None:
    proxy.chat("auto", {"role": "system", "content": "Be brief."}, ASKED[2][0])
    assert held.fake.seen[0].body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Почему лёд плавает?"},
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_a_bare_directive_is_confirmed_and_no_engine_is_asked(
    proxy: Proxy, held: EngineThread, stream: bool
) -> None:
    reply = proxy.chat("auto", "режим: академический", stream=stream)
    assert reply.status_code == 200, reply.text
    if stream:
        events = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
        said = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    else:
        said = reply.json()["choices"][0]["message"]["content"]
    assert said == "Теперь говорит только academic. Выключить: «режим: авто»."
    assert reply.headers["x-agoge-backend"] == "router"
    assert held.fake.seen == []


def test_openai_python_streams_through_the_proxy(proxy: Proxy, held: EngineThread) -> None:
    raw = proxy.client().chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": "Why is the sky blue?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(raw.parse())
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == f"{IDS[PHYSICS]} says word0 word1 word2"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 7
    assert raw.headers["x-agoge-blend"] == IDS[PHYSICS]


def test_the_models_are_listed(proxy: Proxy) -> None:
    names = {model.id for model in proxy.client().models.list()}
    assert {"auto", "agoge", *IDS.values()} <= names


def test_agoges_refusals_come_through(proxy: Proxy, held: EngineThread) -> None:
    with pytest.raises(openai.BadRequestError, match="nobody is called|no adapter|dance") as caught:
        proxy.client().chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "/mode dance tonight"}]
        )
    assert caught.value.response.headers["x-agoge-error"] == "unknown_mode"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert held.fake.seen == []


def test_only_chat_completions_take_auto(proxy: Proxy, held: EngineThread) -> None:
    for path, body in (("/v1/embeddings", {"input": "sky"}), ("/v1/completions", {"prompt": "sky"})):
        reply = proxy.post(path, {"model": "auto", **body})
        assert reply.status_code == 400, reply.text
        assert "chat/completions only" in reply.json()["error"]["message"]
    assert held.fake.seen == []


@pytest.mark.parametrize(
    "more",
    [
        {"fallbacks": ["core-b370877f4c30"], "disable_fallbacks": False},
        {"context_window_fallbacks": [{ID: ["core-b370877f4c30"]} for ID in IDS.values()]},
    ],
)
def test_nobody_steps_in_for_an_isolated_blend(proxy: Proxy, engine: EngineThread, more: dict[str, object]) -> None:
    engine.hold(IDS["core=1.0"])  # the academic one is missing
    reply = proxy.chat("auto", ASKED[3][0], **more)
    assert reply.status_code == 404, reply.text
    assert set(engine.fake.models_asked) == {IDS[ACADEMIC]}
    assert "says" not in reply.text


@pytest.mark.parametrize(
    "more",
    [
        {"lora": [{"id": 0, "scale": 1.0}]},
        {"lora_path": "core"},
        {"adapter_id": "core"},
        {"extra_body": {"lora_path": "core", "model": "base-model"}},
    ],
)
def test_a_client_cannot_put_other_adapters_to_a_blend(
    proxy: Proxy, held: EngineThread, more: dict[str, object]
) -> None:
    reply = proxy.chat("auto", ASKED[3][0], **more)
    assert reply.status_code == 200, reply.text
    sent = held.fake.seen[0].body
    assert sent["model"] == IDS[ACADEMIC]
    assert not {"lora", "lora_path", "adapter_id", "extra_body"} & sent.keys()


def test_a_client_cannot_invent_a_decision(proxy: Proxy, held: EngineThread) -> None:
    told = {"agoge": {"x-agoge-adapters": "invented"}}
    reply = proxy.chat(IDS[PHYSICS], "hello", metadata=told)
    assert reply.status_code == 200, reply.text
    assert "x-agoge-adapters" not in reply.headers


def test_agoge_as_a_deployment_answers_with_its_own_engine_and_its_headers(proxy: Proxy, engine: EngineThread) -> None:
    engine.hold()
    for model, text, adapters in (
        ("agoge", "Why is the sky blue?", PHYSICS),
        ("agoge/academic", "Why is the sky blue?", ACADEMIC),
        ("agoge", ASKED[2][0], PHYSICS),
    ):
        reply = proxy.chat(model, text)
        assert reply.status_code == 200, reply.text
        assert reply.headers["llm_provider-x-agoge-adapters"] == adapters
        assert reply.headers["llm_provider-x-agoge-decision-id"].startswith("dec_")
        assert reply.json()["choices"][0]["message"]["content"]
    streamed = proxy.chat("agoge", "Why is the sky blue?", stream=True)
    assert streamed.headers["llm_provider-x-agoge-adapters"] == PHYSICS
    assert streamed.text.rstrip().endswith("data: [DONE]")
    assert engine.fake.seen == []


def spoilt(folder: Path, change: str) -> Path:
    """Write deploy/litellm into `folder` with one thing made wrong."""
    (folder / "agoge_router.py").write_bytes((DEPLOYED / "agoge_router.py").read_bytes())
    wrong = yaml.safe_load((DEPLOYED / "config.yaml").read_text("utf-8"))
    models = wrong["model_list"]
    academic = next(entry for entry in models if entry["model_name"] == IDS[ACADEMIC])
    everything = {"model": "hosted_vllm/*", "api_base": "os.environ/VLLM_API_BASE"}
    if change == "missing":
        models.remove(academic)
        models.append({"model_name": "*", "litellm_params": everything})
    elif change == "alias":
        models.remove(academic)
        wrong["router_settings"] = {"model_group_alias": {IDS[ACADEMIC]: IDS["core=1.0"]}}
    elif change == "base":
        academic["litellm_params"]["model"] = "hosted_vllm/base-model"
    elif change == "twin":
        models.append({"model_name": IDS[ACADEMIC], "litellm_params": {**everything, "model": "hosted_vllm/base-model"}})
    elif change == "fallbacks":
        wrong["router_settings"] = {"fallbacks": [{"auto": [IDS["core=1.0"]]}]}
    elif change == "default fallbacks":
        wrong["litellm_settings"]["default_fallbacks"] = [IDS["core=1.0"]]
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(wrong), "utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "is not this blend"),
        ("alias", "is not this blend"),
        ("base", "is not this blend"),
        ("fallbacks", "fallbacks cover auto"),
        ("default fallbacks", "fallbacks cover auto"),
    ],
)
def test_a_proxy_that_would_let_another_model_answer_is_refused(
    tmp_path: Path, base: str, held: EngineThread, change: str, message: str
) -> None:
    with proxying(spoilt(tmp_path, change), base, f"{held.url}/v1", tmp_path / "log") as live:
        reply = live.chat("auto", ASKED[3][0])
        assert reply.status_code >= 500, reply.text
        assert message in reply.json()["error"]["message"]
    assert held.fake.seen == []
    assert BASE_SPEAKS not in reply.text


def test_without_agoge_nobody_answers(tmp_path: Path, held: EngineThread) -> None:
    nowhere = "http://127.0.0.1:9/v1"
    with proxying(DEPLOYED / "config.yaml", nowhere, f"{held.url}/v1", tmp_path / "log") as live:
        reply = live.chat("auto", "Why is the sky blue?")
    assert reply.status_code == 503
    assert reply.headers["x-agoge-error"] == "router_unreachable"
    assert held.fake.seen == []
