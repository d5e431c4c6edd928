"""Slack's Web API as a real server: keeps messages, streams and calls, and can be told to refuse or to be full.

Only what a client can see: the methods' names, arguments, answers, limits and errors, from docs.slack.dev.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

TEAM, BOT_USER, BOT, PERSON = "T1", "UBOT", "B1", "UANN"


@dataclass
class Call:
    """One call that came in: its method, its arguments, and when, in seconds of the event loop."""

    method: str
    args: dict[str, Any]
    at: float


@dataclass
class FakeSlack:
    """What a test may look at and script. `refuses`: method -> error codes, used up one by one, or "always" """

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    messages: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    refuses: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    always: dict[str, str] = field(default_factory=dict)
    full: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    expires: bool = False
    streaming: set[str] = field(default_factory=set)
    responses: list[dict[str, Any]] = field(default_factory=list)
    page: int = 1000
    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    socket: web.WebSocketResponse | None = None
    _clock: int = 0

    def ts(self) -> str:
        """Return the next message's ts."""
        self._clock += 1
        return f"1700000000.{self._clock:06d}"

    def says(self, text: str, *, channel: str = "D1", thread: str | None = None, **more: Any) -> dict[str, Any]:
        """Let a person write `text`; return the event's inner part."""
        message = {"type": "message", "user": PERSON, "text": text, "ts": self.ts(), "team": TEAM, **more}
        if thread is not None:
            message["thread_ts"] = thread
        self.messages[channel].append(message)
        return {**message, "channel": channel, "channel_type": "im" if channel.startswith("D") else "channel"}

    def of(self, method: str) -> list[dict[str, Any]]:
        """Return the arguments of every call of `method`."""
        return [call.args for call in self.calls if call.method == method]

    def own(self, channel: str = "D1") -> list[dict[str, Any]]:
        """Return our messages in a channel, oldest first."""
        return [message for message in self.messages[channel] if message.get("user") == BOT_USER]

    async def answer(self, method: str, args: dict[str, Any]) -> web.Response:
        """Answer one call."""
        self.calls.append(Call(method, args, asyncio.get_running_loop().time()))
        if self.full[method]:
            headers = {"Retry-After": self.full[method].pop(0)}
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
        code = self.refuses[method].pop(0) if self.refuses[method] else self.always.get(method)
        if code is not None:
            return web.json_response({"ok": False, "error": code})
        try:
            told = getattr(self, "_" + method.replace(".", "_"))(args)
        except _Refused as error:
            return web.json_response({"ok": False, "error": str(error)})
        return web.json_response({"ok": True, **told})

    def _auth_test(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"team_id": TEAM, "team": "Academy", "user_id": BOT_USER, "user": "agoge", "bot_id": BOT}

    def _apps_connections_open(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"url": self.url.replace("http://", "ws://") + "/socket"}

    def _chat_postMessage(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's own name
        _check_message(args)
        return self._add(args)

    def _chat_startStream(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if not args.get("thread_ts"):
            raise _Refused("invalid_thread_ts")
        if not args["channel"].startswith("D") and not (
            args.get("recipient_team_id") and args.get("recipient_user_id")
        ):
            raise _Refused("missing_recipient_team_id")
        _check_markdown(args["markdown_text"])
        told = self._add({**args, "text": args["markdown_text"]})
        self.streaming.add(told["ts"])
        return told

    def _chat_appendStream(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        message = self._streaming(args)
        _check_markdown(args["markdown_text"])
        _check_markdown(message["text"] + args["markdown_text"])
        message["text"] += args["markdown_text"]
        return {"ts": args["ts"]}

    def _chat_stopStream(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        message = self._streaming(args)
        _check_blocks(args.get("blocks") or [])
        self.streaming.discard(args["ts"])
        message.update({key: args[key] for key in ("blocks", "metadata") if key in args})
        return {"ts": args["ts"]}

    def _chat_update(self, args: dict[str, Any]) -> dict[str, Any]:
        if args["ts"] in self.streaming:
            raise _Refused("streaming_state_conflict")
        _check_message(args)
        if len(args["text"].encode()) > 4000:
            raise _Refused("msg_too_long")
        message = self._find(args)
        message.update({key: args[key] for key in ("text", "blocks", "metadata") if key in args})
        return {"ts": args["ts"]}

    def _chat_postEphemeral(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        _check_message(args)
        return {"message_ts": self.ts()}

    def _views_open(self, args: dict[str, Any]) -> dict[str, Any]:
        assert args["view"]["type"] == "modal"
        assert len(args["view"]["title"]["text"]) <= 24
        _check_blocks(args["view"]["blocks"])
        return {}

    def _conversations_replies(self, args: dict[str, Any]) -> dict[str, Any]:
        thread = [
            message
            for message in self.messages[args["channel"]]
            if args["ts"] in (message["ts"], message.get("thread_ts"))
        ]
        if not thread:
            raise _Refused("thread_not_found")
        parent, replies = thread[:1], [message for message in thread[1:] if message["ts"] <= args["latest"]]
        listed = [*parent, *replies]
        if args.get("include_all_metadata") != "true":
            listed = [{key: value for key, value in each.items() if key != "metadata"} for each in listed]
        start = int(args.get("cursor") or 0)
        end = start + min(self.page, int(args["limit"]))
        cursor = str(end) if end < len(listed) else ""
        return {"messages": listed[start:end], "response_metadata": {"next_cursor": cursor}}

    def _assistant_threads_setStatus(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {}

    def _assistant_threads_setSuggestedPrompts(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        assert 1 <= len(args["prompts"]) <= 4
        return {}

    def _add(self, args: dict[str, Any]) -> dict[str, Any]:
        ts = self.ts()
        kept = {key: args[key] for key in ("text", "blocks", "metadata", "thread_ts") if key in args}
        message = {"type": "message", "user": BOT_USER, "bot_id": BOT, "ts": ts, **kept}
        self.messages[args["channel"]].append(message)
        return {"ts": ts, "channel": args["channel"]}

    def _find(self, args: dict[str, Any]) -> dict[str, Any]:
        found = [message for message in self.messages[args["channel"]] if message["ts"] == args["ts"]]
        if not found:
            raise _Refused("message_not_found")
        return found[0]

    def _streaming(self, args: dict[str, Any]) -> dict[str, Any]:
        if self.expires:
            self.streaming.discard(args["ts"])
        if args["ts"] not in self.streaming:
            raise _Refused("message_not_in_streaming_state")
        return self._find(args)


class _Refused(Exception):
    pass


def _check_markdown(text: str) -> None:
    if not text:
        raise _Refused("no_text")
    if len(text) > 12_000:
        raise _Refused("msg_too_long")


def _check_message(args: dict[str, Any]) -> None:
    if not args.get("text"):
        raise _Refused("no_text")
    blocks = args.get("blocks") or []
    _check_blocks(blocks)
    if len(json.dumps(blocks, ensure_ascii=False)) > 13_200:
        raise _Refused("msg_blocks_too_long")


def _check_blocks(blocks: list[dict[str, Any]]) -> None:
    """Refuse what Block Kit refuses."""
    if len(blocks) > 50:
        raise _Refused("invalid_blocks")
    for block in blocks:
        if block["type"] == "section" and not 1 <= len(block["text"]["text"]) <= 3000:
            raise _Refused("invalid_blocks")
        for element in block.get("elements") or ():
            values = [element.get("value")]
            if element["type"] == "feedback_buttons":
                values = [element[side]["value"] for side in ("positive_button", "negative_button")]
            if any(value is not None and not 1 <= len(value) <= 2000 for value in values):
                raise _Refused("invalid_blocks")


@asynccontextmanager
async def fake_slack() -> AsyncIterator[FakeSlack]:
    """Serve the fake on a loopback port."""
    fake = FakeSlack()

    async def api(request: web.Request) -> web.Response:
        assert request.headers["Authorization"].startswith(("Bearer xoxb-", "Bearer xapp-"))
        if request.content_type == "application/json":
            args = await request.json()
        else:
            args = {**request.query, **await request.post()}
        return await fake.answer(request.match_info["method"], args)

    async def respond(request: web.Request) -> web.Response:
        fake.responses.append(await request.json())
        if fake.full["response_url"]:
            return web.Response(status=429, headers={"Retry-After": fake.full["response_url"].pop(0)})
        return web.Response(text="ok")

    async def socket(request: web.Request) -> web.WebSocketResponse:
        fake.socket = web.WebSocketResponse()
        await fake.socket.prepare(request)
        await fake.socket.send_json({"type": "hello", "num_connections": 1})
        async for message in fake.socket:
            if message.type is WSMsgType.TEXT:
                fake.acknowledged.append(json.loads(message.data))
        return fake.socket

    app = web.Application()
    app.router.add_route("*", "/api/{method}", api)
    app.router.add_post("/respond", respond)
    app.router.add_get("/socket", socket)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    fake.url = f"http://127.0.0.1:{port}"
    try:
        yield fake
    finally:
        if fake.socket is not None:
            await fake.socket.close()
        await runner.cleanup()
