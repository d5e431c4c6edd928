"""vLLM over HTTP: one adapter per request, chosen by `model`. Knows no policy and no adapter files.

vLLM answers 404 for a name that it does not hold, and tells in every answer who spoke. Two traps make it answer
from the *bare base model* all the same, and both are closed here: a request without `model`, and the variable
VLLM_SKIP_MODEL_NAME_VALIDATION, which lets any name pass. An engine is asked for a name that nobody has before it
is trusted, and an answer that names another speaker than the one asked is broken off before its first word.
Read at 0.33.0; docs/backends.md has the launch line.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncGenerator, Sequence
from functools import partial

from router.backends.chat_events import ChatEvents
from router.backends.chat_request import chat_body, openai_parameters
from router.backends.failures import answered
from router.backends.holding import Published, holding, served_name
from router.backends.http_engine import CHAT, Call, HttpEngine
from router.backends.model_list import Models, read_models
from router.backends.timeouts import Timeouts
from router.backends.token_logprobs import completion_body, openai_tokens
from router.core.errors import BackendBroken, BackendFailed, BackendRefused, BackendUnreachable
from router.core.reply import Event, Inventory, Probe, Prompt, Token

NOBODY = "agoge-asks-for-a-model-that-nobody-has"
"""Always the same name: vLLM remembers a lock per name that it was ever asked for."""

_UNHELD = re.compile(
    r"the model .{0,300} does not exist|lora adapter .{0,300}(?:does not exist|could not be loaded)", re.I
)


class VllmBackend:
    """One vLLM server. `name` is the backend's name in the policy, `base_url` the server's root (no `/v1`).

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
        self._trusted = False
        self._models: Models | None = None
        self._inventory = Inventory()

    async def inventory(self) -> Inventory:
        """Return the adapters that the engine lists, never its base.

        The first time, and again whenever the engine was away, it must refuse a name that nobody has. Raises
        BackendUnreachable, and BackendBroken for an engine that would answer any name from the base.
        """
        try:
            models = read_models(self.name, await self._engine.read("/v1/models"))
            if not self._trusted:
                await self._prove_that_names_count()
        except BaseException:
            self._forget()
            raise
        self._trusted, self._models = True, models
        self._inventory = holding(models.adapters, self._published)
        return self._inventory

    def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer of exactly `prompt.blend`. See the port for events and errors."""
        events = ChatEvents(self.name)
        return self._engine.stream(partial(self._chat, prompt, events), prompt.request_id, events)

    async def probe(self, probe: Probe) -> Sequence[Token]:
        """Return the greedy continuation. See the port.

        Cold asks for the prompt's own logprobs too: vLLM then reads nothing of it from its prefix cache
        (SamplingParams.skip_reading_prefix_cache).
        """
        asked = ""

        def completion() -> Call:
            nonlocal asked
            call = self._completion(probe)
            asked = call.body["model"]
            return call

        answer = await self._engine.ask("/v1/completions", completion)
        tokens = openai_tokens(self.name, answer)
        if answer.get("model") != asked:
            raise BackendBroken(f"{self.name}: {answer.get('model')!r} answers, not {asked!r}", backend=self.name)
        return tokens

    async def load(self, name: str, path: str) -> None:
        """Load the adapter in the folder `path`, as the engine's own machine sees it, under `name`.

        Raises BackendRefused (the name is taken, or there is no such folder) and BackendFailed.
        """
        status, body = await self._engine.send("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
        self._check_update(status, body.decode("utf-8", "replace"), f"load {name}", {
            400: f"it holds an adapter {name} already; a name stands for one content, so publish other content "
                 "under another name",
            404: f"it finds no adapter at {path}; the path is read on the engine's machine",
        })  # fmt: skip

    async def unload(self, name: str) -> None:
        """Unload `name`. Raises BackendRefused for one that is not loaded, and BackendFailed."""
        status, body = await self._engine.send("/v1/unload_lora_adapter", {"lora_name": name})
        self._check_update(
            status, body.decode("utf-8", "replace"), f"unload {name}", {404: f"it holds no adapter {name}"}
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._engine.aclose()

    def _forget(self) -> None:
        self._trusted, self._models, self._inventory = False, None, Inventory()

    async def _prove_that_names_count(self) -> None:
        message = {"role": "user", "content": "Is anybody there?"}
        status, body = await self._engine.send(CHAT, {"model": NOBODY, "messages": [message], "max_tokens": 1})
        if status == 404:
            return
        if status == 200:
            raise BackendBroken(
                f"{self.name}: it answers a model name that nobody has, from the bare base model; unset "
                "VLLM_SKIP_MODEL_NAME_VALIDATION in the engine's environment and start it again",
                backend=self.name,
            )
        raise answered(self.name, status, body.decode("utf-8", "replace"))

    def _chat(self, prompt: Prompt, events: ChatEvents) -> Call:
        served = events.speaker = served_name(self.name, self._inventory, prompt.blend)
        return Call(chat_body(served, prompt, openai_parameters(prompt.parameters)))

    def _completion(self, probe: Probe) -> Call:
        if self._models is None:
            raise BackendUnreachable(f"{self.name}: the engine has not been looked at", backend=self.name)
        asked = self._models.base if probe.blend is None else served_name(self.name, self._inventory, probe.blend)
        body = completion_body(asked, probe)
        return Call({**body, "cache_salt": uuid.uuid4().hex} if probe.cold else body)

    def _check_update(self, status: int, said: str, what: str, meanings: dict[int, str]) -> None:
        if status == 200:
            return
        if status == 404 and '"error"' not in said:  # FastAPI's own 404: there is no such route
            raise BackendBroken(
                f"{self.name} cannot {what}: runtime updates are off; launch vLLM with "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, on a port that only we can reach",
                backend=self.name,
            )
        wrong: BackendFailed = answered(self.name, status, said)
        if status in meanings:
            raise BackendRefused(
                f"{self.name} cannot {what}: {meanings[status]}", backend=self.name, status=status
            )
        raise type(wrong)(f"{wrong.message} (asked to {what})", backend=self.name)
