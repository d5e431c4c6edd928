"""One engine behind HTTP: a session, a JSON question, a chat stream with its deadlines. Knows no engine by name.

What the drivers share and nothing else: connections that are used again, limits phase by phase, what a broken
connection or an error body means. Which route, which body and which names are the driver's; what a chunk says is
`chat_events`'. docs/adr/0001 says why the client is our own.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from router.backends.beside import Changed, Check, Connected, on_connection
from router.backends.chat_events import ChatEvents
from router.backends.chat_request import naming
from router.backends.failures import answered
from router.backends.timeouts import Deadline, Timeouts, late
from router.core.errors import (
    BackendBroken,
    BackendFailed,
    BackendRefused,
    BackendUnreachable,
    BlendUnavailable,
    Refused,
)
from router.core.reply import Event

Body = Mapping[str, Any]
CHAT = "/v1/chat/completions"
_JSON = {"Content-Type": "application/json"}

_DRAIN = 0.5  # seconds to wait for the end of the body after [DONE], so that the connection can be used again
_LONGEST_ERROR = 64 * 1024  # bytes read of an error answer
_LONGEST_ANSWER = 16 * 1024 * 1024  # bytes read of a whole answer; without a bound an engine could fill the memory
_RENDERINGS = 3  # how often a request is rendered anew because the engine changed under it


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the driver rendered it: its JSON, and what about the engine it was rendered for."""

    body: Body
    held: object = None


class HttpEngine:
    """The HTTP side of one engine. `name` is the backend's name in the policy, `base_url` the server's root.

    `api_key` is sent as a bearer token. `unheld` is what the engine says when it does not hold the adapter that
    it was asked for: a 400 or 404 with such words becomes BlendUnavailable. Connections are used again unless
    `keeps_connections` is off. `connected(held)` runs beside every call that comes with `held` and made a new
    connection: it starts when the connection is made, and nothing of the answer is heard before it has agreed.
    What it raises goes to the caller, but after Changed the call is rendered again. The session opens on first
    use, in the loop that uses it. Raises ValueError for an unusable URL.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
        unheld: re.Pattern[str] | None = None,
        keeps_connections: bool = True,
        connected: Connected | None = None,
    ) -> None:
        self.name = name
        self.timeouts = timeouts or Timeouts()
        self._base_url = _root(base_url)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        if not keeps_connections:
            self._headers["Connection"] = "close"
        self._unheld = unheld
        self._connected = connected
        self._urls: dict[str, URL] = {}
        self._session: aiohttp.ClientSession | None = None

    async def look(self, path: str) -> tuple[int, bytes]:
        """GET `path` within the connect limit: status and body.

        Raises BackendUnreachable, and BackendBroken for an endless body.
        """
        try:
            async with (
                asyncio.timeout(self.timeouts.connect),
                self._client().get(self._url(path), allow_redirects=False) as response,
            ):
                return response.status, await self._whole(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as wrong:
            raise self._unreachable(wrong) from wrong

    async def read(self, path: str) -> Any:
        """GET `path` and parse it. Raises BackendUnreachable, and BackendFailed for what is not 200 and JSON."""
        status, body = await self.look(path)
        if status != 200:
            raise answered(self.name, status, body.decode("utf-8", "replace"))
        return self._parsed(path, body)

    async def send(self, path: str, body: Body, *, held: object = None) -> tuple[int, bytes]:
        """POST `body` within the first-token limit: status and whole answer.

        Raises BackendFailed, and whatever `connected` raises.
        """
        deadline = Deadline(self.name, self.timeouts)
        response = await self._post(path, body, "", deadline, held)
        try:
            async with deadline.waiting():
                return response.status, await self._whole(response)
        except TimeoutError as wrong:
            raise deadline.missed() from wrong
        except (aiohttp.ClientError, OSError) as wrong:
            raise self._unreachable(wrong) from wrong
        finally:
            response.close()

    async def ask(self, path: str, render: Callable[[], Call]) -> Any:
        """POST what `render` gives and parse the whole answer. Raises as `stream` does."""
        for _ in range(_RENDERINGS):
            call = render()
            try:
                status, said = await self.send(path, call.body, held=call.held)
            except Changed:
                continue
            if status != 200:
                raise self._refused(status, said.decode("utf-8", "replace"))
            return self._parsed(path, said)
        raise self._restless()

    async def stream(
        self, render: Callable[[], Call], request_id: str, events: ChatEvents
    ) -> AsyncGenerator[Event, None]:
        """POST what `render` gives to /v1/chat/completions and yield its events, as the port promises them.

        `render` is called inside the iterator, so what it raises (BlendUnavailable) comes from there. Closing the
        generator closes the connection, which is how an engine learns to free the slot.
        Raises BackendFailed, and BlendUnavailable where the engine says that it does not hold the adapter.
        """
        deadline = Deadline(self.name, self.timeouts)
        response = await self._begin(render, request_id, deadline)
        try:
            if response.status != 200:
                raise self._refused(response.status, await self._error_body(response, deadline))
            while not events.done:
                try:
                    piece = await self._piece(response, deadline)
                except BackendFailed:
                    if events.finished:
                        return  # the answer is whole; only the token count is lost
                    raise
                try:
                    found = events.feed(piece) if piece else events.close()
                except BackendRefused as wrong:
                    raise self._unheld_or(wrong, "" if deadline.began else wrong.message) from None
                for event in found:
                    yield event
                if found:  # a keep-alive comment is not a token: it moves no deadline
                    deadline.moved()
            if not events.finished:
                events.close()
            await _drain(response)
        finally:
            response.close()  # a finished body has released its connection already; an unfinished one is cut

    async def aclose(self) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # the engine's own limit answers 429; do not queue here
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),  # nothing of one caller's answer may reach the next request
                trace_configs=[] if self._connected is None else [on_connection(self._connected)],
            )
        return self._session

    def _url(self, path: str) -> URL:
        """Return the URL of `path`, parsed once."""
        found = self._urls.get(path)
        if found is None:
            found = self._urls[path] = URL(self._base_url + path)
        return found

    async def _begin(
        self, render: Callable[[], Call], request_id: str, deadline: Deadline
    ) -> aiohttp.ClientResponse:
        for _ in range(_RENDERINGS):
            call = render()
            try:
                return await self._post(CHAT, call.body, request_id, deadline, call.held)
            except Changed:
                continue
        raise self._restless()

    async def _post(
        self, path: str, body: Body, request_id: str, deadline: Deadline, held: object
    ) -> aiohttp.ClientResponse:
        """POST `body` and return the answer as it begins, whatever its status. The caller closes it."""
        check = Check(held)
        try:
            async with deadline.waiting():
                response = await self._client().post(
                    self._url(path),
                    data=json.dumps(body).encode(),
                    headers={**_JSON, **naming(request_id)},
                    allow_redirects=False,
                    trace_request_ctx=check,
                )
                try:
                    await check.agreed()
                except BaseException:
                    response.close()
                    raise
                return response
        except aiohttp.ConnectionTimeoutError as wrong:
            raise late(self.name, "connect", self.timeouts.connect) from wrong
        except TimeoutError as wrong:
            raise deadline.missed() from wrong
        except (aiohttp.ClientError, OSError) as wrong:
            raise self._unreachable(wrong) from wrong
        finally:
            check.end()

    async def _error_body(self, response: aiohttp.ClientResponse, deadline: Deadline) -> str:
        try:
            async with deadline.waiting():
                return (await self._whole(response))[:_LONGEST_ERROR].decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError, BackendBroken):
            return ""

    async def _piece(self, response: aiohttp.ClientResponse, deadline: Deadline) -> bytes:
        try:
            if piece := response.content.read_nowait():  # a timer costs more than what is there already
                return piece
            async with deadline.waiting():
                return await response.content.readany()
        except TimeoutError as wrong:
            raise deadline.missed() from wrong
        except (aiohttp.ClientError, OSError) as wrong:
            if not deadline.began:
                raise self._unreachable(wrong) from wrong
            raise BackendBroken(f"{self.name}: the answer broke off before its end", backend=self.name) from wrong

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        while piece := await response.content.readany():
            body += piece
            if len(body) > _LONGEST_ANSWER:
                raise BackendBroken(f"{self.name}: an answer is longer than {len(body)} bytes", backend=self.name)
        return bytes(body)

    def _parsed(self, path: str, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise BackendBroken(
                f"{self.name}: {path} answered {len(body)} bytes that are not JSON", backend=self.name
            ) from None

    def _refused(self, status: int, body: str) -> Refused:
        wrong = answered(self.name, status, body)
        return self._unheld_or(wrong, body) if status in (400, 404) else wrong

    def _unheld_or(self, wrong: BackendFailed, said: str) -> Refused:
        if self._unheld is None or not self._unheld.search(said):
            return wrong
        return BlendUnavailable(
            f"{wrong.message}; the engine has given this adapter up since it was last looked at"
        )

    def _restless(self) -> BlendUnavailable:
        return BlendUnavailable(
            f"{self.name}: the engine's adapters changed {_RENDERINGS} times; nothing was sent"
        )

    def _unreachable(self, wrong: Exception) -> BackendUnreachable:
        errno = getattr(wrong, "errno", None)  # str(wrong) would show callers the engine's address
        reason = os.strerror(errno) if isinstance(errno, int) and errno > 0 else type(wrong).__name__
        return BackendUnreachable(f"{self.name}: the engine does not answer ({reason})", backend=self.name)


async def _drain(response: aiohttp.ClientResponse) -> None:
    if response.content.at_eof():
        return
    try:
        async with asyncio.timeout(_DRAIN):
            while await response.content.readany():
                pass
    except (aiohttp.ClientError, TimeoutError, OSError):
        return  # the answer is whole; the connection is closed instead of kept


def _root(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{base_url!r} is not the root of a server; write http://host:port")
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValueError(f"{base_url!r} ends in /v1; give the root of the server, /v1/... is added to it")
    return base_url.rstrip("/")
