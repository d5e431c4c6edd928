"""llama.cpp's dialect of OpenAI's chat: prompt -> request, chunk -> events, error -> exception.

Pure, and without a vendor: it knows what llama.cpp reads and writes, not how it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from router.backends.chat_request import messages
from router.core.blend import Blend
from router.core.errors import BackendBroken, BackendFailed, BackendRefused, BlendUnavailable
from router.core.reply import Delta, Event, Finish, Probe, Prompt, Usage

DEFAULT_MAX_TOKENS = 256
"""Tokens of an answer when the request sets no limit: llama.cpp itself would go on until the context is full."""

_AS_THEY_ARE = (
    "temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias",
    "response_format", "tools", "tool_choice", "parallel_tool_calls",
)  # fmt: skip
_LONGEST_MESSAGE = 300  # characters of the engine's own words in an error


def llama_request(backend: str, prompt: Prompt, ids: Mapping[str, int]) -> dict[str, Any]:
    """Return llama.cpp's chat request for `prompt`, with the scale of every adapter there is (name -> id).

    llama.cpp gives an adapter that a request leaves out its default scale, so none is left out. Parameters that
    it does not have, or a core Delta no place for, are. Raises BlendUnavailable for an adapter without an id,
    BackendRefused for content that is not text.
    """
    lora = _scales(backend, prompt.blend, ids)
    for message in prompt.messages:
        parts = () if message.content is None or isinstance(message.content, str) else message.content
        if other := sorted({str(part.get("type")) for part in parts} - {"text"}):
            raise BackendRefused(
                f"{backend} reads text only, not {', '.join(other)}", backend=backend, param="messages"
            )
    given = {name: value for name, value in prompt.parameters.items() if value is not None}
    limit = given.get("max_completion_tokens", given.get("max_tokens", DEFAULT_MAX_TOKENS))
    return {
        **{name: given[name] for name in _AS_THEY_ARE if name in given},
        "max_tokens": limit,
        "messages": messages(prompt),
        "lora": lora,
        "cache_prompt": False,
        "reasoning_format": "none",  # what the model says stays text, as with every other engine
        "return_progress": True,  # events while the prompt is read: the only moments to stop it then
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def llama_probe(backend: str, probe: Probe, ids: Mapping[str, int]) -> dict[str, Any]:
    """Return what both completion routes read of a probe; each names the counts of tokens in its own way.

    Every probe is cold: no prompt cache is ever asked for. Raises BlendUnavailable.
    """
    return {
        "prompt": probe.text,
        "temperature": 0,
        "ignore_eos": True,  # an answer that ends at once has no token to look at; the logprobs are not biased
        "lora": _scales(backend, probe.blend, ids),
        "cache_prompt": False,
        "stream": False,
    }


def llama_events(chunk: Mapping[str, Any]) -> Iterator[Event]:
    """Yield what one chunk says; nothing for the role and for progress through the prompt."""
    for choice in chunk.get("choices", ()):
        delta = choice.get("delta") or {}
        if delta.get("content") or delta.get("tool_calls"):
            yield Delta(delta.get("content") or "", delta.get("tool_calls") or None)
        if choice.get("finish_reason"):
            yield Finish(choice["finish_reason"])
    if usage := chunk.get("usage"):
        yield Usage(usage["prompt_tokens"], usage["completion_tokens"])


def llama_failure(backend: str, error: Exception | Mapping[str, Any]) -> BackendFailed:
    """Return the exception for an error chunk, or for what xllamacpp raised.

    A ValueError is llama.cpp's std::invalid_argument, its way of refusing a request.
    """
    if isinstance(error, Exception):
        kind = BackendRefused if isinstance(error, ValueError) else BackendBroken
        return kind(f"{backend}: {_shortened(error)}", backend=backend)
    message = f"{backend}: {_shortened(error.get('message', error))}"
    if error.get("type") == "exceed_context_size_error":
        return BackendRefused(message, backend=backend, code="context_length_exceeded", param="messages")
    if error.get("code") == 400:
        return BackendRefused(message, backend=backend)
    return BackendBroken(message, backend=backend)


def _scales(backend: str, blend: Blend | None, ids: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the scale of every adapter there is. Raises BlendUnavailable for one without an id."""
    weights = {} if blend is None else blend.weights
    if blend is not None and (unknown := sorted(weights.keys() - ids.keys())):
        raise BlendUnavailable(
            f"{backend} does not hold {', '.join(unknown)} of the blend {blend.id} ({blend})"
        )  # what it does hold may be another tenant's
    return [{"id": number, "scale": weights.get(name, 0.0)} for name, number in ids.items()]


def _shortened(said: object) -> str:
    text = " ".join(str(said).split())
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 3] + "..."
