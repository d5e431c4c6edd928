"""One answer, written into a thread while it comes: streamed where Slack streams, else posted and updated.

Text is taken at any pace and shown at Slack's; an answer longer than a message goes on in the next one. What was
streamed cannot be taken back, so near the end of a message text is held until it is known where to cut.
Knows no engine and no decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from router.channels.slack.calls import Slack, SlackFailed
from router.channels.slack.history import BROKEN, metadata
from router.channels.slack.incoming import Question
from router.channels.slack.markdown import calm, cut
from router.channels.slack.mrkdwn import mrkdwn, sections

STREAMED = 12_000  # characters of Markdown in one streamed message
HELD = 2_000  # of them that wait for a good place to cut
POSTED = 9_000  # in one message of sections: Slack refuses about 13,000 with everything around them
NOTIFIED = 3_900  # bytes of `text`, which chat.update refuses over 4,000
LAST_WORD = 2.0  # seconds to close a stream that is given up
PACE = 1.0  # seconds between two showings: about what chat.appendStream and chat.update allow

Blocks = Sequence[Mapping[str, Any]]


@dataclass
class _Written:
    """One message in the thread: what stands in it, and whether it is still open for streaming."""

    ts: str
    streams: bool
    text: str = ""


class Voice:
    """Use as `async with`; `say` takes text, `end` finishes. Leaving early leaves what was shown as it stands."""

    def __init__(self, slack: Slack, asked: Question, pace: float = PACE) -> None:
        self._slack = slack
        self._asked = asked
        self._pace = pace
        self._streams = True  # until Slack refuses
        self._message: _Written | None = None
        self._text = ""  # of the message that is open now, shown or not
        self._carried = ""
        self._more = asyncio.Event()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.spoke = False

    async def __aenter__(self) -> Voice:
        self._task = asyncio.create_task(self._show_as_it_comes())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None  # noqa: S101 - entered
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(error, asyncio.CancelledError) and self._message is not None and self._message.streams:
            with suppress(SlackFailed, TimeoutError):  # the service stops: nothing may seem to go on being written
                await asyncio.wait_for(self._finish((), metadata(BROKEN)), LAST_WORD)

    def say(self, text: str) -> None:
        """Take a piece. Raises SlackFailed once the thread cannot be written to any more."""
        if self._task is not None and self._task.done() and (error := self._task.exception()) is not None:
            raise error
        text = self._carried + text
        self._carried = "<" if text.endswith("<") else ""  # the next piece may make it a mention
        self._text += calm(text.removesuffix(self._carried) if self._carried else text)
        self.spoke = self.spoke or bool(text.strip())
        self._more.set()

    async def end(self, about: Mapping[str, Any], *footers: Blocks) -> None:
        """Show the rest, then the first of `footers` that Slack accepts. Raises SlackFailed.

        Nothing may have been said: then there is no message and no footer.
        """
        assert self._task is not None  # noqa: S101 - entered
        self._text, self._carried = self._text + self._carried, ""
        self._ended.set()
        self._more.set()
        await self._task
        if self._message is not None and not self._message.streams and len(self._text) <= POSTED:
            self._message.text = self._text  # the update that brings the footer brings the rest as well
        else:
            await self._show(final=True)
        if self._message is None:
            return None
        for footer in footers[:-1]:
            try:
                return await self._finish(footer, about)
            except SlackFailed as error:
                if error.code not in ("invalid_blocks", "invalid_blocks_format"):
                    raise
        return await self._finish(footers[-1] if footers else (), about)

    async def _show_as_it_comes(self) -> None:
        while not self._ended.is_set():
            await self._more.wait()
            self._more.clear()
            if not self._ended.is_set():
                await self._show(final=False)
                try:
                    await asyncio.wait_for(self._ended.wait(), self._pace)
                except TimeoutError:
                    continue

    async def _show(self, *, final: bool) -> None:
        while True:
            limit = self._limit()
            if len(self._text) > limit:
                shown = len(self._message.text) if self._message and self._message.streams else 0
                head, rest = cut(self._text, limit, shown)
                if await self._write(head):
                    await self._finish((), None)
                    self._message, self._text = None, rest
            elif (
                not self._text.strip()
                or (len(self._text) > limit - HELD and not final)
                or await self._write(self._text)
            ):
                return

    def _limit(self) -> int:
        streams = self._message.streams if self._message else self._streams
        return STREAMED if streams else POSTED

    async def _write(self, text: str) -> bool:
        """Make the open message say `text`, which begins with what it says already.

        False: streaming has just been refused, and the text must be cut anew for a smaller message.
        """
        message = self._message
        if message is None:
            return await self._begin(text)
        if message.text == text:
            return True
        if message.streams:
            try:
                await self._call("chat.appendStream", ts=message.ts, markdown_text=text[len(message.text) :])
                message.text = text
                return True
            except SlackFailed:  # the stream expired, or the message is gone: the update tells which
                await self._leave_stream(message)
                if len(text) > POSTED:
                    return False
        await self._update(message, text)
        return True

    async def _begin(self, text: str) -> bool:
        asked = self._asked
        if self._streams:
            try:
                begun = await self._call(
                    "chat.startStream",
                    thread_ts=asked.thread,
                    recipient_team_id=asked.person_team or asked.team,
                    recipient_user_id=asked.user,
                    markdown_text=text,
                )
                self._message = _Written(str(begun["ts"]), True, text)
                return True
            except SlackFailed:
                self._streams = False  # not in this workspace, or not in this kind of channel
                if len(text) > POSTED:
                    return False
        posted = await self._call("chat.postMessage", thread_ts=asked.thread, unfurl_links=False, **_posted(text))
        self._message = _Written(str(posted["ts"]), False, text)
        return True

    async def _leave_stream(self, message: _Written) -> None:
        self._streams = message.streams = False
        try:
            await self._slack.call("chat.stopStream", wait=False, channel=self._asked.channel, ts=message.ts)
        except SlackFailed:
            return  # it had ended by itself

    async def _update(self, message: _Written, text: str, footer: Blocks = (), about: object = None) -> None:
        await self._call("chat.update", ts=message.ts, metadata=about, **_posted(text, footer))
        message.text = text

    async def _finish(self, footer: Blocks, about: Mapping[str, Any] | None) -> None:
        message = self._message
        assert message is not None  # noqa: S101 - called behind a `_write`
        if message.streams:
            try:
                blocks = list(footer) or None
                await self._call("chat.stopStream", ts=message.ts, blocks=blocks, metadata=about)
                message.streams = False
                return
            except SlackFailed as error:
                if error.code.startswith("invalid_blocks"):
                    raise
                self._streams = message.streams = False
                self._text, message.text = message.text, ""  # write it again, by update, cut for that
                await self._show(final=True)
                message = self._message
        if (footer or about) and message is not None:
            await self._update(message, message.text, footer, about)

    async def _call(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        return await self._slack.call(method, channel=self._asked.channel, **arguments)


def _posted(markdown: str, footer: Blocks = ()) -> dict[str, Any]:
    """Return a message for where Markdown is not understood: sections, and a text for notifications."""
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": text}} for text in sections(markdown)]
    return {"text": shortened(mrkdwn(markdown)), "blocks": [*blocks, *footer]}


def shortened(text: str) -> str:
    """Return a message's `text` within what chat.update accepts; where it has blocks, nobody sees it."""
    whole = text.encode()
    return text if len(whole) <= NOTIFIED else whole[:NOTIFIED].decode(errors="ignore") + "…"
