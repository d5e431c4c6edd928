"""A steady mixed load as a process: streams and whole answers, three tenants, isolated requests, feedback.

    python -m bench.chaos.load URL RECORDS WORKERS PAUSE LEAVES

Each of WORKERS asks in turn, with PAUSE seconds between; every request is one line of RECORDS when it is over:
when it ran (monotonic seconds, the same clock for all processes), what came back, and whether that was whole. With
LEAVES, every so manieth stream is left after its first piece. Ends on SIGTERM, once what is under way is over.
Knows the wire and the numbered pieces of the fake engine; judges nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from bench.chaos.engine import PIECES
from bench.chaos.policies import APART, HOMELESS, KEYS

LONGEST = 30.0  # seconds for any request: whoever waits longer was lost
_PIECE = re.compile(r"<([^>]+)>ё(\d+) ")
_PROMPTS: tuple[tuple[dict[str, str], str], ...] = (
    ({}, "why is the sky blue {n}"),
    ({"model": "academic"}, "essay {n}"),
    ({}, "how to prepare for a marathon"),
    ({"model": "physics+core"}, "what is heat {n}"),
    ({"model": HOMELESS}, "a note {n}"),
    ({}, "режим: академический\nвведение"),
    ({"model": "core"}, "hello"),
)  # fmt: skip


def requests(worker: int) -> Iterator[dict[str, Any]]:
    """Yield what one worker asks: the kinds in turn, streamed or not, another tenant every time."""
    holders = list(KEYS.items())
    for turn in count(worker):
        model, prompt = _PROMPTS[turn % len(_PROMPTS)]
        key, tenant = holders[(turn + turn // len(_PROMPTS)) % len(holders)]
        if tenant == APART and model.get("model") == HOMELESS:
            continue  # its engine never held it
        feedback = turn % 12 == 11
        text = prompt.format(n=f"{worker}-{turn}")
        isolated = model.get("model") in ("academic", HOMELESS) or "режим" in prompt
        yield {
            "kind": "feedback" if feedback else "stream" if turn % 2 else "whole",
            "key": key,
            "tenant": tenant,
            "homeless": model.get("model") == HOMELESS,
            "isolated": isolated,
            "body": {**model, "messages": [{"role": "user", "content": text}]},
        }


class Load:
    """Workers on one server; `leaves`: every so manieth stream is left after its first piece, 0 for none."""

    def __init__(self, url: str, records: Path, leaves: int) -> None:
        self.url, self.leaves, self.streams = url, leaves, 0
        self.stop = asyncio.Event()
        self._records = records.open("a", encoding="utf-8", buffering=1)

    async def run(self, workers: int, pause: float) -> None:
        """Ask until told to stop."""
        timeout = aiohttp.ClientTimeout(total=LONGEST)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            await asyncio.gather(*(self._work(session, number, pause) for number in range(workers)))

    async def _work(self, session: aiohttp.ClientSession, number: int, pause: float) -> None:
        for asked in requests(number * 5):
            if self.stop.is_set():
                return
            record = {name: asked[name] for name in ("kind", "tenant", "homeless", "isolated")}
            record |= {"began": time.monotonic(), "status": 0}
            try:
                ask = self._feedback if asked["kind"] == "feedback" else self._ask
                record |= await ask(session, asked)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
                record |= {"end": "lost", "why": type(error).__name__}
            record["ended"] = time.monotonic()
            self._records.write(json.dumps(record) + "\n")
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), pause)

    async def _ask(self, session: aiohttp.ClientSession, asked: dict[str, Any]) -> dict[str, Any]:
        stream = asked["kind"] == "stream"
        body = {**asked["body"], "stream": stream}
        headers = {"Authorization": f"Bearer {asked['key']}"}
        async with session.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as response:
            if response.status != 200 or not stream:
                return _whole(response, await response.read())
            self.streams += 1
            leaves = self.leaves > 0 and self.streams % self.leaves == 0
            return _told(response) | await _streamed(response, leaves)

    async def _feedback(self, session: aiohttp.ClientSession, asked: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {asked['key']}"}
        async with session.post(f"{self.url}/v1/decisions", json=asked["body"], headers=headers) as response:
            decided = json.loads(await response.read())
            if response.status != 200:
                return _refused(response, decided)
        body = {"decision_id": decided["decision_id"], "verdict": "right"}
        async with session.post(f"{self.url}/v1/feedback", json=body, headers=headers) as response:
            said = json.loads(await response.read())
            if response.status != 201:
                return _refused(response, said)
            return {"status": 201, "end": "whole", "decision": decided["decision_id"], "speakers": []}


def _told(response: aiohttp.ClientResponse) -> dict[str, Any]:
    names = {"decision": "decision-id", "blend": "blend", "backend": "backend", "cache": "cache"}
    return {"status": response.status} | {
        ours: response.headers.get(f"x-agoge-{theirs}", "") for ours, theirs in names.items()
    }


def _whole(response: aiohttp.ClientResponse, raw: bytes) -> dict[str, Any]:
    try:
        said = json.loads(raw)
    except ValueError:
        return {"status": response.status, "end": "lost", "why": f"{len(raw)} bytes that are not JSON"}
    if response.status != 200:
        return _refused(response, said)
    choice = said["choices"][0]
    return _told(response) | _heard(choice["message"]["content"], choice["finish_reason"] == "stop")


def _refused(response: aiohttp.ClientResponse, said: Any) -> dict[str, Any]:
    return {"status": response.status, "end": "refused"} | _error(said)


def _error(said: Any) -> dict[str, Any]:
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict) or not {"message", "type", "param", "code"} <= error.keys():
        return {"end": "lost", "why": "an error without OpenAI's error object"}
    return {"code": error["code"], "type": error["type"], "message": error["message"]}


async def _streamed(response: aiohttp.ClientResponse, leaves: bool) -> dict[str, Any]:
    text, finish, error, done = "", None, None, False
    async for line in response.content:
        if not line.startswith(b"data: "):
            continue
        if done:
            return {"end": "lost", "why": "an event behind [DONE]"}
        data = line[6:].strip()
        if data == b"[DONE]":
            done = True
            continue
        event = json.loads(data)
        if event.get("error") is not None:
            error = event
            continue
        for choice in event.get("choices", ()):
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
        if leaves and text:
            response.close()
            return {"end": "left"} | {name: value for name, value in _heard(text, False).items() if name != "end"}
    if not done:
        return {"end": "lost", "why": "a stream without [DONE]"} | {"speakers": _speakers(text)}
    if error is not None:
        return {"end": "broken off", "speakers": _speakers(text)} | _error(error)
    return _heard(text, finish == "stop")


def _heard(text: str, finished: bool) -> dict[str, Any]:
    """Say whether exactly the pieces 0, 1, 2 ... were heard, and from whom."""
    pieces = _PIECE.findall(text)
    whole = finished and _PIECE.sub("", text) == "" and [int(at) for _, at in pieces] == list(range(PIECES))
    return {"end": "whole", "speakers": _speakers(text)} if whole else {
        "end": "lost", "why": "pieces are missing, doubled or damaged", "speakers": _speakers(text)
    }  # fmt: skip


def _speakers(text: str) -> list[str]:
    return sorted({speaker for speaker, _ in _PIECE.findall(text)})


async def _main() -> None:
    url, records, workers, pause, leaves = sys.argv[1:]
    load = Load(url, Path(records), int(leaves))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stop.set)
    await load.run(int(workers), float(pause))


if __name__ == "__main__":
    asyncio.run(_main())
