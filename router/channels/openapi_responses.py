"""What /v1/responses and /v1/completions take and give, as OpenAPI shows it. Documentation only.

tests/channels/test_openapi_responses.py holds it against the code that checks, and against real answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from router.channels.openapi import (
    CHAT_BODY,
    CHAT_RESPONSES,
    ERRORS,
    EVENTS,
    NO,
    ONE,
    PARAMETERS,
    STREAMED,
    Responses,
    Schema,
    asking,
    or_null,
)
from router.channels.responses_input import ITEMS, PARTS, ROLES


def _object(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _all(properties: Mapping[str, Schema]) -> Schema:
    return _object(properties, list(properties))


def _body(schema: Schema, *examples: Schema) -> dict[str, Any]:
    shown = {"application/json": {"schema": {**schema, "examples": list(examples)}}}
    return {"requestBody": {"required": True, "content": shown}}


def _answers(schema: Schema, streamed: str) -> Responses:
    """Return chat's responses with another body; the headers are the same."""
    content = {"application/json": {"schema": schema}, **EVENTS}
    shown = {"description": f"The answer; with `stream` as server-sent events that end on {streamed}"}
    return {200: {**CHAT_RESPONSES[200], **shown, "content": content}, **ERRORS}


_TEXT: Schema = {"type": "string"}
_FILLED: Schema = {"type": "string", "minLength": 1}
_WHOLE: Schema = {"type": "integer"}
_FLAG: Schema = {"type": "boolean"}
_FREE: Schema = {"type": "object"}
_CHAT: Schema = CHAT_BODY["requestBody"]["content"]["application/json"]["schema"]  # type: ignore[index]
_FIELDS: Schema = {name: shown["anyOf"][0] for name, shown in _CHAT["properties"].items() if name != "messages"}
_MODEL: Schema = _FIELDS["model"]
_COMPLETION: Schema = CHAT_RESPONSES[200]["content"]["application/json"]["schema"]
_AGOGE: Schema = _COMPLETION["properties"]["agoge"]

_PARTS: Schema = {
    "type": "array",
    "items": {
        "anyOf": [
            _object({"type": {"enum": ["text", *PARTS[:2]]}, "text": _TEXT}, ["type", "text"]),
            _object({"type": {"const": "refusal"}, "refusal": _TEXT}, ["type", "refusal"]),
            _object({"type": {"enum": [PARTS[2], "image_url"]}}, ["type"]),
        ]
    },
}
_CONTENT: Schema = {"anyOf": [_TEXT, _PARTS]}
_MESSAGE = _object(
    {"type": {"const": "message"}, "role": {"enum": list(ROLES)}, "content": _CONTENT}, ["role", "content"]
)
_KINDS: Mapping[str, Schema] = {
    "message": _MESSAGE,
    "function_call": _all(
        {"type": {"const": "function_call"}, "call_id": _FILLED, "name": _FILLED, "arguments": _TEXT}
    ),
    "function_call_output": _all(
        {"type": {"const": "function_call_output"}, "call_id": _FILLED, "output": _CONTENT}
    ),
    "reasoning": _all({"type": {"const": "reasoning"}}),
}
_ITEMS: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {"anyOf": [_KINDS[kind] for kind in ITEMS]},
    "contains": _object({"type": {"const": "message"}, "role": {"const": "user"}}, ["role"]),
}
_INPUT: Schema = {
    "anyOf": [_TEXT, _ITEMS],
    "description": "text, or the whole conversation as items: nothing is stored between requests",
}
_FUNCTION = {"name": _FILLED, "description": _TEXT, "parameters": _FREE, "strict": _FLAG}
_FORMAT: Schema = {
    "anyOf": [
        _object({"type": {"enum": ["text", "json_object"]}}, ["type"]),
        _object({"type": {"const": "json_schema"}, "name": _TEXT, "schema": _FREE}, ["type", "name", "schema"]),
    ]
}
_ASKED: Schema = {
    "model": _MODEL,
    "input": _INPUT,
    "instructions": {**_TEXT, "description": "becomes the system message"},
    "max_output_tokens": PARAMETERS["max_tokens"],
    "temperature": PARAMETERS["temperature"],
    "top_p": PARAMETERS["top_p"],
    "tools": {
        "type": "array",
        "items": asking({"type": {"const": "function"}, **_FUNCTION}, ["type", "name"]),
    },
    "tool_choice": {
        "anyOf": [
            {"enum": ["none", "auto", "required"]},
            _object({"type": {"const": "function"}, "name": _FILLED}, ["type", "name"]),
        ]
    },
    "parallel_tool_calls": _FLAG,
    "text": asking({"format": _FORMAT}),
    "metadata": {"type": "object", "additionalProperties": _TEXT},
    "user": _TEXT,
    "store": {**_FLAG, "description": "read and ignored: nothing is stored, and the answer says store: false"},
    "stream": {"type": "boolean", "default": False},
}
_SAID = {"id": _TEXT, "status": _TEXT}
_OUTPUT: Schema = {
    "anyOf": [
        _all(
            {
                **_SAID,
                "type": {"const": "message"},
                "role": {"const": "assistant"},
                "content": {
                    "type": "array",
                    "items": _all(
                        {"type": {"const": "output_text"}, "text": _TEXT, "annotations": {"type": "array"}}
                    ),
                },
            }
        ),
        _all({**_SAID, "type": {"const": "function_call"}, "call_id": _TEXT, "name": _TEXT, "arguments": _TEXT}),
    ]
}
_USAGE = _all(
    {
        "input_tokens": _WHOLE,
        "input_tokens_details": _FREE,
        "output_tokens": _WHOLE,
        "output_tokens_details": _FREE,
        "total_tokens": _WHOLE,
    }
)
_RESPONSE = _all(
    {
        "id": _TEXT,
        "object": {"const": "response"},
        "created_at": _WHOLE,
        "model": _TEXT,
        "status": {"enum": ["completed", "incomplete"]},
        "incomplete_details": or_null(_FREE),
        "error": or_null(_FREE),
        "output": {"type": "array", "items": _OUTPUT},
        "usage": _USAGE,
        "store": {"const": False},
        "agoge": _AGOGE,
    }
)
RESPONSES_RESPONSES = _answers(_RESPONSE, "`response.completed`, `response.incomplete` or `error`")
RESPONSES_BODY = _body(
    asking(_ASKED, ["input"]), {"input": "Why is the sky blue?"}, {"input": "Why?", "stream": True}
)

_PROMPT: Schema = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 1}]}
_LEGACY = ("max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty", "stop", "seed")
REFUSED: Mapping[str, Schema] = {
    "n": ONE,
    "best_of": ONE,
    "echo": NO,
    "logprobs": {"const": False},
    "suffix": {"const": ""},
}
"""What is taken only where it asks for nothing."""
_CHOICE = _all({"index": _WHOLE, "text": _TEXT, "finish_reason": _TEXT, "logprobs": {"type": "null"}})
_COMPLETED = _all(
    {
        "id": _TEXT,
        "object": {"const": "text_completion"},
        "created": _WHOLE,
        "model": _TEXT,
        "choices": {"type": "array", "items": _CHOICE},
        "usage": _COMPLETION["properties"]["usage"],
        "agoge": _AGOGE,
    }
)
COMPLETIONS_RESPONSES = _answers(_COMPLETED, "`data: [DONE]`")
COMPLETIONS_BODY = _body(
    asking(
        {
            "model": _MODEL,
            "prompt": _PROMPT,
            "stream": _FIELDS["stream"],
            "stream_options": _FIELDS["stream_options"],
            **{name: PARAMETERS[name] for name in _LEGACY},
            **REFUSED,
        },
        ["prompt"],
    )
    | STREAMED,
    {"prompt": "Why is the sky blue?"},
)
