"""Prompt -> the JSON of a chat request, and its name. Knows OpenAI's request, and TGI's dialect of it; no client.

What TGI cannot do as OpenAI means it is left out rather than sent to mean something else; docs/backends.md lists
every case. Source: TGI 3.3 router/src/lib.rs (ChatRequest, try_into_generate) and router/src/validation.rs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.core.conversation import Message
from router.core.reply import Prompt
from router.core.trace import current

_AS_THEY_ARE = ("frequency_penalty", "max_tokens", "seed", "temperature", "tool_choice", "tools")
"""The parameters that mean the same to TGI. A missing temperature samples, 0.0 is greedy: both as the user said.

Left out: presence_penalty (TGI turns p into a repetition penalty of p + 2.0, which is already extreme at p = 0),
logit_bias and n (TGI ignores them, and answers 422 to OpenAI's form of logit_bias), logprobs and top_logprobs
(a core Delta has no place for them), user, metadata, store and what else only OpenAI's own service reads.
"""

_OPENAI = (
    *_AS_THEY_ARE,
    "logit_bias",
    "parallel_tool_calls",
    "presence_penalty",
    "response_format",
    "stop",
    "top_p",
)


def naming(request_id: str) -> dict[str, str]:
    """Return the headers by which an engine knows a request again: its id, and whose child its work is."""
    return {"x-request-id": request_id, **current().headers} if request_id else {}


def message(said: Message) -> dict[str, Any]:
    """Return OpenAI's form of one message: role, content and whatever else it carries."""
    return {**(said.extra or {}), "role": said.role, "content": said.content}


def messages(prompt: Prompt) -> list[dict[str, Any]]:
    """Return OpenAI's form of all messages of `prompt`, oldest first."""
    return [message(said) for said in prompt.messages]


def template_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """Return the messages as chat templates know them: `developer`, OpenAI's later word, is `system`."""
    return [{**said, "role": "system"} if said["role"] == "developer" else said for said in messages(prompt)]


def chat_body(model: str, prompt: Prompt, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the streamed chat request to the speaker `model`; `parameters` as the engine reads them."""
    return {
        **parameters,
        "model": model,
        "messages": template_messages(prompt),
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def tgi_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling parameters in TGI's dialect. `parameters` are OpenAI's, by OpenAI's names.

    `max_completion_tokens` becomes max_tokens, one `stop` text a list, `top_p: 1` nothing (no cut at all, but
    TGI allows only values below 1), OpenAI's response formats TGI's grammars.
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    sent = {name: given[name] for name in _AS_THEY_ARE if name in given}
    if "max_completion_tokens" in given:
        sent["max_tokens"] = given["max_completion_tokens"]
    if "stop" in given:
        sent["stop"] = [given["stop"]] if isinstance(given["stop"], str) else list(given["stop"])
    if "top_p" in given and given["top_p"] != 1:
        sent["top_p"] = given["top_p"]
    grammar = _grammar(given.get("response_format"))
    if grammar is not None:
        sent["response_format"] = grammar
    return sent


def openai_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling parameters as vLLM and SGLang read them: by OpenAI's names, with OpenAI's meaning.

    `max_completion_tokens` becomes max_tokens. Left out is what a reply has no place for (n, logprobs,
    top_logprobs) and what only OpenAI's own service reads (user, metadata, store, ...).
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    sent = {name: given[name] for name in _OPENAI if name in given}
    if "max_completion_tokens" in given:
        sent["max_tokens"] = given["max_completion_tokens"]
    return sent


def _grammar(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if response_format is None or response_format.get("type") == "text":
        return None
    if response_format.get("type") == "json_schema" and "json_schema" in response_format:
        return {"type": "json_object", "value": response_format["json_schema"].get("schema", {"type": "object"})}
    if response_format.get("type") == "json_object" and "value" not in response_format:
        return {"type": "json_object", "value": {"type": "object"}}
    return response_format  # TGI's own form
