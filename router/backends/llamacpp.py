"""llama.cpp's server over HTTP: it adds its adapters up per request. Knows no policy, and files by name only.

An adapter is a number there, its place on the command line. Everything that could make a number mean another
speaker is closed here: names become numbers only by the file names that the server itself tells, every request
names every number (an unwanted one with 0.0, since one that is left out gets its default scale), and the table is
read again beside every request: of a server that was restarted with its files in another order nothing is heard
until it was asked with its own numbers. That needs the server itself at the address, not a balancer. Files are
published as `<adapter>-<hex of its content>.gguf`. Every request has a connection of its own, because llama.cpp
promises to keep one after a streamed answer and then closes it: the next request would be lost with it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PureWindowsPath
from typing import Any

from router.backends.beside import Changed
from router.backends.chat_events import ChatEvents
from router.backends.http_engine import Call, HttpEngine
from router.backends.llama_chat import llama_probe, llama_request
from router.backends.timeouts import Timeouts
from router.backends.token_logprobs import TOP, llama_tokens
from router.core.errors import BackendBroken, BackendUnreachable
from router.core.reply import Event, Inventory, Probe, Prompt, Token

_PUBLISHED = re.compile(r"([a-z][a-z0-9_-]{0,31})-([0-9a-f]{12,64})")


@dataclass(frozen=True, slots=True)
class _Table:
    """`ids` holds every file of the server: by its adapter's name, or by its own where it speaks for none."""

    ids: Mapping[str, int]
    adapters: frozenset[str]


def published_files(files: Sequence[str]) -> dict[str, str]:
    """Return adapter -> file stem of `<adapter>-<12 hex>` texts, with or without `.gguf`. Raises ValueError."""
    found: dict[str, str] = {}
    for file in files:
        stem = file.removesuffix(".gguf")
        match = _PUBLISHED.fullmatch(stem)
        if match is None:
            raise ValueError(f"{file!r} is no published file; its name is <adapter>-<12 hex digits>.gguf")
        if match[1] in found:
            raise ValueError(f"two files are named for the adapter {match[1]!r}; an adapter has one content")
        found[match[1]] = stem
    return found


class LlamaCppBackend:
    """One llama-server. `name` is the backend's name in the policy, `base_url` the server's root (no `/v1`).

    `expected` is adapter -> file stem as published: a file of other content, though of the same adapter, is then
    not used. `api_key` is sent as a bearer token. Raises ValueError for an unusable URL.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        expected: Mapping[str, str] | None = None,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.name = name
        self._expected = expected
        self._table: _Table | None = None
        self._engine = HttpEngine(
            name, base_url, api_key=api_key, timeouts=timeouts, keeps_connections=False, connected=self._check
        )

    async def inventory(self) -> Inventory:
        """Return the adapters that the server holds as published; any sum of them is served.

        Raises BackendUnreachable while it starts, and BackendBroken for two files of one adapter.
        """
        try:
            self._table = await self._read_table()
        except BaseException:
            self._table = None
            raise
        return Inventory(sums=self._table.adapters)

    def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer of exactly `prompt.blend`. See the port for events and errors."""
        return self._engine.stream(partial(self._chat, prompt), prompt.request_id, ChatEvents(self.name))

    async def probe(self, probe: Probe) -> Sequence[Token]:
        """Return the greedy continuation. See the port; every probe is cold, for no prompt cache is used."""
        answer = await self._engine.ask("/completion", partial(self._completion, probe))
        return llama_tokens(
            self.name, answer.get("completion_probabilities") if isinstance(answer, Mapping) else None
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._engine.aclose()

    async def _check(self, rendered_for: object) -> None:
        table = await self._read_table()
        if table != rendered_for:
            self._table = table
            raise Changed

    async def _read_table(self) -> _Table:
        listed = await self._engine.read("/lora-adapters")
        try:
            files = {PureWindowsPath(each["path"]).stem: int(each["id"]) for each in listed}
            if len(files) != len(listed):
                raise BackendBroken(f"{self.name}: two adapters have files of one name", backend=self.name)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise BackendBroken(f"{self.name}: /lora-adapters lists no adapters", backend=self.name) from None
        return self._named(files)

    def _named(self, files: Mapping[str, int]) -> _Table:
        ids: dict[str, int] = {}
        adapters: set[str] = set()
        for stem, number in files.items():
            match = _PUBLISHED.fullmatch(stem)
            adapter = match[1] if match else None
            if adapter is None or (self._expected is not None and self._expected.get(adapter) != stem):
                ids[f"{stem}.gguf"] = number  # no adapter's name has a dot in it: nobody can ask for this one
                continue
            if adapter in adapters:
                raise BackendBroken(
                    f"{self.name}: it was launched with two files of the adapter {adapter}; keep one",
                    backend=self.name,
                )
            ids[adapter] = number
            adapters.add(adapter)
        return _Table(ids, frozenset(adapters))

    def _known(self) -> _Table:
        if self._table is None:
            raise BackendUnreachable(
                f"{self.name}: the engine's adapters are not known, it has not been looked at", backend=self.name
            )
        return self._table

    def _chat(self, prompt: Prompt) -> Call:
        table = self._known()
        return Call(llama_request(self.name, prompt, table.ids), table)

    def _completion(self, probe: Probe) -> Call:
        table = self._known()
        body: dict[str, Any] = llama_probe(self.name, probe, table.ids)
        return Call({**body, "n_predict": probe.tokens, "n_probs": TOP, "post_sampling_probs": False}, table)
