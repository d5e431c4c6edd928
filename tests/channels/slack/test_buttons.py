"""Buttons under an answer: why it came out so, and what a person thought of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from router.channels.slack.blocks import VALUE, Pressed
from router.core.outcome import Outcome
from tests.channels.slack.fake import PERSON
from tests.channels.slack.scene import Scene, button, scene


def thumb(message: dict[str, Any], side: str) -> dict[str, Any]:
    """Return what Slack sends when the `positive` or `negative` thumb is pressed."""
    both = button(message, "agoge_thumbs")
    return {"type": "feedback_buttons", "action_id": "agoge_thumbs", "value": both[f"{side}_button"]["value"]}


async def answered(play: Scene, text: str = "Why is the sky blue?") -> dict[str, Any]:
    await play.asks(text)
    return play.slack.own()[-1]


@pytest.mark.parametrize(("side", "verdict"), [("positive", "right"), ("negative", "wrong")])
async def test_a_thumb_becomes_an_outcome(tmp_path: Path, side: str, verdict: Any) -> None:
    async with scene(tmp_path) as play:
        answer = await answered(play)
        await play.presses(answer, thumb(answer, side))
        (outcome,) = play.kept.outcomes
        assert outcome == Outcome(
            decision_id=answer["metadata"]["event_payload"]["decision_id"],
            verdict=verdict,
            decided="physics",
            tenant="default",
            at=outcome.at,
            text="Why is the sky blue?",
            channel="slack",
        )
        assert abs(outcome.at - __import__("time").time()) < 60
        (whisper,) = play.slack.of("chat.postEphemeral")
        assert (whisper["user"], whisper["text"]) == (PERSON, "Kept, thank you.")


async def test_an_outcome_belongs_to_the_tenant_of_slacks_people(tmp_path: Path) -> None:
    policy = (
        "version: 1\nbase: some/base\nadapters:\n  core: { from: ./core, when: always }\n"
        "compose: { at_most: 1 }\nbackends: [first, second]\ntenants:\n  clinic: {}\nroles:\n  editor: {}\n"
    )
    async with scene(tmp_path, policy=policy, caller=("clinic", "editor")) as play:
        answer = await answered(play)
        await play.presses(answer, thumb(answer, "negative"))
        assert [(o.tenant, o.role) for o in play.kept.outcomes] == [("clinic", "editor")]


async def test_a_verdict_that_was_not_kept_is_not_called_kept(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        answer = await answered(play)
        play.kept.away = True
        await play.presses(answer, thumb(answer, "positive"))
        assert play.slack.of("chat.postEphemeral")[0]["text"].startswith("This was not kept")


async def test_without_a_store_there_are_no_thumbs(tmp_path: Path) -> None:
    async with scene(tmp_path, thumbs=False) as play:
        answer = await answered(play)
        assert [block["type"] for block in answer["blocks"]] == ["context", "actions"]


async def test_where_slack_knows_no_thumbs_the_answer_goes_without(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        play.slack.refuses["chat.stopStream"] = ["invalid_blocks"]
        answer = await answered(play)
        assert [block["type"] for block in answer["blocks"]] == ["context", "actions"]


async def test_a_button_that_is_none_of_ours_keeps_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        answer = await answered(play)
        for value in (
            "",
            "{",
            "[]",
            '{"id":1}',
            '{"id":"d","v":"maybe","l":null,"t":null}',
            '{"id":"d","v":"right","l":1,"t":0}',
        ):
            await play.presses(answer, {"type": "button", "action_id": "agoge_thumbs", "value": value})
        assert play.kept.outcomes == []


def test_a_subject_that_does_not_fit_into_a_button_is_left_out() -> None:
    fits = Pressed("dec_1", "right", "physics", "я" * 1900).value()
    assert (len(fits) <= VALUE, Pressed.read(fits).text) == (True, "я" * 1900)
    for text in ("я" * 2000, "\\" * 1500, "😀" * 1000):
        value = Pressed("dec_1", "wrong", "physics", text).value()
        assert len(value.encode("utf-16-le")) // 2 <= VALUE
        assert Pressed.read(value) == Pressed("dec_1", "wrong", "physics", None)


async def test_why_opens_the_explanation(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        answer = await answered(play)
        await play.presses(answer, button(answer, "agoge_why"))
        (opened,) = play.slack.of("views.open")
        text = json.dumps(opened["view"], ensure_ascii=False)
        assert opened["trigger_id"].startswith("trigger")
        assert "*core + physics*" in text
        assert "rule 3: best by score among the open gates: physics" in text
        assert "physics: 0.90" in text
        assert "sport: would have joined at 0.50; it has 0.05" in text
        assert "why is the sky blue (physics)" in text
        assert answer["metadata"]["event_payload"]["decision_id"] in text


async def test_why_is_whispered_where_slack_opens_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        answer = await answered(play)
        play.slack.always["views.open"] = "expired_trigger_id"
        await play.presses(answer, button(answer, "agoge_why"))
        (whisper,) = play.slack.of("chat.postEphemeral")
        assert "rule 3" in json.dumps(whisper["blocks"])
        assert whisper["thread_ts"] == answer["thread_ts"]


async def test_another_replica_decides_again_from_the_thread_and_says_so(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    async with scene(one) as first, scene(two, slack=first.slack) as second:
        root = (await first.asks("mode: physics"))["ts"]
        await first.asks("hello", thread=root)
        answer = first.slack.own()[-1]
        await first.asks("mode: academic", thread=root)  # later, so it changes nothing about the answer before
        await second.presses(answer, button(answer, "agoge_why"))
        text = json.dumps(first.slack.of("views.open")[0]["view"], ensure_ascii=False)
        assert "this is what would be decided now" in text
        assert "the user named physics" in text
        assert second.backend.prompts == []


async def test_a_forgotten_decision_whose_question_is_gone_is_forgotten(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        answer = await answered(play)
        play.stage.router.recent._taken.clear()
        play.slack.messages["D1"] = [message for message in play.slack.messages["D1"] if message["user"] != PERSON]
        await play.presses(answer, button(answer, "agoge_why"))
        assert "not remembered here any more" in json.dumps(play.slack.of("views.open")[0]["view"])


async def test_a_press_that_is_delivered_twice_counts_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        answer = await answered(play)
        for _ in range(2):
            play.events = 70  # the same trigger and moment
            await play.presses(answer, thumb(answer, "positive"))
        assert len(play.kept.outcomes) == 1
