"""The shipped n8n workflows without n8n: sound files, no secrets, and bodies that our own API takes.

n8n itself runs them in tests/n8n. The expressions in their bodies are JavaScript; a table here says what
each yields.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.stage import Stage, staged

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "deploy" / "n8n" / "workflows").glob("*.json"))
OURS = "http://127.0.0.1:8080"
EXPRESSION = re.compile(r"\{\{ (.+?) \}\}")
STICKY = "n8n-nodes-base.stickyNote"
STARTS = ("n8n-nodes-base.manualTrigger", "n8n-nodes-base.webhook", "n8n-nodes-base.scheduleTrigger")
CHAT_START = "@n8n/n8n-nodes-langchain.chatTrigger"

Workflow = dict[str, Any]
YIELDS: dict[str, object] = {
    "JSON.stringify($json.text)": "Why is the sky blue?",
    r'JSON.stringify("включить режим: физика+агоге\n" + $json.text)': "включить режим: физика+агоге\nПочему небо?",
    'JSON.stringify($input.all().map((item) => ({ messages: [{ role: "user", content: item.json.text }] })))': [
        {"messages": [{"role": "user", "content": text}]} for text in ("Why is the sky blue?", "A marathon?")
    ],
    "JSON.stringify($json.verdict)": "right",
    'JSON.stringify($json.label ?? "")': "",
}


class Kept:
    """A store of feedback that forgets all of it."""

    async def add(self, outcome: object) -> None: ...


def read(file: Path) -> Workflow:
    workflow: Workflow = json.loads(file.read_text("utf-8"))
    return workflow


WORKFLOWS = [pytest.param(read(file), id=file.stem) for file in FILES]
REQUESTS = [
    pytest.param(node["parameters"], id=f"{file.stem}: {node['name']}")
    for file in FILES
    for node in read(file)["nodes"]
    if node["type"] == "n8n-nodes-base.httpRequest"
]


def body(parameters: dict[str, Any], decision_id: str = "dec_none") -> Any:
    """Return the node's body as n8n would send it. An expression that the table lacks is a KeyError."""
    yields = YIELDS | {"JSON.stringify($json.decision_id)": decision_id}
    template = parameters["jsonBody"]
    assert template.startswith("=")
    return json.loads(EXPRESSION.sub(lambda found: json.dumps(yields[found[1]]), template[1:]))


def links(workflow: Workflow) -> set[tuple[str, str]]:
    return {
        (start, link["node"])
        for start, kinds in workflow["connections"].items()
        for outputs in kinds.values()
        for output in outputs
        for link in output or ()
    }


def test_there_are_workflows_and_requests() -> None:
    assert len(WORKFLOWS) >= 6
    assert len(REQUESTS) >= 6


def test_ids_and_names_are_told_apart() -> None:
    read_all = [read(file) for file in FILES]
    for what in ("id", "name"):
        assert len({each[what] for each in read_all}) == len(FILES)
    webhooks = [n["parameters"]["path"] for w in read_all for n in w["nodes"] if n["type"].endswith(".webhook")]
    assert len(set(webhooks)) == len(webhooks) == 2


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_it_is_whole(workflow: Workflow) -> None:
    assert re.fullmatch(r"[A-Za-z0-9]{5,36}", workflow["id"])
    assert workflow["active"] is False
    nodes = {node["name"]: node for node in workflow["nodes"]}
    assert len(nodes) == len({node["id"] for node in workflow["nodes"]}) == len(workflow["nodes"])
    assert {name for link in links(workflow) for name in link} == {n for n in nodes if nodes[n]["type"] != STICKY}


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_node_is_reached_from_the_button_or_by_itself(workflow: Workflow) -> None:
    nodes = {node["name"]: node["type"] for node in workflow["nodes"]}
    joined, reached = links(workflow), {name for name, kind in nodes.items() if kind == STARTS[0]}
    assert len(reached) == 1, "n8n execute starts at a manual trigger"
    while more := {end for start, end in joined if start in reached} - reached:
        reached |= more
    apart = {name for name in nodes if name not in reached and nodes[name] != STICKY}
    for name in apart:
        assert (
            nodes[name] in (*STARTS, CHAT_START)
            or any(start in apart and nodes[start] in STARTS for start, end in joined if end == name)
            or any(start == name and end in reached for start, end in joined)
        ), name


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_credentials_are_named_and_no_secret_is_in_it(workflow: Workflow) -> None:
    for node in workflow["nodes"]:
        for kind, credential in node.get("credentials", {}).items():
            assert kind in ("openAiApi", "agogeApi")
            assert credential == {"id": None, "name": "Agoge"}
    text = json.dumps(workflow)
    assert not re.search(r"sk-|Bearer|api_?key|password", text, re.IGNORECASE)
    assert set(re.findall(r"https?://[^/\s\"'`]+", text)) <= {OURS, "http://localhost:5678"}


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_expressions_name_nodes_that_exist(workflow: Workflow) -> None:
    names = {node["name"] for node in workflow["nodes"]}
    assert set(re.findall(r"\$\('([^']+)'\)", json.dumps(workflow))) <= names


def test_the_chat_uses_the_model_node_as_n8n_ships_it() -> None:
    (node,) = [n for n in read(FILES[0].with_name("chat.json"))["nodes"] if n["type"].endswith(".lmChatOpenAi")]
    assert node["typeVersion"] == 1.3
    assert node["parameters"] == {"model": {"__rl": True, "mode": "id", "value": "auto"}, "options": {}}


def test_the_branches_are_labels_that_the_shipped_classifier_knows() -> None:
    workflow = read(FILES[0].with_name("branches.json"))
    (switch,) = [node for node in workflow["nodes"] if node["type"].endswith(".switch")]
    rules = switch["parameters"]["rules"]["values"]
    asked = {rule["conditions"]["conditions"][0]["rightValue"] for rule in rules}
    known = set()
    for file in (ROOT / "policies" / "exemplars").glob("*.jsonl"):
        known |= {json.loads(line)["label"] for line in file.read_text("utf-8").splitlines() if line.strip()}
    assert asked == {"physics", "sport"} & known
    assert len(workflow["connections"]["By label"]["main"]) == len(rules) + 1


@pytest.mark.parametrize("parameters", REQUESTS)
async def test_what_it_sends_is_documented_and_accepted(parameters: dict[str, Any], tmp_path: Path) -> None:
    assert parameters["url"].startswith(OURS)
    path, method = parameters["url"].removeprefix(OURS), parameters["method"].lower()
    async with staged(tmp_path) as stage, httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        stage.router.feedback.store = Kept()
        sent = body(parameters, await decided(stage))
        route = (await client.get("/openapi.json")).json()["paths"][path][method]
        schema = route["requestBody"]["content"]["application/json"]["schema"]
        Draft202012Validator(schema).validate(sent)
        answer = await client.request(method, path, json=sent)
        assert answer.is_success, answer.text
        if "batch" in sent:
            assert [told["label"] for told in answer.json()["data"]] == ["physics", "sport"]
        if path.endswith("/chat/completions"):
            assert answer.json()["agoge"]["adapters"] == {"core": 1.0, "physics": 0.8}
            assert answer.json()["agoge"]["reason"] == "asked"


async def decided(stage: Stage) -> str:
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        told = (await client.post("/v1/decisions", json={"input": "Why is the sky blue?"})).json()
    return str(told["decision_id"])


def test_the_check_can_fail() -> None:
    with pytest.raises(KeyError):
        body({"jsonBody": "={ {{ $json.other }} }"})
