"""TGI (text-generation-inference) over HTTP, with our own thin client. Knows no policy and no adapter files.

TGI serves one adapter per request, chosen by `model`, and answers an unknown one from the *bare base model* with
status 200 and the unknown id echoed back. So this module holds a closed registry of the names the engine was
launched with, and a blend outside it is refused before a connection is opened. docs/adr/0001 says why the client
is our own.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from router.backends.chat_events import ChatEvents
from router.backends.chat_request import tgi_messages, tgi_parameters
from router.backends.failures import answered
from router.backends.timeouts import Deadline, Timeouts, late
from router.core.errors import BackendBroken, BackendFailed, BackendUnreachable, BlendUnavailable
from router.core.reply import Event, Inventory, Prompt

BASE_NAME = "tgi"
"""The one `model` that TGI answers from the base on purpose; never an adapter's name."""

_ADAPTER = re.compile(r"^([^=@]+)(?:=([^@]+))?(?:@(.+))?$")  # TGI's own grammar, utils/adapter.py
_DRAIN = 0.5  # seconds to wait for the end of the body after [DONE], so that the connection can be used again
_LONGEST_ERROR = 64 * 1024  # bytes read of an error answer


def parse_lora_adapters(text: str) -> tuple[str, ...]:
    """Return the request-side names in TGI's `LORA_ADAPTERS`, in order; none for an empty text.

    Items are comma separated: `id`, `id@revision`, `name=path`, `name=path@revision`. Raises ValueError with
    TGI's words for what TGI would not start with, and for a name given twice (TGI would load both and serve the
    later one) or reserved for the base model.
    """
    names: list[str] = []
    for item in (part.strip() for part in text.split(",")) if text.strip() else ():
        found = _ADAPTER.match(item)
        if found is None or item.count("=") > 1 or item.count("@") > 1:
            raise ValueError(
                f"Invalid LoRA adapter format: {item!r}; an item of LORA_ADAPTERS is id, id@revision, name=path "
                "or name=path@revision"
            )
        if found[1] in names:
            raise ValueError(f"LORA_ADAPTERS names {found[1]!r} twice; TGI would serve the later one")
        names.append(_checked(found[1]))
    return tuple(names)


class TgiBackend:
    """One TGI server. `name` is the backend's name in the policy, `base_url` the server's root (no `/v1`).

    `names` are the adapters the engine was launched with: no route of TGI lists them. `api_key` is sent as a
    bearer token. The HTTP session opens on first use, in the loop that uses it, and keeps connections alive.
    Raises ValueError for an unusable URL, for no names, and for the reserved name.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        names: Sequence[str],
        *,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.name = name
        self._base_url = _root(base_url)
        self._inventory = Inventory(names=frozenset(_checked(adapter) for adapter in names))
        if not self._inventory.names:
            raise ValueError(f"backend {name}: no adapter names; TGI lists none itself, so give its LORA_ADAPTERS")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeouts = timeouts or Timeouts()
        self._session: aiohttp.ClientSession | None = None

    async def inventory(self) -> Inventory:
        """Return the adapters the engine was launched with, once its health check succeeds.

        Raises BackendUnreachable when `GET /health` does not answer 200 within the connect limit.
        """
        try:
            async with (
                asyncio.timeout(self._timeouts.connect),
                self._client().get(f"{self._base_url}/health", allow_redirects=False) as response,
            ):
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as wrong:
            raise self._unreachable(wrong) from wrong
        if status != 200:
            raise BackendUnreachable(f"{self.name}: the engine says it is unhealthy ({status})", backend=self.name)
        return self._inventory

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer of exactly `prompt.blend`. See the port for events and errors.

        Closing the generator closes the connection, which is how TGI learns to free the slot.
        """
        served = self._inventory.served_name(prompt.blend)
        if served is None:
            raise BlendUnavailable(
                f"{self.name} was not launched with the blend {prompt.blend.id} ({prompt.blend}); "
                "nothing was sent, it would have answered from the bare base model"
            )
        body = {
            **tgi_parameters(prompt.parameters),
            "model": served,
            "messages": tgi_messages(prompt),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        events = ChatEvents(self.name)
        deadline = Deadline(self.name, self._timeouts)
        async with self._opened(body, prompt.request_id, deadline) as response:
            while not events.done:
                try:
                    piece = await self._read(response, deadline)
                except BackendFailed:
                    if events.finished:
                        return  # the answer is whole; only the token count is lost
                    raise
                found = events.feed(piece) if piece else events.close()
                for event in found:
                    yield event
                if found:  # a keep-alive comment is not a token: it moves no deadline
                    deadline.moved()
            if not events.finished:
                events.close()
            await _drain(response)

    async def aclose(self) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # the engine's own limit answers 429; do not queue here
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),  # nothing of one caller's answer may reach the next request
            )
        return self._session

    @asynccontextmanager
    async def _opened(
        self, body: dict[str, Any], request_id: str, deadline: Deadline
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """POST `body` and hold the answer open; raise for a status that is not 200. Always closes at once."""
        try:
            async with deadline.waiting():
                response = await self._client().post(
                    f"{self._base_url}/v1/chat/completions",
                    json=body,
                    headers={"X-Request-Id": request_id} if request_id else None,
                    allow_redirects=False,
                )
        except aiohttp.ConnectionTimeoutError as wrong:
            raise late(self.name, "connect", self._timeouts.connect) from wrong
        except TimeoutError as wrong:
            raise deadline.missed() from wrong
        except (aiohttp.ClientError, OSError) as wrong:
            raise self._unreachable(wrong) from wrong
        try:
            if response.status != 200:
                raise answered(self.name, response.status, await self._error_body(response, deadline))
            yield response
        finally:
            response.close()  # a finished body has released its connection already; an unfinished one is cut

    async def _error_body(self, response: aiohttp.ClientResponse, deadline: Deadline) -> str:
        try:
            async with deadline.waiting():
                return (await response.content.read(_LONGEST_ERROR)).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ""

    async def _read(self, response: aiohttp.ClientResponse, deadline: Deadline) -> bytes:
        try:
            async with deadline.waiting():
                return await response.content.readany()
        except TimeoutError as wrong:
            raise deadline.missed() from wrong
        except (aiohttp.ClientError, OSError) as wrong:
            if not deadline.began:
                raise self._unreachable(wrong) from wrong
            raise BackendBroken(f"{self.name}: the answer broke off before its end", backend=self.name) from wrong

    def _unreachable(self, wrong: Exception) -> BackendUnreachable:
        errno = getattr(wrong, "errno", None)  # str(wrong) would show callers the engine's address
        reason = os.strerror(errno) if isinstance(errno, int) and errno > 0 else type(wrong).__name__
        return BackendUnreachable(f"{self.name}: the engine does not answer ({reason})", backend=self.name)


async def _drain(response: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(_DRAIN):
            while await response.content.readany():
                pass
    except (aiohttp.ClientError, TimeoutError, OSError):
        return  # the answer is whole; the connection is closed instead of kept


def _checked(adapter: str) -> str:
    if not adapter or adapter == BASE_NAME:
        raise ValueError(f"an adapter cannot be named {adapter!r}: TGI answers that name from the bare base model")
    return adapter


def _root(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{base_url!r} is not the root of a TGI server; write http://host:port")
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValueError(f"{base_url!r} ends in /v1; give the root of the server, /v1/... is added to it")
    return base_url.rstrip("/")
