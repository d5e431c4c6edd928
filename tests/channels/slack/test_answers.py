"""Questions answered in Slack: who speaks, what is shown while it thinks, streaming and what replaces it."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from router.core.errors import BackendTimeout, BackendUnreachable
from router.core.reply import Delta, Finish
from tests.channels.slack.fake import BOT, BOT_USER, PERSON, TEAM
from tests.channels.slack.scene import button, scene
from tests.stubs import SpeakingBackend, until


def line(message: dict[str, Any]) -> str:
    """Return the quiet line under an answer."""
    (context,) = [block for block in message["blocks"] if block["type"] == "context"]
    return str(context["elements"][0]["text"])


async def test_a_question_is_streamed_with_the_expert_named_first_and_explained_below(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        asked = await play.asks("Why is the sky blue?")
        (answer,) = play.slack.own()
        assert answer["text"] == "core=1.0,physics=0.8 says Why is the sky blue?"
        assert answer["thread_ts"] == asked["ts"]
        assert line(answer) == "core + physics · physics 0.90"
        assert answer["metadata"]["event_type"] == "agoge_answer"
        status = [call["status"] for call in play.slack.of("assistant.threads.setStatus")]
        assert status == ["reads the thread…", "asks core + physics…"]
        methods = [call.method for call in play.slack.calls]
        assert methods.index("chat.startStream") > max(
            i for i, name in enumerate(methods) if name == "assistant.threads.setStatus"
        )
        assert methods[-1] == "chat.stopStream"
        start = play.slack.of("chat.startStream")[0]
        assert (start["recipient_team_id"], start["recipient_user_id"]) == (TEAM, PERSON)


async def test_a_russian_question_is_spoken_to_in_russian(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        await play.asks("почему небо голубое?")
        (answer,) = play.slack.own()
        assert button(answer, "agoge_why")["text"]["text"] == "Почему?"
        assert play.slack.of("assistant.threads.setStatus")[-1]["status"] == "спрашивает: core + physics…"


async def test_slack_is_acknowledged_at_once_however_long_the_engine_takes(tmp_path: Path) -> None:
    hanging = SpeakingBackend(hangs_after=0)
    async with scene(tmp_path, backends={"first": hanging, "second": SpeakingBackend()}) as play:
        started = time.monotonic()
        answer = await play.deliver(play.slack.says("Why is the sky blue?"))
        assert (answer.status_code, time.monotonic() - started < 3) == (200, True)
        await until(lambda: len(play.slack.of("assistant.threads.setStatus")) == 2)
        assert play.slack.own() == []  # nothing is said yet, but who is asked is shown
        for task in play.channel._tasks:
            task.cancel()
        await until(lambda: hanging.open_streams == 0)


async def test_a_mention_is_answered_in_its_thread_without_the_mention(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        asked = await play.asks(f"<@{BOT_USER}> why is the sky blue?", channel="C1")
        (answer,) = play.slack.own("C1")
        assert answer["thread_ts"] == asked["ts"]
        (prompt,) = play.backend.prompts
        assert [message.text for message in prompt.messages] == ["why is the sky blue?"]


async def test_the_thread_is_the_conversation_and_only_its_people_and_we_are_in_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        play.slack.page = 2  # several pages
        root = play.slack.says("the sky at noon", channel="C1")["ts"]
        play.slack.says("build passed", channel="C1", thread=root, bot_id="B9", subtype="bot_message")
        await play.asks(f"<@{BOT_USER}> what colour?", channel="C1", thread=root)
        play.slack.says("joined", channel="C1", thread=root, subtype="channel_join")
        await play.asks(f"<@{BOT_USER}> and at night?", channel="C1", thread=root)
        said = [(message.role, message.text) for message in play.backend.prompts[-1].messages]
        assert said[0] == ("user", "the sky at noon")
        assert said[1] == ("user", "what colour?")
        assert said[2][0] == "assistant"
        assert said[2][1].endswith("says what colour?")
        assert said[3:] == [("user", "and at night?")]


async def test_a_bare_directive_holds_for_the_thread(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        asked = await play.asks("включить режим: физика+агоге")
        (confirmed,) = play.slack.own()
        assert "core + physics" in confirmed["text"]
        assert confirmed.get("blocks") is None  # nobody spoke: nothing to explain or to judge
        assert play.backend.prompts == []
        await play.asks("привет", thread=asked["ts"])
        (prompt,) = play.backend.prompts
        assert prompt.blend.weights == {"core": 1.0, "physics": 0.8}
        assert [message.text for message in prompt.messages] == ["привет"]
        assert line(play.slack.own()[-1]) == "core + physics · вы выбрали сами"


async def test_events_out_of_order_see_only_what_was_said_before_them(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        first = play.slack.says("the sky")
        second = play.slack.says("marathon", thread=first["ts"])
        for event in (second, first):
            await play.deliver(event)
            await play.idle()
        said = [[message.text for message in prompt.messages] for prompt in play.backend.prompts]
        assert said == [["the sky", "marathon"], ["the sky"]]


@pytest.mark.parametrize(
    "more",
    [
        {"bot_id": "B9"},
        {"subtype": "message_changed"},
        {"subtype": "message_deleted"},
        {"subtype": "bot_message"},
        {"user": BOT_USER, "bot_id": BOT},
        {"hidden": True},
    ],
)
async def test_bots_edits_and_deletions_ask_nothing(tmp_path: Path, more: dict[str, Any]) -> None:
    async with scene(tmp_path) as play:
        assert (await play.deliver({**play.slack.says("Why is the sky blue?"), **more})).status_code == 200
        await play.idle()
        assert play.backend.prompts == []
        assert play.slack.of("chat.startStream") == play.slack.of("chat.postMessage") == []


async def test_a_channel_message_that_does_not_mention_us_asks_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        await play.deliver(play.slack.says("Why is the sky blue?", channel="C1"))
        await play.idle()
        assert play.backend.prompts == []


async def test_where_streaming_is_refused_the_answer_is_posted_and_updated(tmp_path: Path) -> None:
    slow = SpeakingBackend(events=[Delta("**First** & "), Delta("second "), Delta("third"), Finish("stop")])
    async with scene(tmp_path, backends={"first": slow, "second": SpeakingBackend()}) as play:
        play.slack.always["chat.startStream"] = "not_allowed_token_type"
        await play.asks("Why is the sky blue?")
        (answer,) = play.slack.own()
        sections = [block["text"]["text"] for block in answer["blocks"] if block["type"] == "section"]
        assert sections == ["*First* &amp; second third"]
        assert line(answer) == "core + physics · physics 0.90"
        assert play.slack.of("chat.update")


async def test_updates_are_throttled(tmp_path: Path) -> None:
    class Steady(SpeakingBackend):
        async def stream(self, prompt: Any) -> Any:
            for index in range(40):
                yield Delta(f"word{index} ")
                await asyncio.sleep(0.02)
            yield Finish("stop")

    async with scene(tmp_path, backends={"first": Steady(), "second": SpeakingBackend()}, pace=0.3) as play:
        play.slack.always["chat.startStream"] = "not_allowed_token_type"
        await play.asks("Why is the sky blue?")
        await play.idle()
        moments = [call.at for call in play.slack.calls if call.method in ("chat.postMessage", "chat.update")]
        assert 2 <= len(moments) <= 8  # of 40 pieces
        assert all(later - earlier > 0.25 for earlier, later in pairwise(moments[:-1]))
        (answer,) = play.slack.own()
        assert "word0 " in answer["text"]
        assert "word39" in answer["text"]


async def test_a_stream_that_expires_goes_on_as_an_updated_message(tmp_path: Path) -> None:
    pieces = SpeakingBackend(events=[Delta("one "), Delta("two "), Delta("three"), Finish("stop")])
    async with scene(tmp_path, backends={"first": pieces, "second": SpeakingBackend()}) as play:
        play.slack.expires = True
        await play.asks("Why is the sky blue?")
        (answer,) = play.slack.own()
        sections = [block["text"]["text"] for block in answer["blocks"] if block["type"] == "section"]
        assert sections == ["one two three"]
        assert line(answer) == "core + physics · physics 0.90"


async def test_a_full_slack_is_waited_for_as_long_as_it_says(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        play.slack.full["chat.startStream"] = ["1"]
        play.slack.full["chat.stopStream"] = ["1"]
        await play.asks("Why is the sky blue?")
        (answer,) = play.slack.own()
        assert answer["text"].endswith("says Why is the sky blue?")
        for method in ("chat.startStream", "chat.stopStream"):
            first, second = [call.at for call in play.slack.calls if call.method == method]
            assert second - first >= 1.0


@pytest.mark.parametrize("streams", [True, False])
async def test_a_long_answer_goes_on_in_the_next_message(tmp_path: Path, streams: bool) -> None:
    paragraphs = [f"Paragraph {index}. " + "Слова & «дела». " * 40 for index in range(60)]
    code = "```python\n" + "\n".join(f"print({index})" for index in range(900)) + "\n```"
    text = "\n\n".join([*paragraphs[:30], code, *paragraphs[30:]])
    events = [*(Delta(text[at : at + 700]) for at in range(0, len(text), 700)), Finish("stop")]
    long = SpeakingBackend(events=events)
    async with scene(tmp_path, backends={"first": long, "second": SpeakingBackend()}) as play:
        if not streams:
            play.slack.always["chat.startStream"] = "feature_not_enabled"
        await play.asks("Why is the sky blue?")
        messages = play.slack.own()
        assert len(messages) >= len(text) // 12_000
        if streams:
            shown = [message["text"] for message in messages]
            assert all(message.count("```") % 2 == 0 for message in shown)
        else:
            shown = [
                "\n".join(block["text"]["text"] for block in message["blocks"] if block["type"] == "section")
                for message in messages
            ]
        for index in range(60):
            assert sum(f"Paragraph {index}. " in message for message in shown) == 1
        for index in range(900):
            assert sum(f"print({index})" in message for message in shown) == 1
        assert [bool(m.get("blocks") and m["blocks"][-1]["type"] == "context_actions") for m in messages] == [
            *[False] * (len(messages) - 1),
            True,
        ]


async def test_the_next_question_sees_a_long_answer_as_one(tmp_path: Path) -> None:
    events = [Delta("Paragraph. " * 100 + "\n\n") for _ in range(20)]
    long = SpeakingBackend(events=[*events, Finish("stop")])
    async with scene(tmp_path, backends={"first": long, "second": SpeakingBackend()}) as play:
        asked = await play.asks("Why is the sky blue?")
        assert len(play.slack.own()) > 1
        await play.asks("go on", thread=asked["ts"])
        roles = [message.role for message in long.prompts[-1].messages]
        assert roles == ["user", "assistant", "user"]
        assert long.prompts[-1].messages[1].text.count("Paragraph.") == 2000


async def test_nobody_is_called_by_what_a_model_writes(tmp_path: Path) -> None:
    events = [Delta("hey <"), Delta("!channel> and <@U123>"), Finish("stop")]
    loud = SpeakingBackend(events=events)
    for refused in (None, "feature_not_enabled"):
        async with scene(tmp_path, backends={"first": loud, "second": SpeakingBackend()}) as play:
            if refused:
                play.slack.always["chat.startStream"] = refused
            await play.asks("Why is the sky blue?")
            sent = str([call.args for call in play.slack.calls if call.method.startswith("chat.")])
            assert "<!channel>" not in sent
            assert "<@U123>" not in sent
            assert "!channel" in sent


async def test_an_answer_that_breaks_off_says_so_and_is_not_continued_by_anybody(tmp_path: Path) -> None:
    breaks = SpeakingBackend(fails=BackendTimeout("socket 10.0.0.7 is gone"), fails_after=2)
    spare = SpeakingBackend()
    async with scene(tmp_path, backends={"first": breaks, "second": spare}) as play:
        asked = await play.asks("Why is the sky blue?")
        (answer,) = play.slack.own()
        assert answer["text"].startswith(
            "core=1.0,physics=0.8 says \n\n⚠️ The answer broke off: The engine did not"
        )
        assert "10.0.0.7" not in answer["text"]
        assert answer.get("blocks") is None
        assert spare.prompts == []
        breaks.fails = None
        await play.asks("once more", thread=asked["ts"])
        assert [m.role for m in breaks.prompts[-1].messages] == [
            "user",
            "user",
        ]  # the broken half is nobody's word


async def test_an_engine_that_cannot_be_reached_is_a_short_notice(tmp_path: Path) -> None:
    down = BackendUnreachable("connect to 10.0.0.7:8080 failed")
    engines = {"first": SpeakingBackend(fails=down), "second": SpeakingBackend(fails=down)}
    async with scene(tmp_path, backends=engines) as play:
        await play.asks("почему небо голубое?")
        (notice,) = play.slack.own()
        assert notice["text"] == "⚠️ Движок недоступен. Никто другой вместо него не отвечает."
        assert notice["metadata"]["event_type"] == "agoge_notice"


async def test_an_empty_answer_and_an_empty_question_are_said_to_be_empty(tmp_path: Path) -> None:
    silent = SpeakingBackend(events=[Finish("stop")])
    async with scene(tmp_path, backends={"first": silent, "second": SpeakingBackend()}) as play:
        await play.asks("Why is the sky blue?")
        await play.asks("", subtype="file_share")
        assert [message["text"] for message in play.slack.own()] == [
            "⚠️ The expert returned an empty answer.",
            "⚠️ I read text only, and there is none in this message.",
        ]


async def test_an_answer_cut_by_its_length_says_so(tmp_path: Path) -> None:
    short = SpeakingBackend(events=[Delta("half"), Finish("length")])
    async with scene(tmp_path, backends={"first": short, "second": SpeakingBackend()}) as play:
        await play.asks("Why is the sky blue?")
        assert line(play.slack.own()[0]).endswith("cut off at the length limit")


async def test_a_thread_that_nobody_can_write_to_frees_the_engine(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        for method in ("chat.startStream", "chat.postMessage"):
            play.slack.always[method] = "is_archived"
        await play.deliver(play.slack.says("Why is the sky blue?"))
        await until(lambda: len(play.backend.prompts) == 1)
        await play.idle()
        assert play.backend.open_streams == 0
        assert play.slack.own() == []


async def test_an_answer_that_outlives_the_service_is_closed_and_frees_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.channels.slack.app.GRACE", 0.1)
    hanging = SpeakingBackend(hangs_after=2)
    async with scene(tmp_path, backends={"first": hanging, "second": SpeakingBackend()}) as play:
        await play.deliver(play.slack.says("Why is the sky blue?"))
        await until(lambda: bool(play.slack.streaming))
        await play.channel.aclose()
        assert play.slack.streaming == set()
        assert play.slack.own()[0]["metadata"]["event_type"] == "agoge_broken"
        assert hanging.open_streams == 0
