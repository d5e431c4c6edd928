"""The slash command: help, modes, why, or a question whose answer only its author sees. Knows no HTTP.

A question asked this way has no thread, so it begins a conversation of its own each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from router.channels.slack.answering import Answerer, Caller
from router.channels.slack.blocks import Asked, as_sections, footer, spoken, summary
from router.channels.slack.calls import Slack
from router.channels.slack.history import conversation
from router.channels.slack.incoming import Me, Question, plain
from router.channels.slack.markdown import calm
from router.channels.slack.mrkdwn import escape, sections
from router.channels.slack.phrases import RUSSIAN, Phrases, phrases, told
from router.channels.slack.pressing import Buttons
from router.channels.slack.suggestions import listing
from router.channels.slack.voice import POSTED, shortened
from router.core.errors import Refused
from router.core.facts import RequestRefused
from router.core.reply import Delta, Finish
from router.service import Router

_HELP = ("", "help", "помощь", "справка")
_MODES = ("modes", "режимы")
_WHY = ("why", "почему")
REMEMBERED = 2000  # last decisions, by channel and person
RESPONSES = 5  # that Slack takes for one command


class Commands:
    """Runs `/agoge ...`."""

    def __init__(self, router: Router, slack: Slack, answerer: Answerer, buttons: Buttons, caller: Caller) -> None:
        self._router = router
        self._slack = slack
        self._answerer = answerer
        self._buttons = buttons
        self._caller = caller
        self._last: OrderedDict[tuple[str, str], tuple[str, Phrases]] = OrderedDict()

    def remember(self, asked: Question, decision_id: str, words: Phrases) -> None:
        """Remember a person's last decision in a channel, for `why`."""
        key = asked.channel, asked.user
        self._last[key] = decision_id, words
        self._last.move_to_end(key)
        while len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

    async def run(self, command: Mapping[str, Any], me: Me) -> None:
        """Run one command. Raises SlackFailed."""
        text = plain(str(command.get("text") or ""), me.user)
        words = phrases(text)
        verb = text.strip().lower()
        channel, user = str(command.get("channel_id") or ""), str(command.get("user_id") or "")
        if verb in _HELP:
            await self._respond(command, words, [words.help])
        elif verb in _MODES:
            await self._respond(command, words, [listing(self._router.state.modes[self._caller()], words)])
        elif verb in _WHY:
            await self._why(command, (channel, user), me, words)
        else:
            asked = Question(me.team, channel, user, str(command.get("trigger_id") or ""), "", text)
            await self._question(command, asked, me, words)

    async def _why(self, command: Mapping[str, Any], key: tuple[str, str], me: Me, words: Phrases) -> None:
        if key not in self._last:
            await self._respond(command, words, [words.nothing_yet])
            return
        decision_id, spoken_to = self._last[key]
        words = RUSSIAN if words is RUSSIAN else spoken_to
        await self._respond(command, words, await self._buttons.explained(Asked(decision_id), None, me, words))

    async def _question(self, command: Mapping[str, Any], asked: Question, me: Me, words: Phrases) -> None:
        said: list[str] = []
        finish, who = "stop", ""
        try:
            ask = self._answerer.ask(conversation((), asked, me), asked)
            routed, reply = await self._router.answer(ask)
            who = spoken(routed.decision, words)
            try:
                async for event in reply.events:
                    if isinstance(event, Delta):
                        said.append(event.content)
                    elif isinstance(event, Finish):
                        finish = event.reason
            finally:
                await reply.events.aclose()
        except Refused as error:
            self._router.record(RequestRefused(error.code, error.status))
            await self._respond(command, words, [f"⚠️ {escape(told(error, words, who))}"])
            return
        texts = sections(calm("".join(said))) or [f"⚠️ {words.nothing_said}"]
        if routed.reading.confirms is not None:
            await self._respond(command, words, texts)
            return
        self.remember(asked, routed.id, words)
        line = summary(routed.decision, words, stand_in=reply.stand_in, cut_off=finish == "length")
        await self._respond(command, words, texts, footer(line, Asked(routed.id), words, None))

    async def _respond(
        self,
        command: Mapping[str, Any],
        words: Phrases,
        texts: list[str],
        under: list[dict[str, Any]] | None = None,
    ) -> None:
        """Answer so that only the author of the command sees it, in as many messages as it takes, up to five."""
        messages: list[list[str]] = [[]]
        for text in texts:
            if messages[-1] and sum(map(len, messages[-1])) + len(text) > POSTED:
                messages.append([])
            messages[-1].append(text)
        for index, message in enumerate(messages[:RESPONSES]):
            last = index == min(len(messages), RESPONSES) - 1
            lost = [words.does_not_fit] if last and len(messages) > RESPONSES else []
            blocks = [*as_sections([*message, *lost]), *(under or () if last else ())]
            await self._slack.respond(
                str(command.get("response_url") or ""),
                response_type="ephemeral",
                text=shortened(message[0]),
                blocks=blocks,
            )
