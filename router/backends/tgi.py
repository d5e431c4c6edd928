"""TGI (text-generation-inference) over HTTP, with our own thin client. Knows no policy and no adapter files.

TGI serves one adapter per request, chosen by `model`, and answers an unknown one from the *bare base model* with
status 200 and the unknown id echoed back. So this module holds a closed registry of the names the engine was
launched with, and a blend outside it is refused before a connection is opened.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from functools import partial

from router.backends.chat_events import ChatEvents
from router.backends.chat_request import chat_body, tgi_parameters
from router.backends.holding import Published, holding, served_name
from router.backends.http_engine import Call, HttpEngine
from router.backends.timeouts import Timeouts
from router.backends.token_logprobs import TOP, tgi_tokens
from router.core.errors import BackendUnreachable
from router.core.reply import Event, Inventory, Probe, Prompt, Token

BASE_NAME = "tgi"
"""The one `model` that TGI answers from the base on purpose; never an adapter's name."""

_ADAPTER = re.compile(r"^([^=@]+)(?:=([^@]+))?(?:@(.+))?$")  # TGI's own grammar, utils/adapter.py


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

    `names` are the adapters the engine was launched with: no route of TGI lists them. `published` are the blends
    that were built for it (see `holding`). `api_key` is sent as a bearer token.
    Raises ValueError for an unusable URL, for no names, and for the reserved name.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        names: Sequence[str],
        *,
        published: Published | None = None,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.name = name
        if not names:
            raise ValueError(f"backend {name}: no adapter names; TGI lists none itself, so give its LORA_ADAPTERS")
        self._inventory = holding((_checked(adapter) for adapter in names), published)
        self._engine = HttpEngine(name, base_url, api_key=api_key, timeouts=timeouts)

    async def inventory(self) -> Inventory:
        """Return the adapters the engine was launched with, once its health check succeeds.

        Raises BackendUnreachable when `GET /health` does not answer 200 within the connect limit.
        """
        status, _ = await self._engine.look("/health")
        if status != 200:
            raise BackendUnreachable(f"{self.name}: the engine says it is unhealthy ({status})", backend=self.name)
        return self._inventory

    def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer of exactly `prompt.blend`. See the port for events and errors."""
        return self._engine.stream(partial(self._chat, prompt), prompt.request_id, ChatEvents(self.name))

    async def probe(self, probe: Probe) -> Sequence[Token]:
        """Return the greedy continuation. See the port.

        Cold asks for the prompt's own details: TGI then takes nothing of the prompt from its prefix cache
        (backends/v3/src/queue.rs), whether or not it was launched with --enable-prefill-logprobs.
        """
        return tgi_tokens(self.name, await self._engine.ask("/generate", partial(self._generate, probe)))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._engine.aclose()

    def _chat(self, prompt: Prompt) -> Call:
        served = served_name(self.name, self._inventory, prompt.blend)
        return Call(chat_body(served, prompt, tgi_parameters(prompt.parameters)))

    def _generate(self, probe: Probe) -> Call:
        adapter = (
            {} if probe.blend is None else {"adapter_id": served_name(self.name, self._inventory, probe.blend)}
        )
        parameters = {
            "max_new_tokens": probe.tokens,
            "do_sample": False,
            "details": True,
            "decoder_input_details": probe.cold,
            "top_n_tokens": TOP,
            **adapter,
        }
        return Call({"inputs": probe.text, "parameters": parameters})


def _checked(adapter: str) -> str:
    if not adapter or adapter == BASE_NAME:
        raise ValueError(f"an adapter cannot be named {adapter!r}: TGI answers that name from the bare base model")
    return adapter
