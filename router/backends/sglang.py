"""SGLang over HTTP: one adapter per request, as `model` = `base:adapter`. Knows no policy and no adapter files.

SGLang looks for an adapter only behind a colon. A `model` without one is never checked: the bare adapter name, as
its own /v1/models shows it, is answered from the *bare base model* with status 200 and echoed back. So the name
is always written in full here, and a base whose own name holds a colon is refused: nobody could tell where it
ends. Behind the colon SGLang answers 400 for what it does not hold. Read at 0.5.23; docs/backends.md has the
launch line.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence
from functools import partial

from router.backends.chat_events import ChatEvents
from router.backends.chat_request import chat_body, openai_parameters
from router.backends.failures import answered
from router.backends.holding import Published, holding, served_name
from router.backends.http_engine import Call, HttpEngine
from router.backends.model_list import read_models
from router.backends.timeouts import Timeouts
from router.backends.token_logprobs import completion_body, openai_tokens
from router.core.errors import BackendBroken, BackendRefused, BackendUnreachable
from router.core.reply import Event, Inventory, Probe, Prompt, Token

_UNHELD = re.compile(r"lora adapters? (?:are|is) not loaded|enable[-_]lora", re.IGNORECASE)


class SglangBackend:
    """One SGLang server. `name` is the backend's name in the policy, `base_url` the server's root (no `/v1`).

    It is asked which adapters it holds; `published` are the blends that were built for it (see `holding`).
    `api_key` is sent as a bearer token. Raises ValueError for an unusable URL.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        published: Published | None = None,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.name = name
        self._published = published
        self._engine = HttpEngine(name, base_url, api_key=api_key, timeouts=timeouts, unheld=_UNHELD)
        self._base, self._inventory = "", Inventory()

    async def inventory(self) -> Inventory:
        """Return the adapters that the engine lists, never its base.

        Raises BackendUnreachable, and BackendBroken for a base whose name holds a colon.
        """
        try:
            models = read_models(self.name, await self._engine.read("/v1/models"))
            if ":" in models.base:
                raise BackendBroken(
                    f"{self.name}: the base is called {models.base!r}, and SGLang takes what follows the colon "
                    "for an adapter; launch it with --served-model-name and a name without one",
                    backend=self.name,
                )
        except BaseException:
            self._base, self._inventory = "", Inventory()
            raise
        self._base, self._inventory = models.base, holding(models.adapters, self._published)
        return self._inventory

    def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer of exactly `prompt.blend`. See the port for events and errors."""
        return self._engine.stream(partial(self._chat, prompt), prompt.request_id, ChatEvents(self.name))

    async def probe(self, probe: Probe) -> Sequence[Token]:
        """Return the greedy continuation. See the port.

        Cold asks for the prompt to be echoed with its logprobs: SGLang then takes nothing of it from its radix
        cache (logprob_start_len 0 in schedule_batch.py).
        """
        answer = await self._engine.ask("/v1/completions", partial(self._completion, probe))
        return openai_tokens(self.name, answer, echoed=probe.cold)

    async def load(self, name: str, path: str) -> None:
        """Load the adapter in the folder `path`, as the engine's own machine sees it, under `name`.

        Raises BackendRefused with SGLang's reason: the name is taken, no such folder, rank or modules outside the
        pool that it was launched with.
        """
        await self._update("load", {"lora_name": name, "lora_path": path})

    async def unload(self, name: str) -> None:
        """Unload `name`. Raises BackendRefused with SGLang's reason."""
        await self._update("unload", {"lora_name": name})

    async def aclose(self) -> None:
        """Close the connections."""
        await self._engine.aclose()

    def _model(self, served: str) -> str:
        return f"{self._base}:{served}"

    def _chat(self, prompt: Prompt) -> Call:
        served = served_name(self.name, self._inventory, prompt.blend)
        return Call(chat_body(self._model(served), prompt, openai_parameters(prompt.parameters)))

    def _completion(self, probe: Probe) -> Call:
        if not self._base:
            raise BackendUnreachable(f"{self.name}: the engine has not been looked at", backend=self.name)
        model = self._base  # bare on purpose: the canary must see what the base says
        if probe.blend is not None:
            model = self._model(served_name(self.name, self._inventory, probe.blend))
        body = completion_body(model, probe)
        return Call({**body, "echo": True} if probe.cold else body)

    async def _update(self, verb: str, body: dict[str, str]) -> None:
        status, said = await self._engine.send(f"/{verb}_lora_adapter", body)
        if status == 200:
            return
        what = f"{self.name} cannot {verb} {body['lora_name']}"
        try:
            why = json.loads(said).get("error_message")
        except (ValueError, RecursionError, AttributeError):
            why = None
        if status == 404:
            raise BackendBroken(f"{what}: this server has no such route; it needs SGLang 0.5", backend=self.name)
        if status == 400 and why:
            raise BackendRefused(f"{what}: {' '.join(str(why).split())[:500]}", backend=self.name)
        raise answered(self.name, status, said.decode("utf-8", "replace"))
