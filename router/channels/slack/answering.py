"""A question -> an answer in its thread: history, decision, status, stream, footer. Knows no event and no HTTP.

Whoever cannot be heard is not replaced: a thread whose history cannot be read is not answered (its mode would be
unknown), and a failure is a short notice, never another speaker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from router.channels.slack.blocks import Asked, Pressed, footer, spoken, summary
from router.channels.slack.calls import Slack, SlackFailed
from router.channels.slack.history import ANSWER, BROKEN, NOTICE, conversation, metadata
from router.channels.slack.incoming import Me, Question
from router.channels.slack.mrkdwn import escape
from router.channels.slack.phrases import Phrases, phrases, told
from router.channels.slack.voice import PACE, Voice
from router.core.conversation import Conversation
from router.core.errors import Refused
from router.core.facts import RequestRefused
from router.core.reply import Delta, Finish
from router.service import Ask, Routed, Router
from router.stream import Reply, place

Caller = Callable[[], tuple[str, str | None]]
"""Who Slack's people are for the policy: (tenant, role). Raises Refused."""

PAGE, PAGES = 200, 10  # messages of a thread that are read at once, and how often
_log = logging.getLogger(__name__)


class ThreadTooLong(Exception):
    """A thread has more messages than are read; half of it might miss the mode that it is in."""


class Answerer:
    """Answers questions. Each thread's in the order in which they came; threads do not wait for each other."""

    def __init__(self, router: Router, slack: Slack, caller: Caller, *, thumbs: bool, pace: float = PACE) -> None:
        self._router = router
        self._slack = slack
        self._caller = caller
        self._thumbs = thumbs
        self._pace = pace
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def answer(self, asked: Question, me: Me) -> Routed | None:
        """Answer in the thread, and return the decision when somebody spoke. Raises nothing but cancellation."""
        words = phrases(asked.text)
        key = f"{asked.team}:{asked.channel}:{asked.thread}"
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            try:
                return await self._answer(asked, me, words)
            except SlackFailed as error:  # nowhere to say it
                _log.warning("Slack refused: %s", error)
            except Exception as error:
                _log.error("an answer in Slack failed: %s", place(error))
                await self._try_notice(asked, words.internal)
        return None

    async def _answer(self, asked: Question, me: Me, words: Phrases) -> Routed | None:
        if not asked.text:
            await self.notice(asked, words.only_text)
            return None
        await self._status(asked, words.reading)
        try:
            history = await self.history(asked, me)
        except ThreadTooLong:
            await self.notice(asked, words.too_long)
            return None
        except SlackFailed as error:
            await self.notice(asked, words.no_history.format(what=error.code))
            return None
        speaking = _Speaking(words)
        status: list[asyncio.Task[None]] = []

        def decided(routed: Routed) -> None:
            speaking.routed = routed
            status.append(asyncio.create_task(self._status(asked, words.asking.format(who=speaking.who))))

        try:
            routed, reply = await self._router.answer(self.ask(history, asked), decided)
        except Refused as error:
            await self._refuse(asked, error, words, speaking)
            return None
        finally:
            await asyncio.gather(*status)  # or the status would come after the answer, and stay
        try:
            await self._speak(asked, routed, reply, words)
        finally:
            await reply.events.aclose()
        return routed

    def ask(self, history: Conversation, asked: Question) -> Ask:
        """Return a question as the router takes it."""
        tenant, role = self._caller()
        return Ask(history, None, {}, tenant, role, f"slack:{asked.channel}:{asked.ts}")

    async def history(self, asked: Question, me: Me) -> Conversation:
        """Return the conversation up to the question. Raises SlackFailed and ThreadTooLong."""
        return conversation(await self.replies(asked) if asked.follows else (), asked, me)

    async def replies(self, asked: Question) -> list[Mapping[str, Any]]:
        """Return the thread up to the question. Raises SlackFailed, and ThreadTooLong over 2,000 messages."""
        found: list[Mapping[str, Any]] = []
        cursor = None
        for _ in range(PAGES):
            page = await self._slack.ask(
                "conversations.replies",
                channel=asked.channel,
                ts=asked.thread,
                latest=asked.ts,
                inclusive="true",
                include_all_metadata="true",
                limit=PAGE,
                cursor=cursor,
            )
            found += page.get("messages") or ()
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or None
            if cursor is None:
                return found
        raise ThreadTooLong

    async def _speak(self, asked: Question, routed: Routed, reply: Reply, words: Phrases) -> None:
        finish = "stop"
        async with Voice(self._slack, asked, self._pace) as voice:
            try:
                async for event in reply.events:
                    if isinstance(event, Delta) and event.content:
                        voice.say(event.content)
                    elif isinstance(event, Finish):
                        finish = event.reason
            except Refused as error:
                self._router.record(RequestRefused(error.code, error.status))
                what = told(error, words, spoken(routed.decision, words))
                if voice.spoke:
                    voice.say(f"\n\n⚠️ {words.broke_off.format(what=what)}")
                    await voice.end(metadata(BROKEN))
                else:
                    await self.notice(asked, what)
                return
            if not voice.spoke:
                await self.notice(asked, words.nothing_said)
                return
            kind = metadata(ANSWER, decision_id=routed.id)
            if (
                routed.reading.confirms is not None
            ):  # nobody spoke: there is nothing to explain and nothing to judge
                await voice.end(kind)
                return
            await voice.end(kind, *self._footers(asked, routed, reply, words, finish))

    def _footers(
        self, asked: Question, routed: Routed, reply: Reply, words: Phrases, finish: str
    ) -> list[list[dict[str, Any]]]:
        line = summary(routed.decision, words, stand_in=reply.stand_in, cut_off=finish == "length")
        about = Asked(routed.id, asked.ts, asked.thread)
        plain = footer(line, about, words, None)
        if not self._thumbs or reply.stand_in or routed.reading.chore:
            return [plain]
        return [footer(line, about, words, thumbs(routed)), plain]

    async def _refuse(self, asked: Question, error: Refused, words: Phrases, speaking: _Speaking) -> None:
        self._router.record(RequestRefused(error.code, error.status))
        await self.notice(asked, told(error, words, speaking.who))

    async def notice(self, asked: Question, text: str) -> None:
        """Say something that is no answer. Raises SlackFailed."""
        await self._slack.call(
            "chat.postMessage",
            channel=asked.channel,
            thread_ts=asked.thread,
            text=f"⚠️ {escape(text)}",
            metadata=metadata(NOTICE),
        )

    async def _try_notice(self, asked: Question, text: str) -> None:
        try:
            await self.notice(asked, text)
        except SlackFailed as error:
            _log.warning("Slack refused: %s", error)

    async def _status(self, asked: Question, status: str) -> None:
        """Show who is at work. Not every kind of thread can show it, and no answer fails for that."""
        try:
            await self._slack.call(
                "assistant.threads.setStatus",
                wait=False,
                channel_id=asked.channel,
                thread_ts=asked.thread,
                status=status,
            )
        except SlackFailed:
            return


@dataclass
class _Speaking:
    """Who was chosen, as far as that is known when something fails."""

    words: Phrases
    routed: Routed | None = None

    @property
    def who(self) -> str:
        return "" if self.routed is None else spoken(self.routed.decision, self.words)


def thumbs(routed: Routed) -> tuple[Pressed, Pressed]:
    """Return what the two thumbs under an answer say."""
    decision = routed.decision
    # a text that did not decide by its own scores teaches a classifier nothing, so it is not handed over
    label, text = decision.label, (routed.subject or None) if decision.scored else None
    return Pressed(routed.id, "right", label, text), Pressed(routed.id, "wrong", label, text)
