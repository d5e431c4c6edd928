"""n8n as a server: published webhooks, a conversation, and what the editor asks of credentials and pickers."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live import Agoge
from tests.n8n.conftest import key, shipped
from tests.n8n.n8n_process import N8n

PUBLISHED = ("agogeBranches", "agogeFeedback", "agogeChatPublic")
PACKAGE = "n8n-nodes-agoge"
OWNER = {"email": "owner@example.com", "firstName": "O", "lastName": "W", "password": "Owner-of-tests-1"}


@pytest.fixture(scope="module")
def client(n8n: N8n, router: Agoge) -> Iterator[httpx.Client]:
    """A client of the running n8n; the shipped chat is public in a copy, so that it can be spoken to."""
    public = copy.deepcopy(shipped(router.url)["agogeChat"])
    public["id"], public["name"] = "agogeChatPublic", "public"
    (chat,) = [node for node in public["nodes"] if node["name"] == "Chat"]
    chat["webhookId"] = "9b1c1a52-7b55-4c0a-8c8b-2f5d0c3a7e11"
    chat["parameters"] |= {"public": True, "mode": "webhook"}
    n8n.take_in("workflow", [public])
    for workflow in PUBLISHED:
        n8n.command("publish:workflow", f"--id={workflow}")
    with n8n.serving("agoge-branches", "agoge-feedback") as live:
        yield live


@pytest.fixture(scope="module")
def editor(client: httpx.Client) -> httpx.Client:
    """The same n8n with an owner who is logged in, as the editor in a browser is."""
    client.headers["browser-id"] = str(uuid.uuid4())
    assert client.post("/rest/owner/setup", json=OWNER).status_code == 200
    return client


@pytest.mark.parametrize(
    ("text", "queue"),
    [
        ("Why is the sky blue?", "physics desk"),
        ("Как накачать бицепс?", "coach"),
        ("How do I bake an apple pie?", "front office"),
    ],
)
def test_the_webhook_answers_with_the_branch(client: httpx.Client, text: str, queue: str) -> None:
    said = client.post("/webhook/agoge-branches", json={"text": text})
    assert said.status_code == 200, said.text
    assert said.json()["queue"] == queue


def test_a_verdict_from_outside_is_kept_and_a_stale_one_is_an_error(
    client: httpx.Client, router: Agoge, data: Path
) -> None:
    told = httpx.post(f"{router.url}/v1/decisions", json={"input": "Why is the sky blue?"}).json()
    verdict = {"decision_id": told["decision_id"], "verdict": "wrong", "label": "sport"}
    kept = client.post("/webhook/agoge-feedback", json=verdict)
    assert kept.status_code == 200, kept.text
    assert kept.json()["label"] == "sport"
    assert told["decision_id"] in (data / "outcomes.jsonl").read_text("utf-8")
    stale = client.post("/webhook/agoge-feedback", json={**verdict, "decision_id": "dec_none"})
    assert stale.status_code == 500


def test_a_switched_mode_lasts_through_the_conversation(client: httpx.Client, router: Agoge) -> None:
    def say(text: str, session: str) -> str:
        body = {"action": "sendMessage", "sessionId": session, "chatInput": text}
        said = client.post("/webhook/9b1c1a52-7b55-4c0a-8c8b-2f5d0c3a7e11/chat", json=body)
        assert said.status_code == 200, said.text
        return str(said.json()["output"])

    say("режим: академический", "one")
    alone = say("Why is the sky blue?", "one")
    assert router.facts("Decided")[-1]["adapters"] == {"academic": 1.0}
    assert not alone.endswith("Endure and act.")
    together = say("Why is the sky blue?", "another")
    assert router.facts("Decided")[-1]["adapters"] == {"core": 1.0, "physics": 0.8}
    assert together.endswith("Endure and act.")


@pytest.mark.parametrize(
    ("node", "version", "credential"),
    [
        (f"{PACKAGE}.agoge", 1, {"agogeApi": {"id": "agogeAgoge", "name": "Agoge"}}),
        (f"{PACKAGE}.lmChatAgoge", 1, {"agogeApi": {"id": "agogeAgoge", "name": "Agoge"}}),
    ],
)
def test_the_picker_lists_what_may_be_asked_for(
    editor: httpx.Client, router: Agoge, node: str, version: int, credential: dict[str, Any]
) -> None:
    body = {
        "nodeTypeAndVersion": {"name": node, "version": version},
        "path": "parameters.expert",
        "methodName": "getExperts",
        "currentNodeParameters": {},
        "credentials": credential,
    }
    listed = editor.post("/rest/dynamic-node-parameters/options", json=body)
    assert listed.status_code == 200, listed.text
    models = httpx.get(f"{router.url}/v1/models").json()["data"]
    assert [each["value"] for each in listed.json()["data"]] == [model["id"] for model in models]
    said = {each["value"]: each["description"] for each in listed.json()["data"]}
    assert said["physics"] == "core x 1, physics x 0.8"
    assert said["academic"] == "academic x 1, alone"


@pytest.mark.parametrize(("url", "verdict"), [("", "OK"), ("http://127.0.0.1:9/v1", "Error")])
def test_the_credential_can_be_tried(editor: httpx.Client, router: Agoge, url: str, verdict: str) -> None:
    data = key(router) | ({"url": url} if url else {})
    tried = {"id": "agogeAgoge", "name": "Agoge", "type": "agogeApi", "data": data}
    said = editor.post("/rest/credentials/test", json={"credentials": tried})
    assert said.status_code == 200, said.text
    assert said.json()["data"]["status"] == verdict
