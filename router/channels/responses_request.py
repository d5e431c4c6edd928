"""The parameters of a Responses request, checked and in chat's words; and what the answer repeats of them.

Source: OpenAI API reference, "Create a model response". Unknown parameters are accepted and ignored, as with chat.
What needs a store or OpenAI's own tools is refused with what to do instead, except `store` itself: every client
means true unasked, nothing is stored, and the answer says so. Knows no item of `input` and no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.channels.parameters import read_parameters
from router.channels.responses_input import WHOLE
from router.core.errors import BadRequest

UNSUPPORTED = "unsupported_parameter"
INSTEAD: Mapping[str, str] = {
    "previous_response_id": f"{WHOLE} and leave this out",
    "conversation": f"{WHOLE} and leave this out",
    "background": "an answer is not kept for later: leave this out, and use stream where an answer takes long",
    "prompt": "prompt templates are not stored here: write the text into instructions and input",
}
_AS_CHAT = {
    "max_output_tokens": "max_tokens",
    **{
        name: name
        for name in (
            *("temperature", "top_p", "parallel_tool_calls", "frequency_penalty", "presence_penalty"),
            *("stop", "seed"),
        )
    },
}


def read_settings(body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (the parameters an engine is told, what the response repeats).

    Raises BadRequest naming the parameter by its name in the Responses API.
    """
    for name, advice in INSTEAD.items():
        if body.get(name):
            raise BadRequest(f"{name} is not served; {advice}", code=UNSUPPORTED, param=name)
    _logprobs(body)
    for name, kind, right in (("store", bool, "true or false"), ("user", str, "text")):
        if not isinstance(body.get(name), kind | None):
            raise BadRequest(f"{name} must be {right}", param=name)
    parameters: dict[str, Any] = {}
    for name, chat in _AS_CHAT.items():
        try:
            parameters |= read_parameters({chat: body.get(name)})
        except BadRequest as error:
            raise BadRequest(error.message.replace(chat, name, 1), param=name) from None
    tools = _tools(body.get("tools"))
    choice = _choice(body.get("tool_choice"), tools)
    if tools:
        parameters |= {"tools": tools} | ({} if choice is None else {"tool_choice": choice})
    format = _format(body.get("text"))
    if format is not None:
        parameters["response_format"] = format
    return parameters, _repeated(body)


def _logprobs(body: Mapping[str, Any]) -> None:
    include = body.get("include")
    if body.get("top_logprobs"):
        raise BadRequest("top_logprobs are not served; leave the parameter out", param="top_logprobs")
    if isinstance(include, list) and "message.output_text.logprobs" in include:
        raise BadRequest("include: message.output_text.logprobs is not served; leave it out", param="include")


def _tools(raw: object) -> list[dict[str, Any]]:
    """Return chat's nested form of flat function tools; one that is nested already is taken as it is."""
    if not isinstance(raw, list | None):
        raise BadRequest("tools must be a list of tools (objects)", param="tools")
    found = []
    for index, tool in enumerate(raw or ()):
        at = f"tools[{index}]"
        if not isinstance(tool, dict):
            raise BadRequest(f"{at} must be an object with type, name and parameters", param=at)
        if tool.get("type") != "function":
            wrong = f"{at}.type must be function, not {tool.get('type')!r:.80}: no other tool is run here"
            raise BadRequest(wrong, code=UNSUPPORTED, param=f"{at}.type")
        function = tool["function"] if isinstance(tool.get("function"), dict) else tool
        if not isinstance(function.get("name"), str) or not function["name"]:
            raise BadRequest(f"{at}.name must be text and not empty", param=f"{at}.name")
        if not isinstance(function.get("parameters"), dict | None):
            raise BadRequest(f"{at}.parameters must be a JSON schema (an object)", param=f"{at}.parameters")
        for name, kind, right in (("description", str, "text"), ("strict", bool, "true or false")):
            if not isinstance(function.get(name), kind | None):
                raise BadRequest(f"{at}.{name} must be {right}", param=f"{at}.{name}")
        known = ("name", "description", "parameters", "strict")
        kept = {name: function[name] for name in known if function.get(name) is not None}
        found.append({"type": "function", "function": kept})
    return found


def _choice(raw: object, tools: list[dict[str, Any]]) -> str | dict[str, Any] | None:
    if raw is None or raw in ("none", "auto"):
        return raw if isinstance(raw, str) else None
    if raw == "required":
        if tools:
            return "required"
        raise BadRequest("tool_choice is required, but tools holds none", param="tool_choice")
    named = raw if isinstance(raw, dict) and raw.get("type") == "function" else {}
    if isinstance(named.get("function"), dict):  # chat's form
        named = named["function"]
    name = named.get("name")
    if not isinstance(name, str):
        right = 'none, auto, required or {"type": "function", "name": ...}'
        raise BadRequest(f"tool_choice must be {right}, not {repr(raw)[:80]}", param="tool_choice")
    if all(tool["function"]["name"] != name for tool in tools):
        raise BadRequest(f"tool_choice names {name!r:.80}, which is not in tools", param="tool_choice")
    return {"type": "function", "function": {"name": name}}


def _format(raw: object) -> dict[str, Any] | None:
    """Return `text.format` as chat's response_format; None where plain text is wanted."""
    if not isinstance(raw, dict | None):
        raise BadRequest('text must be an object such as {"format": {"type": "text"}}', param="text")
    format = (raw or {}).get("format")
    if format is None:
        return None
    match format.get("type") if isinstance(format, dict) else None:
        case "text":
            return None
        case "json_object":
            return {"type": "json_object"}
        case "json_schema" if isinstance(format.get("schema"), dict) and isinstance(format.get("name"), str):
            known = ("name", "description", "schema", "strict")
            kept = {name: format[name] for name in known if format.get(name) is not None}
            return {"type": "json_schema", "json_schema": kept}
        case _:
            right = "of the type text, json_object, or json_schema with name and schema"
            raise BadRequest(f"text.format must be an object {right}", param="text.format")


def _repeated(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a response that repeat the request; null where the engine's own default holds."""
    metadata, text = body.get("metadata"), body.get("text") or {}
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadRequest("metadata must be an object whose values are texts", param="metadata")
    parallel = body.get("parallel_tool_calls")
    return {
        "background": False,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": metadata,
        "parallel_tool_calls": True if parallel is None else parallel,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": body.get("temperature"),
        "text": {"format": text.get("format") or {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_logprobs": 0,
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "user": body.get("user"),
    }
