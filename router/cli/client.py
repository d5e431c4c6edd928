"""A client of a running Agoge over HTTP, for `agoge ask` and `agoge chat`. Knows the wire and no terminal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp

from router.backends.chat_events import SseLines
from router.core.errors import AgogeError

Message = Mapping[str, str]
URL = "http://127.0.0.1:8080"  # where `agoge serve` listens unless told otherwise
KEY = "AGOGE_API_KEY"
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 900.0  # a large model on a small machine thinks for long; Ctrl-C is quicker


class Refusal(AgogeError):
    """The server gives no answer, or breaks one off. `told` is its error object as it came."""

    def __init__(self, message: str, told: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.told = told or {"error": {"message": message, "type": "client_error", "param": None, "code": None}}


class UrlInvalid(AgogeError):
    """--url is not an address of a server; the message says what one looks like."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has begun: who speaks, where that is explained, and the text as it comes."""

    adapters: str
    label: str
    backend: str
    stand_in: bool
    explained: str | None
    text: AsyncIterator[str]

    @property
    def who(self) -> str:
        """Who speaks, in a few words."""
        if self.stand_in:
            return f"a stand-in without adapters ({self.backend})"
        if self.backend == "router":
            return "Agoge itself"
        speakers = ", ".join(" x ".join(each.split("=")) for each in self.adapters.split(",") if each)
        return (speakers or "unknown") + (f" ({self.label})" if self.label else "")


class Client:
    """Talks to the server at `url`, with or without `/v1`; an asynchronous context manager.

    Every failure is a Refusal with a sentence for a person. Raises UrlInvalid at once on what is no address.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UrlInvalid(f"{url!r:.80} is no address; it looks like {URL}")
        self._url = url.rstrip("/").removesuffix("/v1")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    async def __aenter__(self) -> Client:
        patience = aiohttp.ClientTimeout(None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=patience)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    @asynccontextmanager
    async def answering(self, messages: Sequence[Message], model: str, **more: Any) -> AsyncIterator[Answer]:
        """Ask, and yield the answer once it has begun; leaving the block early stops it at the server too."""
        body = {"model": model, "messages": list(messages), "stream": True, **more}
        async with self._asked("POST", "/v1/chat/completions", body) as response:
            said = response.headers
            yield Answer(
                unquote(said.get("x-agoge-adapters", "")),
                unquote(said.get("x-agoge-label", "")),
                unquote(said.get("x-agoge-backend", "")),
                said.get("x-agoge-stand-in") == "true",
                _explained(response),
                self._pieces(response),
            )

    async def answer(
        self, messages: Sequence[Message], model: str, **more: Any
    ) -> tuple[dict[str, Any], str | None]:
        """Return the whole answer as the server's object, and where it is explained."""
        body = {"model": model, "messages": list(messages), **more}
        async with self._asked("POST", "/v1/chat/completions", body) as response:
            return await self._object(response), _explained(response)

    async def get(self, path: str) -> dict[str, Any]:
        """Return the object at `path`."""
        async with self._asked("GET", path) as response:
            return await self._object(response)

    async def decide(self, text: str, model: str) -> dict[str, Any]:
        """Return the decision about `text`; no engine is called."""
        async with self._asked("POST", "/v1/decisions", {"input": text, "model": model}) as response:
            return await self._object(response)

    @asynccontextmanager
    async def _asked(self, method: str, path: str, body: object = None) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.request(
                method, self._url + path, json=body, allow_redirects=False
            ) as response:
                if response.status >= 300:
                    raise await self._refusal(response)
                yield response
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or "no connection"
            raise Refusal(
                f"nobody answers at {self._url} ({reason}); `agoge serve` starts a server, --url names another"
            ) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Refusal(f"{self._url} broke the connection ({type(error).__name__})") from None

    async def _object(self, response: aiohttp.ClientResponse) -> dict[str, Any]:
        try:
            told = json.loads(await response.read())
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise self._foreign()
        return told

    async def _refusal(self, response: aiohttp.ClientResponse) -> Refusal:
        try:
            told = json.loads(await response.read())
            message = told["error"]["message"]
        except (ValueError, KeyError, TypeError):
            return Refusal(f"{self._url} answers with status {response.status} and not as Agoge does")
        hint = f"; set {KEY}" if response.status == 401 and not self._headers else ""
        return Refusal(f"{message}{hint}", told)

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncIterator[str]:
        lines, ended = SseLines(), False
        async for piece in response.content.iter_any():
            try:
                for data in lines.feed(piece):
                    if data == b"[DONE]":
                        ended = True
                        continue
                    event = json.loads(data)
                    if "error" in event:
                        raise Refusal(event["error"]["message"], event)
                    for choice in event["choices"]:
                        if text := choice["delta"].get("content"):
                            yield text
            except (ValueError, KeyError, TypeError, AttributeError):
                raise self._foreign() from None
        if not ended:
            raise Refusal("the server broke the answer off")

    def _foreign(self) -> Refusal:
        return Refusal(f"{self._url} does not speak as Agoge does; --url names another server")


def _explained(response: aiohttp.ClientResponse) -> str | None:
    """Return the path at which an answer is explained. The host is ours: no key goes where a header points."""
    link = response.links.get("describedby")
    return None if link is None else urlsplit(str(link["url"])).path
