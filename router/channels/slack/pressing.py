"""Buttons under an answer: "why?" opens the explanation, a thumb becomes an outcome. Knows no HTTP.

A decision is explained from memory, this process's or the shared one, or else decided again from the thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from router.channels.slack.answering import Answerer, Caller, ThreadTooLong
from router.channels.slack.blocks import Asked, Pressed, as_sections, explanation, modal
from router.channels.slack.calls import Slack, SlackFailed
from router.channels.slack.history import conversation
from router.channels.slack.incoming import Me, Question, is_persons, plain
from router.channels.slack.phrases import Phrases
from router.core.errors import Refused
from router.core.outcome import Outcome
from router.core.scores import Neighbour
from router.ports import OutcomesUnavailable
from router.recent import Taken
from router.service import Router

NEIGHBOURS = 3


class Buttons:
    """What happens when somebody presses one."""

    def __init__(
        self,
        router: Router,
        slack: Slack,
        answerer: Answerer,
        caller: Caller,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._router = router
        self._slack = slack
        self._answerer = answerer
        self._caller = caller
        self._clock = clock

    async def why(self, press: Mapping[str, Any], value: str, me: Me, words: Phrases) -> None:
        """Open the explanation as a modal, or show it to this person alone where Slack opens none."""
        about = Asked.read(value)
        channel, user = _where(press)
        texts = await self.explained(
            about, Question(me.team, channel, user, about.ts, about.thread, ""), me, words
        )
        try:
            await self._slack.call(
                "views.open", wait=False, trigger_id=press.get("trigger_id"), view=modal(texts, words)
            )
        except SlackFailed:  # the trigger lives for three seconds
            await self.whisper(press, texts)

    async def explained(self, about: Asked, asked: Question | None, me: Me, words: Phrases) -> list[str]:
        """Return the explanation as mrkdwn texts, or one that says that there is none."""
        tenant, role = self._caller()
        taken, note = await self._router.recent.look_up(about.decision_id, tenant, role), ""
        if taken is None and asked is not None and about.ts:
            taken, note = await self._decided_again(asked, me), words.again
        if taken is None:
            return [words.forgotten]
        return explanation(taken, taken.nearest, words, note)

    async def _decided_again(self, asked: Question, me: Me) -> Taken | None:
        """Decide once more from the thread; None where that cannot be read or would be refused now."""
        try:
            replies = await self._answerer.replies(asked)
            said = next((reply for reply in replies if reply.get("ts") == asked.ts and is_persons(reply)), None)
            if said is None:
                return None
            again = replace(asked, text=plain(said.get("text") or "", me.user))
            routed = await self._router.decide(self._answerer.ask(conversation(replies, again, me), again))
        except (SlackFailed, ThreadTooLong, Refused):
            return None
        near: Sequence[Neighbour] | None = routed.nearest
        if near is None and routed.subject:
            near = await self._router.scorer.nearest(routed.subject, NEIGHBOURS)
        return replace(routed.taken, nearest=None if near is None else tuple(near))

    async def thumb(self, press: Mapping[str, Any], value: str, words: Phrases) -> None:
        """Keep what the person thought of the decision, and tell this person alone whether it was kept."""
        pressed = Pressed.read(value)
        tenant, role = self._caller()
        outcome = Outcome(
            decision_id=pressed.decision_id,
            verdict=pressed.verdict,
            decided=pressed.decided,
            tenant=tenant,
            at=self._clock(),
            role=role,
            text=pressed.text,
            channel="slack",
            scored=pressed.text is not None,
        )
        try:
            await self._router.feedback.keep(outcome)
            said = words.thanks
        except OutcomesUnavailable:
            said = words.not_kept
        await self.whisper(press, [said])

    async def whisper(self, press: Mapping[str, Any], texts: Sequence[str]) -> None:
        """Show mrkdwn texts to whoever pressed, in the thread. Raises SlackFailed."""
        channel, user = _where(press)
        message = press.get("message") or {}
        await self._slack.call(
            "chat.postEphemeral",
            channel=channel,
            user=user,
            thread_ts=message.get("thread_ts") or message.get("ts"),
            text=texts[0],
            blocks=as_sections(texts),
        )


def _where(press: Mapping[str, Any]) -> tuple[str, str]:
    """Return the channel and the person of an interaction."""
    channel = (press.get("channel") or {}).get("id") or (press.get("container") or {}).get("channel_id") or ""
    return str(channel), str((press.get("user") or {}).get("id") or "")
