"""Any other provider through litellm. The only module that imports it, and only when a request is sent.

A model template with `{blend}` ("openai/{blend}") serves exactly the names it is given. One without it is a
*stand-in*: a model without our adapters that answers instead of them, never for an isolated blend, and every reply
of it says so. litellm's own retries and fallbacks stay off: who answers is the plan's decision, not a library's.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from router.backends.chat_events import ChatEvents
from router.backends.chat_request import messages, naming
from router.backends.failures import failure
from router.backends.timeouts import Deadline, Timeouts
from router.core.errors import (
    BackendBroken,
    BackendFailed,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    BlendUnavailable,
)
from router.core.reply import Event, Inventory, Prompt

_PREFIX = re.compile(r"^(?:(?:litellm\.)?\w+(?:Error|Exception|Timeout): )*(?:\w*Exception - )?")


class LitellmBackend:
    """One provider. `name` is the backend's name in the policy, `model` litellm's "provider/model" or a template.

    `names` are the blends and adapters behind a template with `{blend}`; a model without it is a stand-in. Saying
    `stand_in` makes the constructor hold the two against each other. `api_base` and `api_key` are handed to
    litellm, which reads the provider's own variables otherwise. Raises ValueError for a combination that could
    let another model speak, for `huggingface/` with `api_base` (litellm then asks huggingface.co for the model's
    config before every call, blocking the event loop), and where litellm is not installed.
    """

    def __init__(
        self,
        name: str,
        model: str,
        *,
        stand_in: bool | None = None,
        names: Sequence[str] = (),
        api_base: str | None = None,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        exact = "{blend}" in model
        stand_in = not exact if stand_in is None else stand_in
        if model.startswith("huggingface/") and api_base:
            raise ValueError(f"backend {name}: litellm's huggingface/ blocks the service; use tgi+http:// or hub:")
        if exact and (stand_in or not names):
            raise ValueError(
                f"backend {name}: {model!r} serves exact blends: name them all, and it is no stand-in"
            )
        if not exact and not stand_in:
            raise ValueError(f"backend {name}: {model!r} has no {{blend}}, so it speaks without our adapters; "
                             "that is a stand-in, and must be called one")  # fmt: skip
        if not exact and names:
            raise ValueError(f"backend {name}: {model!r} has no {{blend}}, so it cannot serve {sorted(names)}")
        if not all(names):
            raise ValueError(f"backend {name}: an empty name would ask the provider for its default model")
        if find_spec("litellm") is None:
            raise ValueError(
                f"backend {name}: litellm is not installed; pip install -e '.[litellm]' in Agoge's folder"
            )
        self.name = name
        self._model = model
        self._inventory = Inventory(stand_in=True) if stand_in else Inventory(names=frozenset(names))
        self._access = {"api_base": api_base, "api_key": api_key}
        self._timeouts = timeouts or Timeouts()

    async def inventory(self) -> Inventory:
        """Return what it was configured with: providers have no health check that costs nothing."""
        return self._inventory

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the answer. See the port for events and errors; an isolated blend never goes to a stand-in."""
        if not self._inventory.serves(prompt.blend):
            why = (
                "a stand-in never speaks for an isolated adapter"
                if prompt.blend.alone
                else "it is not served here"
            )
            raise BlendUnavailable(f"{self.name} cannot serve the blend {prompt.blend.id} ({prompt.blend}): {why}")
        litellm = await asyncio.to_thread(_load)  # seconds, the first time
        events = ChatEvents(self.name)
        deadline = Deadline(self.name, self._timeouts)
        answer = None
        try:
            async with deadline.waiting():
                answer = await litellm.acompletion(**self._call(prompt))
            while True:
                async with deadline.waiting():
                    chunk = await anext(answer, None)
                found = events.take(chunk.model_dump()) if chunk is not None else events.close()
                if events.finished and _made_up(answer):
                    raise BackendBroken(f"{self.name}: the answer broke off before its end", backend=self.name)
                for event in found:
                    yield event
                if chunk is None:
                    return
                if found:
                    deadline.moved()
        except BackendFailed:
            raise
        except TimeoutError as wrong:
            raise deadline.missed() from wrong
        except Exception as wrong:
            if events.finished:
                return  # the answer is whole; only the token count is lost
            raise self._failed(wrong, began=deadline.began) from wrong
        finally:
            if answer is not None:
                await answer.aclose()

    async def aclose(self) -> None:
        """Close litellm's cached connections, which all litellm backends of the process share."""
        if _load.cache_info().currsize:
            await _load().close_litellm_async_clients()

    def _call(self, prompt: Prompt) -> dict[str, Any]:
        served = self._inventory.served_name(prompt.blend) or ""
        # A stand-in is a stranger's: nobody's requests and traces are its business.
        told = {} if self._inventory.stand_in else naming(prompt.request_id)
        return {
            **{name: value for name, value in prompt.parameters.items() if value is not None},
            **{name: value for name, value in self._access.items() if value is not None},
            "model": self._model.replace("{blend}", served),
            "messages": messages(prompt),
            "stream": True,
            "stream_options": {"include_usage": True},
            "timeout": self._timeouts.first_token + self._timeouts.connect,  # ours, above, comes first
            "num_retries": 0,
            "max_retries": 0,
            "extra_headers": told,
        }

    def _failed(self, wrong: Exception, *, began: bool) -> BackendFailed:
        """Map litellm's tree, which hides an error event of a stream in a MidStreamFallbackError of status 500."""
        errors = _load().exceptions
        cause = getattr(wrong, "original_exception", None) or wrong
        text = _PREFIX.sub("", str(getattr(cause, "message", cause)), count=1)
        if isinstance(cause, errors.Timeout):
            return BackendTimeout(f"{self.name}: the provider timed out", backend=self.name)
        if isinstance(cause, errors.ContextWindowExceededError):
            code = "context_length_exceeded"
            return BackendRefused(f"{self.name}: {text[:500]}", backend=self.name, code=code, param="messages")
        hidden = cause is not wrong or isinstance(wrong, errors.APIConnectionError)
        known = failure(self.name, text, status=None if hidden else getattr(wrong, "status_code", None))
        if (hidden or text.startswith("Connection error")) and type(known) is BackendBroken and not began:
            return BackendUnreachable(known.message, backend=self.name)
        return known


def _made_up(answer: Any) -> bool:
    """Say whether the finish reason is litellm's own: it ends an answer that broke off with a "stop" (1.106.2)."""
    told = (getattr(answer, name, "?") for name in ("received_finish_reason", "intermittent_finish_reason"))
    return not any(told)


@cache
def _load() -> Any:
    """Import litellm quietly: no price map from the network, no advice on errors, no prompts to its loggers."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    return litellm
