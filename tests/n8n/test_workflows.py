"""Every shipped workflow, imported and run by a real n8n from its manual trigger, without a browser."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from tests.live import Agoge
from tests.n8n.conftest import shipped
from tests.n8n.n8n_process import Item, N8n

SKY = "Why is the sky blue?"
EVERY_MOTTO = ("Endure and act.", "Терпи и действуй.")  # what the demo's core ends on, in its two languages


def test_n8n_has_all_of_them(n8n: N8n) -> None:
    listed = [line.partition("|")[0] for line in n8n.command("list:workflow").splitlines() if "|" in line]
    assert set(shipped()) <= set(listed)


def test_the_chat_model_that_n8n_ships_works_as_it_is(n8n: N8n, router: Agoge) -> None:
    run = n8n.execute("agogeChat")
    (said,) = run.items("Agent")
    assert said["output"].endswith(EVERY_MOTTO)
    (asked,) = run.items("OpenAI Chat Model", kind="ai_languageModel")
    assert asked["response"]["generations"][0][0]["text"] == said["output"]
    decided = router.facts("Decided")[-1]
    assert decided["label"] == "physics"
    assert decided["adapters"] == {"core": 1.0, "physics": 0.8}


def test_a_decision_sends_the_text_its_way(n8n: N8n, router: Agoge) -> None:
    answered = len(router.facts("BackendAnswered"))
    run = n8n.execute("agogeBranches")
    (sent,) = run.items("Physics")
    assert sent["queue"] == "physics desk"
    assert sent["adapters"] == {"core": 1, "physics": 0.8}
    assert "Sport" not in run.run
    assert "Anything else" not in run.run
    assert len(router.facts("BackendAnswered")) == answered, "a decision calls no model"


def test_both_ways_of_asking_by_name_get_exactly_that(n8n: N8n) -> None:
    both = n8n.execute("agogeForced").items("Who spoke")
    assert len(both) == 2
    for spoke in both:
        assert spoke["adapters"] == {"core": 1, "physics": 0.8}
        assert spoke["why"] == "core: always; physics: asked"
        assert spoke["text"].strip()


def test_a_list_comes_back_labelled(n8n: N8n) -> None:
    told = n8n.execute("agogeBatch").items("Labelled")
    assert [each["label"] for each in told[:2]] == ["physics", "sport"]
    assert told[3]["label"] not in ("physics", "sport")
    assert all(each["decision_id"].startswith("dec_") and not each["error"] for each in told)


def test_more_than_one_batch_keeps_every_text_with_its_decision(n8n: N8n, router: Agoge) -> None:
    workflow = copy.deepcopy(shipped(router.url)["agogeBatch"])
    workflow["id"], workflow["name"] = "agogeBatchMany", "many"
    (texts,) = [node for node in workflow["nodes"] if node["name"] == "Texts"]
    asked = [SKY if n % 2 else "Как подготовиться к марафону?" for n in range(300)]
    asked[7] = "режим: алхимия"  # a mode that there is not: refused, in its place
    texts["parameters"]["jsonOutput"] = json.dumps({"texts": [{"text": text} for text in asked]})
    n8n.take_in("workflow", [workflow])
    run = n8n.execute("agogeBatchMany")
    assert [len(turn["data"]["main"][0]) for turn in run.run["One decision each"]] == [256, 44]
    told = run.items("Labelled")
    assert [each["text"] for each in told] == asked
    assert [each["label"] for each in told] == [
        "" if n == 7 else "physics" if n % 2 else "sport" for n in range(300)
    ]
    assert "алхимия" in told[7]["error"]
    assert not told[6]["error"]


def test_a_verdict_reaches_the_file_that_keeps_it(n8n: N8n, data: Path) -> None:
    (kept,) = n8n.execute("agogeFeedback").items("Tell Agoge")
    assert kept["verdict"] == "right"
    assert kept["decided"] == "physics"
    assert kept["decision_id"] in (data / "outcomes.jsonl").read_text("utf-8")


@pytest.fixture(scope="module")
def message(n8n: N8n, router: Agoge) -> list[Item]:
    """What the "Message a model" action of the OpenAI node gives; it knows the Responses API alone."""
    workflow = copy.deepcopy(shipped(router.url)["agogeChat"])
    trigger = next(node for node in workflow["nodes"] if node["name"] == "Try it")
    action = {
        "id": "5d0f2d43-2b04-4a4c-9a0b-5c7f6d1f0a01",
        "name": "Message a model",
        "type": "@n8n/n8n-nodes-langchain.openAi",
        "typeVersion": 2.1,
        "position": [220, 0],
        "parameters": {
            "modelId": {"__rl": True, "mode": "id", "value": "academic"},
            "responses": {"values": [{"content": SKY}]},
            "builtInTools": {},
            "options": {},
        },
        "credentials": {"openAiApi": {"id": None, "name": "Agoge"}},
    }
    links = {"Try it": {"main": [[{"node": "Message a model", "type": "main", "index": 0}]]}}
    n8n.take_in("workflow", [{**workflow, "id": "agogeMessage", "nodes": [trigger, action], "connections": links}])
    return n8n.execute("agogeMessage").items("Message a model")


def test_the_openai_node_messages_a_model(message: list[Item], router: Agoge) -> None:
    (said,) = message
    text = said["output"][0]["content"][0]["text"]
    assert text.strip()
    assert not text.endswith(EVERY_MOTTO), "the core has no part in isolated speech"
    assert router.facts("Decided")[-1]["adapters"] == {"academic": 1.0}
