"""The slash command, and the prompts that an assistant thread suggests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from router.core.errors import BackendUnreachable
from router.core.reply import Delta, Finish
from tests.channels.slack.fake import BOT_USER
from tests.channels.slack.scene import Scene, scene
from tests.stubs import POLICY, SpeakingBackend


def said(play: Scene) -> str:
    """Return the last answer to a command."""
    assert all(response["response_type"] == "ephemeral" for response in play.slack.responses)
    return json.dumps(play.slack.responses[-1], ensure_ascii=False)


async def test_help_in_the_language_of_the_asker(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        for text, part in [("", "How to ask"), ("help", "How to ask"), ("помощь", "Как спросить")]:
            answer = await play.commands(text)
            assert (answer.status_code, answer.text) == (200, "")
            assert part in said(play)
        assert play.backend.prompts == []


async def test_modes_lists_what_this_caller_may_ask_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        await play.commands("modes")
        assert "• physics (also: физика)" in said(play)
        assert "• academic, alone (also: академический)" in said(play)
    async with scene(tmp_path, policy=POLICY + "may_ask: []\n") as play:
        await play.commands("режимы")
        assert "academic" not in said(play)


async def test_a_question_is_answered_to_its_asker_alone(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        await play.commands("Why is the sky <blue> & wide?")
        assert "core=1.0,physics=0.8 says Why is the sky" in said(play)
        assert "core + physics · physics 0.90" in said(play)
        assert [call.method for call in play.slack.calls if call.method.startswith("chat.")] == []
        await play.commands("why")
        assert "rule 3: best by score among the open gates: physics" in said(play)


async def test_why_about_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        await play.commands("почему")
        assert "Я давно не отвечал вам" in said(play)


async def test_why_is_about_the_last_answer_in_this_channel(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        await play.asks(f"<@{BOT_USER}> marathon?", channel="C1")
        await play.commands("Why is the sky blue?", channel="C2")
        await play.commands("why", channel="C1")
        assert "sport" in said(play).split("rule 3")[1][:80]


async def test_a_long_answer_to_a_command_comes_in_at_most_five_messages(tmp_path: Path) -> None:
    for paragraphs, messages in [(20, 4), (200, 5)]:
        events = [*(Delta("Слова & дела. " * 90 + "\n\n") for _ in range(paragraphs)), Finish("stop")]
        long = SpeakingBackend(events=events)
        async with scene(tmp_path, backends={"first": long, "second": SpeakingBackend()}) as play:
            play.slack.full["response_url"] = ["0"]
            await play.commands("Why is the sky blue?")
            assert len(play.slack.responses) == messages + 1  # one of them was told to come again
            for response in play.slack.responses:
                assert all(len(b["text"]["text"]) <= 3000 for b in response["blocks"] if b["type"] == "section")
            assert "core + physics" in said(play)
            assert ("does not fit here" in said(play)) is (paragraphs == 200)


async def test_a_failure_is_a_notice(tmp_path: Path) -> None:
    down = BackendUnreachable("10.0.0.7 is down")
    engines = {"first": SpeakingBackend(fails=down), "second": SpeakingBackend(fails=down)}
    async with scene(tmp_path, backends=engines) as play:
        await play.commands("Why is the sky blue?")
        assert "The engine cannot be reached" in said(play)
        assert "10.0.0.7" not in said(play)
        await play.commands("mode: chemistry")
        assert "no adapter is called 'chemistry'" in said(play)


async def opened(play: Scene, kind: str) -> list[dict[str, str]]:
    thread: dict[str, Any] = {"user_id": "UANN", "channel_id": "D1", "thread_ts": "1.2", "context": {}}
    answer = await play.deliver({"type": kind, "assistant_thread": thread, "event_ts": "1.3"})
    assert answer.status_code == 200
    await play.idle()
    call = play.slack.of("assistant.threads.setSuggestedPrompts")[-1]
    assert (call["channel_id"], call["thread_ts"]) == ("D1", "1.2")
    return list(call["prompts"])


async def test_an_assistant_thread_suggests_the_policys_modes(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        for kind in ("assistant_thread_started", "assistant_thread_context_changed"):
            prompts = await opened(play, kind)
            assert [prompt["title"] for prompt in prompts] == [
                "Академический режим",
                "Режим: физика + агоге",
                "Режим: спорт + агоге",
                "Авто",
            ]
        thread = play.slack.says("first")["ts"]
        for prompt, expected in zip(
            prompts, ["academic", "core + physics", "core + sport", "по каждому вопросу"], strict=True
        ):
            await play.asks(prompt["message"], thread=thread)  # what is suggested is understood
            assert expected in play.slack.own()[-1]["text"]
        assert play.backend.prompts == []


async def test_what_may_not_be_asked_for_is_not_suggested(tmp_path: Path) -> None:
    async with scene(tmp_path, policy=POLICY + "may_ask: []\n") as play:
        titles = [prompt["title"] for prompt in await opened(play, "assistant_thread_started")]
        assert titles == ["Режим: физика + агоге", "Режим: спорт + агоге", "Авто"]


async def test_a_policy_without_russian_names_suggests_in_english(tmp_path: Path) -> None:
    policy = "\n".join(
        line.split(", aliases")[0] + (" }" if ", aliases" in line else "") for line in POLICY.split("\n")
    )
    async with scene(tmp_path, policy=policy) as play:
        prompts = await opened(play, "assistant_thread_started")
        assert [prompt["title"] for prompt in prompts] == [
            "Mode: academic",
            "Mode: physics + core",
            "Mode: sport + core",
            "Auto",
        ]
