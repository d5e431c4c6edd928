"""deploy/litellm in a real LiteLLM proxy: Agoge decides, and exactly the decided blend answers or nobody.

The decisions are a real Agoge's. The engine behind the proxy is a vLLM as far as the wire shows it: it records who
was asked, and its base model says that it is the base.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
import yaml

from router.core.reachable import reachable
from router.policy_file import load_policies
from tests.clients.asked import ACADEMIC, BY_PROMPT, DIRECTIVE, ISOLATED, PHYSICS, SKY
from tests.clients.engine_thread import EngineThread
from tests.clients.proxy import Proxy, proxying
from tests.live import ROOT, Agoge

DEPLOYED = ROOT / "deploy" / "litellm"
CONFIG = yaml.safe_load((DEPLOYED / "config.yaml").read_text("utf-8"))
IDS = {
    str(blend): blend.id
    for blend in reachable(load_policies(ROOT / "policies" / "default.yaml").profile("default", None))
}


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


@pytest.mark.parametrize(("text", "adapters"), BY_PROMPT)
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
    proxy.chat("auto", {"role": "system", "content": "Be brief."}, DIRECTIVE)
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
        messages=[{"role": "user", "content": SKY}],
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
    with pytest.raises(openai.BadRequestError, match="dance") as caught:
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
        {"lora": [{"id": 0, "scale": 1.0}]},
        {"lora_path": "core"},
        {"adapter_id": "core"},
        {"extra_body": {"lora_path": "core", "model": "base-model"}},
    ],
)
def test_a_client_cannot_put_other_adapters_to_a_blend(
    proxy: Proxy, held: EngineThread, more: dict[str, object]
) -> None:
    reply = proxy.chat("auto", ISOLATED, **more)
    assert reply.status_code == 200, reply.text
    sent = held.fake.seen[0].body
    assert sent["model"] == IDS[ACADEMIC]
    assert not {"lora", "lora_path", "adapter_id"} & sent.keys()
    proxy.chat(IDS[PHYSICS], "hello", **more)  # what LiteLLM hands on where the plugin does not decide
    assert {"lora", "lora_path", "adapter_id"} & held.fake.seen[1].body.keys()


def test_a_client_cannot_invent_a_decision(proxy: Proxy, held: EngineThread) -> None:
    told = {"agoge": {"x-agoge-adapters": "invented"}}
    reply = proxy.chat(IDS[PHYSICS], "hello", metadata=told)
    assert reply.status_code == 200, reply.text
    assert "x-agoge-adapters" not in reply.headers


def test_agoge_as_a_deployment_answers_with_its_own_engine_and_its_headers(
    proxy: Proxy, engine: EngineThread
) -> None:
    engine.hold()
    for model, text, adapters in (
        ("agoge", SKY, PHYSICS),
        ("agoge/academic", SKY, ACADEMIC),
        ("agoge", DIRECTIVE, PHYSICS),
    ):
        reply = proxy.chat(model, text)
        assert reply.status_code == 200, reply.text
        assert reply.headers["llm_provider-x-agoge-adapters"] == adapters
        assert reply.headers["llm_provider-x-agoge-decision-id"].startswith("dec_")
        assert reply.json()["choices"][0]["message"]["content"]
    streamed = proxy.chat("agoge", SKY, stream=True)
    assert streamed.headers["llm_provider-x-agoge-adapters"] == PHYSICS
    assert streamed.text.rstrip().endswith("data: [DONE]")
    assert engine.fake.seen == []


def test_nobody_steps_in_for_an_isolated_blend(proxy: Proxy, engine: EngineThread) -> None:
    core = IDS["core=1.0"]
    engine.hold(core)  # the academic one is missing
    wish = {"fallbacks": [core], "disable_fallbacks": False}
    reply = proxy.chat("auto", ISOLATED, **wish)
    assert reply.status_code == 404, reply.text
    assert set(engine.fake.models_asked) == {IDS[ACADEMIC]}
    cooling = proxy.chat("auto", ISOLATED, **wish)  # LiteLLM has set the deployment aside by now
    assert cooling.status_code == 429, cooling.text
    fallen = proxy.chat(IDS[ACADEMIC], "hello", **wish)  # what LiteLLM does where it is not told otherwise
    assert fallen.json()["choices"][0]["message"]["content"].startswith(core)


def test_a_deployment_that_is_not_the_blend_is_refused(tmp_path: Path, base: str, held: EngineThread) -> None:
    with proxying(spoilt(tmp_path), base, f"{held.url}/v1", tmp_path / "log") as live:
        for text, adapters in (
            (SKY, PHYSICS),
            ("mode: sport\nHow do I train?", "core=1.0,sport=0.8"),
            ("mode: physics and sport\nHow far does a ball fly?", "core=1.0,physics=0.8,sport=0.8"),
            (ISOLATED, ACADEMIC),
        ):
            reply = live.chat("auto", text)
            assert reply.status_code == 503, (adapters, reply.text)
            assert reply.headers["x-agoge-error"] == "blend_unavailable"
            assert IDS[adapters] in reply.json()["error"]["message"]
        assert held.fake.seen == []
        assert live.chat(IDS[ACADEMIC], "hello").status_code == 200  # the wildcard would have taken it


def spoilt(folder: Path) -> Path:
    """Write deploy/litellm into `folder` with every blend but the core's going elsewhere, each in another way."""
    (folder / "agoge_router.py").write_bytes((DEPLOYED / "agoge_router.py").read_bytes())
    wrong = yaml.safe_load((DEPLOYED / "config.yaml").read_text("utf-8"))
    entries = {entry["model_name"]: entry for entry in wrong["model_list"]}
    bare = {"model": "hosted_vllm/base-model", "api_base": "os.environ/VLLM_API_BASE"}
    entries[IDS[PHYSICS]]["litellm_params"] = bare
    alias = entries.pop(IDS["core=1.0,sport=0.8"])["model_name"]
    wrong["router_settings"] = {"model_group_alias": {alias: IDS["core=1.0"]}}
    twin = {"model_name": IDS["core=1.0,physics=0.8,sport=0.8"], "litellm_params": bare}
    del entries[IDS[ACADEMIC]]
    everything = {"model_name": "*", "litellm_params": {**bare, "model": "hosted_vllm/*"}}
    wrong["model_list"] = [*entries.values(), twin, everything]
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(wrong), "utf-8")
    return path


def test_without_agoge_nobody_answers(tmp_path: Path, held: EngineThread) -> None:
    nowhere = "http://127.0.0.1:9/v1"
    with proxying(DEPLOYED / "config.yaml", nowhere, f"{held.url}/v1", tmp_path / "log") as live:
        reply = live.chat("auto", SKY)
    assert reply.status_code == 503
    assert reply.headers["x-agoge-error"] == "router_unreachable"
    assert held.fake.seen == []


@pytest.mark.parametrize(
    ("of_router", "of_key"),
    [
        ({"fallbacks": [{"auto": ["other"]}]}, {}),
        ({"fallbacks": [{"*": ["other"]}]}, {}),
        ({"default_fallbacks": ["other"]}, {}),
        ({"context_window_fallbacks": [{"auto": ["other"]}]}, {}),
        ({"content_policy_fallbacks": [{"auto": ["other"]}]}, {}),
        ({}, {"fallbacks": [{"auto": ["other"]}]}),
        ({}, {"fallbacks": ["other"]}),
    ],
)
async def test_fallbacks_that_reach_auto_are_refused(
    monkeypatch: pytest.MonkeyPatch, of_router: dict[str, Any], of_key: dict[str, Any]
) -> None:
    import litellm
    from litellm.proxy import proxy_server

    models = [{"model_name": name, "litellm_params": {"model": f"openai/{name}"}} for name in ("auto", "other")]
    monkeypatch.setattr(proxy_server, "llm_router", litellm.Router(model_list=models, **of_router))
    path = DEPLOYED / "agoge_router.py"
    spec = importlib.util.spec_from_file_location("agoge_router", path)
    assert spec is not None
    assert spec.loader is not None
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    with pytest.raises(plugin.ProxyException, match="fallbacks cover auto"):
        await plugin.agoge_router.async_pre_call_hook(
            SimpleNamespace(router_settings=of_key), None, {"model": "auto", "messages": []}, "acompletion"
        )
