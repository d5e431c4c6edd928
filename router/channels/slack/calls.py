"""Calls of Slack's Web API: waits when told to, and says in one word why a call failed. Knows no message.

This and `app.py`, `routes.py`, `socket.py` are the modules that know Slack's SDK.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

ATTEMPTS = 4
PATIENCE = 60.0  # seconds that one call waits in all for Slack to have room
_SECONDS = 1.0  # to wait where Slack does not say how long


class SlackFailed(Exception):
    """Slack did not do it; `code` is its own word (`channel_not_found`), or `unreachable`."""

    def __init__(self, method: str, code: str) -> None:
        super().__init__(f"{method}: {code}")
        self.code = code


class Slack:
    """One workspace's Web API."""

    def __init__(
        self,
        client: AsyncWebClient,
        patience: float = PATIENCE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._patience = patience
        self._sleep = sleep

    async def call(self, method: str, *, wait: bool = True, **arguments: Any) -> Mapping[str, Any]:
        """Call a method that takes JSON. Raises SlackFailed; with `wait`, once Slack had time for it."""
        return await self._patiently(method, wait, json=_given(arguments))

    async def ask(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        """Call a method that only reads; those take no JSON. Raises SlackFailed."""
        return await self._patiently(method, True, params=_given(arguments), http_verb="GET")

    async def respond(self, url: str, **message: Any) -> None:
        """Answer a command at the address that came with it. Raises SlackFailed."""
        session = self._client.session
        assert session is not None  # noqa: S101 - the channel always opens one
        waited = 0.0
        for _ in range(ATTEMPTS):
            try:
                async with session.post(url, json=message, timeout=aiohttp.ClientTimeout(30)) as response:
                    status, headers = response.status, response.headers
            except (aiohttp.ClientError, TimeoutError):
                raise SlackFailed("response_url", "unreachable") from None
            if status == 200:
                return
            seconds = _after(headers)
            waited += seconds
            if status != 429 or waited > self._patience:
                break
            await self._sleep(seconds)
        raise SlackFailed("response_url", "ratelimited" if status == 429 else f"http_{status}")

    async def _patiently(self, method: str, wait: bool, **how: Any) -> Mapping[str, Any]:
        waited = 0.0
        for attempt in range(ATTEMPTS):
            try:
                answer = await self._client.api_call(method, **how)
                return answer.data if isinstance(answer.data, Mapping) else {}
            except SlackApiError as error:
                code = _code(error)
                seconds = _after(error.response.headers) if code == "ratelimited" else 0.0
                waited += seconds
                if code != "ratelimited" or not wait or waited > self._patience or attempt == ATTEMPTS - 1:
                    raise SlackFailed(method, code) from None  # its own text holds what was sent
                await self._sleep(seconds)
            except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError):
                raise SlackFailed(method, "unreachable") from None
        raise AssertionError("unreachable: the last attempt returns or raises")


def _code(error: SlackApiError) -> str:
    response = error.response
    if getattr(response, "status_code", 200) == 429:
        return "ratelimited"
    data = getattr(response, "data", response)
    code = data.get("error") if isinstance(data, Mapping) else None
    return code if isinstance(code, str) and len(code) < 100 else "unreadable_answer"


def _after(headers: Mapping[str, Any]) -> float:
    text = next((str(value) for name, value in headers.items() if name.lower() == "retry-after"), "")
    return max(float(text), 0.0) if text.replace(".", "", 1).isdecimal() else _SECONDS


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}
