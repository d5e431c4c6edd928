"""What reaches us over HTTP: only what Slack signed just now, and each of it is answered once, whoever gets it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.caches import open_claims
from router.core.facts import CacheFailed
from tests.caches.conftest import folder  # noqa: F401 - a fixture
from tests.caches.servers import Server, binaries
from tests.channels.slack.fake import fake_slack
from tests.channels.slack.scene import Scene, scene
from tests.stubs import SpeakingBackend, until

SECRET_TEXT = "Why is the sky so very blue"


async def untouched(play: Scene) -> bool:
    """Say whether a request left no trace: no call of Slack, no engine asked, nothing decided."""
    await play.idle()
    return play.slack.calls == [] and play.backend.prompts == [] and play.stage.facts.seen == []


async def test_slacks_own_check_of_the_address_is_answered(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        body = json.dumps({"type": "url_verification", "challenge": "c4", "token": "t"}).encode()
        answer = await play.post("events", body)
        assert (answer.status_code, answer.json()) == (200, {"challenge": "c4"})


@pytest.mark.parametrize("path", ["events", "commands", "interactions"])
@pytest.mark.parametrize(
    "headers",
    [
        {"x-slack-signature": "v0=" + "0" * 64},
        {"x-slack-signature": ""},
        {"x-slack-signature": "v0=ы".encode()},
        {"x-slack-request-timestamp": "soon"},
        {"x-slack-request-timestamp": "9" * 400},
        {"x-slack-request-timestamp": "-1"},
    ],
)
async def test_a_wrong_signature_touches_nothing(tmp_path: Path, path: str, headers: dict[str, Any]) -> None:
    async with scene(tmp_path) as play:
        body = json.dumps(play.envelope(play.slack.says(SECRET_TEXT))).encode()
        answer = await play.post(path, body, headers=headers)
        assert answer.status_code == 401
        assert await untouched(play)


@pytest.mark.parametrize("seconds", [-301, -86_400, 330])
async def test_a_replayed_request_touches_nothing(tmp_path: Path, seconds: int) -> None:
    """Rightly signed, but not now."""
    async with scene(tmp_path) as play:
        answer = await play.deliver(play.slack.says(SECRET_TEXT), at=time.time() + seconds)
        assert answer.status_code == 401
        assert await untouched(play)


async def test_a_changed_body_an_unsigned_one_and_a_huge_one_touch_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        body = json.dumps(play.envelope(play.slack.says(SECRET_TEXT))).encode()
        signed = await play.post("events", b"{}")
        headers = {k: v for k, v in signed.request.headers.items() if k.startswith("x-slack")}
        play.slack.calls.clear()  # that one was genuine
        async with httpx.AsyncClient() as client:
            changed = await client.post(f"{play.url}/slack/events", content=body, headers=headers)
            bare = await client.post(f"{play.url}/slack/events", content=body)
        huge = await play.post("events", b" " * (2**20 + 1))
        binary = await play.post("events", b"\xff\xfe")
        assert [a.status_code for a in (changed, bare, huge, binary)] == [401, 401, 413, 401]
        assert await untouched(play)


async def test_signed_nonsense_breaks_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        for body in (b"", b"{}", b"[]", b"null", b"{", b'{"type":"event_callback"}', b"payload=%7B"):
            for kind in ("application/json", "application/x-www-form-urlencoded"):
                assert (await play.post("events", body, kind=kind)).status_code in (200, 400, 404, 500)
        await play.asks("Why is the sky blue?")
        assert len(play.slack.own()) == 1


async def test_no_log_quotes_a_prompt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with scene(tmp_path) as play:
            await play.asks(SECRET_TEXT)
            await play.post("events", json.dumps(play.envelope(play.slack.says(SECRET_TEXT))).encode(), at=1)
            unknown = {"type": "block_actions", "actions": [{"action_id": "x"}], "message": {"text": SECRET_TEXT}}
            await play.post("events", json.dumps(unknown).encode())
            await play.post("events", json.dumps({"type": "x", "text": SECRET_TEXT}).encode())
            play.slack.always["chat.startStream"] = play.slack.always["chat.postMessage"] = "is_archived"
            await play.deliver(play.slack.says(SECRET_TEXT))
            await until(lambda: play.slack.of("chat.postMessage") != [])
            await play.idle()
    ours = [r for r in caplog.records if not r.name.startswith(("asyncio", "aiohttp", "httpx", "httpcore"))]
    assert any("is_archived" in record.getMessage() for record in ours)
    assert [record for record in ours if SECRET_TEXT in record.getMessage() + str(record.exc_text)] == []


async def again(play: Scene, body: bytes, number: int) -> httpx.Response:
    """Deliver the same body once more, as Slack does."""
    retry = {"x-slack-retry-num": str(number), "x-slack-retry-reason": "http_timeout"}
    return await play.post("events", body, headers=retry)


async def test_a_repeated_delivery_is_answered_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        body = json.dumps(play.envelope(play.slack.says("Why is the sky blue?"))).encode()
        for number in range(4):
            answer = await (again(play, body, number) if number else play.post("events", body))
            assert answer.status_code == 200
        await play.idle()
        assert len(play.slack.own()) == len(play.backend.prompts) == 1


async def test_a_retry_of_a_delivery_that_nobody_got_is_answered(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        body = json.dumps(play.envelope(play.slack.says("Why is the sky blue?"))).encode()
        await again(play, body, 1)
        await until(lambda: len(play.slack.own()) == 1)
        await play.idle()


async def test_one_message_under_two_events_is_answered_once(tmp_path: Path) -> None:
    """A mention in a direct message comes as message.im and as app_mention."""
    async with scene(tmp_path) as play:
        said = play.slack.says("<@UBOT> why is the sky blue?")
        await play.deliver(said)
        await play.deliver({**said, "type": "app_mention"})
        await play.idle()
        assert len(play.slack.own()) == 1


async def test_two_replicas_with_one_redis_answer_once(
    tmp_path: Path,
    folder: Path,  # noqa: F811 - the fixture
) -> None:
    server = Server(binaries()["valkey"], folder)
    server.start()
    try:
        spec = f"{server.unix_url}?db=0&ttl=60"
        one, two = tmp_path / "one", tmp_path / "two"
        one.mkdir()
        two.mkdir()
        async with (
            fake_slack() as slack,
            scene(one, slack=slack, claims=open_claims(spec, "slack")) as first,
            scene(two, slack=slack, claims=open_claims(spec, "slack")) as second,
        ):
            for round_ in range(1, 6):
                body = json.dumps(first.envelope(slack.says("Why is the sky blue?"))).encode()
                await first.post("events", body)
                await again(second, body, 1)
                await again(first, body, 2)
                await first.idle()
                await second.idle()
                assert len(slack.own()) == round_
            assert len(first.backend.prompts) + len(second.backend.prompts) == 5

            server.kill()  # then a second answer is possible, but no question is lost
            body = json.dumps(first.envelope(slack.says("Why is the sky blue?"))).encode()
            await first.post("events", body)
            await again(first, body, 1)
            await first.idle()
            assert len(slack.own()) == 6
            assert [fact.operation for fact in first.stage.facts.of(CacheFailed)] == ["claim"]
    finally:
        server.kill()


async def test_a_thread_is_answered_in_the_order_of_its_events_and_others_do_not_wait(tmp_path: Path) -> None:
    gate = asyncio.Event()

    class Slow(SpeakingBackend):
        async def stream(self, prompt: Any) -> Any:
            if "slow" in prompt.messages[-1].text:
                await gate.wait()
            async for event in super().stream(prompt):
                yield event

    async with scene(tmp_path, backends={"first": Slow(), "second": SpeakingBackend()}) as play:
        root = play.slack.says("slow sky")
        await play.deliver(root)
        await play.deliver(play.slack.says("quick", thread=root["ts"]))
        await play.deliver(play.slack.says("other thread"))
        await until(lambda: len(play.slack.own()) == 1)
        gate.set()
        await play.idle()
        assert [message["text"].split("says ")[1] for message in play.slack.own()] == [
            "other thread",
            "slow sky",
            "quick",
        ]
