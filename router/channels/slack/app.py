"""Slack's events, commands and buttons -> the parts that answer them, through Bolt. Acknowledged first.

One of the modules that know Slack's SDK. What Bolt logs of requests is not passed on: it would quote prompts.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from router.channels.slack.answering import Answerer, Caller
from router.channels.slack.blocks import THUMBS, WHY
from router.channels.slack.calls import Slack, SlackFailed
from router.channels.slack.commands import Commands
from router.channels.slack.incoming import Me, Question, question
from router.channels.slack.once import Once
from router.channels.slack.phrases import phrases
from router.channels.slack.pressing import Buttons
from router.channels.slack.suggestions import language, suggestions
from router.channels.slack.voice import PACE
from router.ports import Claims
from router.service import Router
from router.stream import place

WEB_API = "https://slack.com/api/"
GRACE = 5.0  # seconds that open answers may take when the service stops
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What Slack gave us. `signing_secret` is for HTTP, `app_token` for Socket Mode; `url` is the Web API's."""

    bot_token: str
    signing_secret: str = ""
    app_token: str = ""
    url: str = WEB_API

    def __repr__(self) -> str:
        return f"Credentials(url={self.url!r})"  # never the secrets: tracebacks and logs show representations


class SlackChannel:
    """The whole channel. Made inside a running event loop; `aclose` lets open answers end, and disconnects."""

    def __init__(
        self,
        router: Router,
        credentials: Credentials,
        caller: Caller,
        *,
        claims: Claims | None = None,
        pace: float = PACE,
    ) -> None:
        self._router = router
        self._caller = caller
        self._claims = claims
        self._session = aiohttp.ClientSession()
        quiet = _quiet()
        self.credentials = credentials
        self.client = AsyncWebClient(
            token=credentials.bot_token,
            base_url=credentials.url,
            session=self._session,
            logger=quiet,
            retry_handlers=[],
        )
        self._slack = Slack(self.client)
        self._once = Once(claims, router.record)
        self._answerer = Answerer(router, self._slack, caller, thumbs=router.feedback.store is not None, pace=pace)
        self._buttons = Buttons(router, self._slack, self._answerer, caller)
        self._commands = Commands(router, self._slack, self._answerer, self._buttons, caller)
        self._tasks: set[asyncio.Task[None]] = set()
        self.bolt = AsyncApp(
            name="agoge",
            client=self.client,
            signing_secret=credentials.signing_secret or "none: Socket Mode is not signed",
            logger=quiet,
            attaching_conversation_kwargs_enabled=False,
        )
        self._listen()

    async def aclose(self) -> None:
        """Wait a moment for open answers, give up the others, disconnect."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._claims is not None:
            await self._claims.aclose()
        await self._session.close()

    def _listen(self) -> None:
        bolt = self.bolt

        async def thread(event: dict[str, Any]) -> None:
            self._start(self._suggest(event))

        async def message(event: dict[str, Any], context: Any) -> None:
            me = _me(context)
            if (asked := question(event, me)) is not None:
                self._start(self._answer(asked, me))

        async def press(ack: Callable[[], Coroutine[Any, Any, Any]], body: dict[str, Any], context: Any) -> None:
            await ack()
            self._start(self._press(body, _me(context)))

        async def command(ack: Callable[[], Coroutine[Any, Any, Any]], body: dict[str, Any], context: Any) -> None:
            await ack()
            self._start(self._command(body, _me(context)))

        bolt.event("assistant_thread_started")(thread)
        bolt.event("assistant_thread_context_changed")(thread)
        bolt.event("app_mention")(message)
        bolt.event("message")(message)
        bolt.action(WHY)(press)
        bolt.action(THUMBS)(press)
        bolt.command(re.compile("^/"))(command)  # whatever the manifest calls it

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on after the acknowledgement; the task is held, or it could be collected half-way."""
        task = asyncio.create_task(self._safely(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _safely(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except SlackFailed as error:
            _log.warning("Slack refused: %s", error)
        except Exception as error:
            _log.error("a request from Slack failed: %s", place(error))

    async def _answer(self, asked: Question, me: Me) -> None:
        if not await self._once.first(asked.key):
            return
        routed = await self._answerer.answer(asked, me)
        if routed is not None:
            self._commands.remember(asked, routed.id, phrases(asked.text))

    async def _suggest(self, event: Mapping[str, Any]) -> None:
        opened = event.get("assistant_thread") or {}
        modes = self._router.state.modes[self._caller()]
        await self._slack.call(
            "assistant.threads.setSuggestedPrompts",
            channel_id=opened.get("channel_id"),
            thread_ts=opened.get("thread_ts"),
            title=language(modes.policy).who_answers,
            prompts=suggestions(modes),
        )

    async def _press(self, body: Mapping[str, Any], me: Me) -> None:
        action = body["actions"][0]
        name, value = action.get("action_id"), str(action.get("value") or "")
        pressed = f"press:{me.team}:{body.get('trigger_id')}:{action.get('action_ts')}:{name}:{value[:200]}"
        if not await self._once.first(pressed):
            return
        words = phrases(_answer_text(body))
        if name == WHY:
            await self._buttons.why(body, value, me, words)
        else:
            await self._buttons.thumb(body, value, words)

    async def _command(self, body: Mapping[str, Any], me: Me) -> None:
        if await self._once.first(f"command:{me.team}:{body.get('trigger_id')}"):
            await self._commands.run(body, me)


def _me(context: Any) -> Me:
    return Me(str(context.team_id or ""), str(context.bot_user_id or ""), str(context.bot_id or ""))


def _answer_text(body: Mapping[str, Any]) -> str:
    """Return the button's own label where it stands: it is in the language of the answer."""
    for block in (body.get("message") or {}).get("blocks") or ():
        for element in block.get("elements") or ():
            if element.get("action_id") == WHY:
                return str((element.get("text") or {}).get("text") or "")
    return str((body.get("message") or {}).get("text") or "")


def _quiet() -> logging.Logger:
    """Return the logger for Slack's SDK: errors only, and of those only what cannot quote a request."""
    logger = logging.getLogger("slack_sdk.agoge")
    logger.setLevel(logging.ERROR)
    if not logger.filters:
        logger.addFilter(_without_quotations)
    return logger


def _without_quotations(record: logging.LogRecord) -> bool:
    """Keep an error's first words and the kind of its exception."""
    error = record.exc_info[1] if record.exc_info else None
    head = re.split(r"[(:]", record.getMessage(), maxsplit=1)[0].strip()
    record.msg, record.args, record.exc_info = f"{head} ({place(error)})" if error else head, (), None
    record.exc_text = None
    return True
