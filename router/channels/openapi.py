"""What the routes take and give, as OpenAPI shows it. Documentation only: nothing here checks a request.

tests/channels/test_openapi.py holds it against the code that does, and against real answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.security import HTTPBearer

from router.channels.batch import MOST
from router.channels.wire import ROLES
from router.core.explanation import Rule

Schema = dict[str, Any]

SHOWN_KEY = HTTPBearer(auto_error=False, description="An API key, where a keys file is in force")
"""Puts the key into the document, and a field for it onto /docs; `Identify` is who reads it."""


def _object(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def or_null(schema: Schema) -> Schema:
    """Return the schema of what may also be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def asking(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    """Return the schema of a request, in which null says as much as leaving a field out."""
    fields = {name: schema if name in required else or_null(schema) for name, schema in properties.items()}
    return _object(fields, required)


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _link(operation: str, description: str, parameters: Mapping[str, str], body: Schema | None = None) -> Schema:
    more = {"requestBody": body} if body else {}
    return {"operationId": operation, "description": description, "parameters": dict(parameters), **more}


_TEXT: Schema = {"type": "string"}
_OR_NONE: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
_PENALTY: Schema = {"type": "number", "minimum": -2, "maximum": 2}
_NUMBER: Schema = {"type": "number"}
_NUMBER_OR_NONE: Schema = {"type": ["number", "null"]}
_NUMBERS: Schema = {"type": "object", "additionalProperties": {"type": "number"}}

_TEXT_PARTS = {"enum": ["text", "input_text"]}
_PART = {
    "anyOf": [
        _object({"type": _TEXT_PARTS, "text": _TEXT}, ["type", "text"]),
        _object({"type": {"type": "string", "not": _TEXT_PARTS}}, ["type"]),
    ]
}
_CONTENT: Schema = {"anyOf": [_TEXT, {"type": "array", "items": _PART}, {"type": "null"}]}
_MESSAGE = _object({"role": {"type": "string", "enum": list(ROLES)}, "content": _CONTENT}, ["role"])
_USER = _object({"role": {"const": "user"}}, ["role"])
_MESSAGES: Schema = {"type": "array", "items": _MESSAGE, "minItems": 1, "contains": _USER}
_MODEL: Schema = {
    "type": "string",
    "default": "auto",
    "description": "auto, an adapter, or a set such as physics+core; GET /v1/models lists them",
}
_ASKED = [{"role": "user", "content": "Why is the sky blue?"}]

PARAMETERS: Mapping[str, Schema] = {
    "max_tokens": _COUNT,
    "max_completion_tokens": _COUNT,
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "frequency_penalty": _PENALTY,
    "presence_penalty": _PENALTY,
    "stop": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 4}]},
    "seed": {"type": "integer", "format": "int64"},
    "tools": {"type": "array", "items": {"type": "object"}},
    "tool_choice": {"anyOf": [_TEXT, {"type": "object"}]},
    "parallel_tool_calls": {"type": "boolean"},
    "response_format": _object({"type": _TEXT, "json_schema": {"type": "object"}}, ["type"]),
}
"""The sampling parameters that an engine is told; any other is accepted and ignored."""

ONE: Schema = {"const": 1, "description": "one prompt gets one answer"}
NO: Schema = {"enum": [False, 0], "description": "not served"}

STREAMED: Schema = {
    "anyOf": [
        {"properties": {"stream": {"const": True}}, "required": ["stream"]},
        {"properties": {"stream_options": or_null({"type": "object", "maxProperties": 0})}},
    ]
}
"""`stream_options` say how to stream, so they stand beside `stream: true`."""
EVENTS: Schema = {
    "text/event-stream": {"itemSchema": _object({"event": _TEXT, "data": {**_TEXT, "minLength": 1}}, ["data"])}
}

_CHAT = asking(
    {
        "model": _MODEL,
        "messages": _MESSAGES,
        "stream": {"type": "boolean", "default": False},
        "stream_options": _object({"include_usage": {"type": "boolean"}}),
        **PARAMETERS,
        "n": ONE,
        "logprobs": NO,
    },
    ["messages"],
)
_CHAT |= STREAMED
_FOR_ENGINE: Schema = {
    "type": "boolean",
    "default": False,
    "description": "also return what the caller, calling the engine itself, sends it: messages without directives",
}
_DECIDE = {
    **asking({"input": _TEXT, "messages": _MESSAGES, "model": _MODEL, "for_engine": _FOR_ENGINE}),
    "oneOf": [_object({name: {"not": {"type": "null"}}}, [name]) for name in ("input", "messages")],
    "not": {"required": ["batch"]},
}
_BATCH: Schema = {
    "type": "array",
    "minItems": 1,
    "maxItems": MOST,
    "items": {},
    "description": "each entry: prompt or messages, and model; a wrong one gets an error in its place",
}
_DECIDE_MANY = {
    **_object({"batch": _BATCH}, ["batch"]),
    "not": {"anyOf": [{"required": [name]} for name in ("input", "prompt", "messages", "model")]},
}
_DECIDED: Mapping[str, Schema] = {
    "decision_id": _TEXT,
    "label": _OR_NONE,
    "scores": _NUMBERS,
    "out_of_domain": {"type": "boolean"},
    "adapters": {**_NUMBERS, "description": "adapter -> weight; empty where a stand-in answered"},
    "alone": {"type": "boolean"},
    "blend": _TEXT,
    "reason": _TEXT,
    "why": _TEXT,
    "inherited": {"type": "integer", "description": "turns back from which the subject comes; 0: its own"},
    "asked_by": _OR_NONE,
    "cache": {"type": "string", "enum": ["hit", "miss"]},
    "policy": _TEXT,
}
_AGOGE = _object(
    {**_DECIDED, "backend": _TEXT, "stand_in": {"type": "boolean"}}, [*_DECIDED, "backend", "stand_in"]
)
_CHOICE = _object(
    {
        "index": {"type": "integer"},
        "message": _object(
            {"role": _TEXT, "content": _OR_NONE, "tool_calls": {"type": "array"}}, ["role", "content"]
        ),
        "finish_reason": _TEXT,
    },
    ["index", "message", "finish_reason"],
)
_COUNTED: Mapping[str, Schema] = {
    name: {"type": "integer"} for name in ("prompt_tokens", "completion_tokens", "total_tokens")
}
_COMPLETION = _object(
    {
        "id": _TEXT,
        "object": {"const": "chat.completion"},
        "created": {"type": "integer"},
        "model": _TEXT,
        "choices": {"type": "array", "items": _CHOICE},
        "usage": _object(_COUNTED, list(_COUNTED)),
        "agoge": _AGOGE,
    },
    ["id", "object", "created", "model", "choices", "usage", "agoge"],
)
_VERDICT = {
    "adapter": _TEXT,
    "speaks": {"type": "boolean"},
    "reason": _TEXT,
    "weight": {"type": "number"},
    "label": _OR_NONE,
    "score": _NUMBER_OR_NONE,
    "gate": _NUMBER_OR_NONE,
}
_NEIGHBOUR = {"text": _TEXT, "label": _TEXT, "similarity": _NUMBER, "distance": _NUMBER}
_RUNNER_UP = {"label": _TEXT, "score": _NUMBER, "gap": _NUMBER}
_MARGIN = {
    "adapter": _TEXT,
    "label": _TEXT,
    "score": _NUMBER_OR_NONE,
    "gate": _NUMBER,
    "margin": {**_NUMBER_OR_NONE, "description": "score minus gate; null where nothing was scored"},
    "speaks": {"type": "boolean"},
    "reason": _TEXT,
    "joins_at": {
        **_NUMBER_OR_NONE,
        "description": "the least score with which it would have spoken, the others as they were; null: none",
    },
    "because": _TEXT,
}
_EXPLANATION: Mapping[str, Schema] = {
    "rule": {"type": "string", "enum": [rule.value for rule in Rule]},
    "because": _TEXT,
    "runner_up": {"anyOf": [_object(_RUNNER_UP, list(_RUNNER_UP)), {"type": "null"}]},
    "margins": {"type": "array", "items": _object(_MARGIN, list(_MARGIN))},
}
_EXPLAINED: Mapping[str, Schema] = {
    "object": {"const": "agoge.decision"},
    **_DECIDED,
    "verdicts": {"type": "array", "items": _object(_VERDICT, list(_VERDICT))},
    "explanation": _object(_EXPLANATION, list(_EXPLANATION)),
    "nearest": {
        "type": ["array", "null"],
        "items": _object(_NEIGHBOUR, list(_NEIGHBOUR)),
        "description": "nearest exemplars first; null by id, where the decision came out of the cache",
    },
    "classifier": _TEXT,
    "tenant": _TEXT,
    "role": _OR_NONE,
}
_ENGINE_INPUT = _object(
    {"messages": {"type": "array", "items": _MESSAGE}, "confirmation": _OR_NONE}, ["messages", "confirmation"]
)
_ERROR = _object(
    {
        "error": _object(
            {"message": _TEXT, "type": _TEXT, "param": _OR_NONE, "code": _OR_NONE}, ["message", "type"]
        )
    },
    ["error"],
)

_HEADERS = {
    name: {"description": text, "schema": _TEXT}
    for name, text in {
        "x-agoge-decision-id": "the id of this decision",
        "x-agoge-label": "the classifier's label; empty without one",
        "x-agoge-adapters": "who speaks, such as core=1.0,physics=0.8",
        "x-agoge-blend": "the blend's content-addressed id",
        "x-agoge-cache": "hit or miss",
        "link": "where this decision is explained: GET /v1/decisions/{id}",
    }.items()
}

_ID = "$response.header.x-agoge-decision-id"
_LINKS = {
    "explained": _link("explainDecision", "why this decision came out as it did", {"id": _ID}),
    "judged": _link("giveFeedback", "what a person thought of it", {}, {"decision_id": _ID, "verdict": "right"}),
}
_DECISION = _object(_EXPLAINED, list(_EXPLAINED))
_DECISIONS = _object(
    {"object": {"const": "list"}, "data": {"type": "array", "items": {"anyOf": [_DECISION, _ERROR]}}},
    ["object", "data"],
)
_MANY = {"batch": [{"prompt": "Why is the sky blue?"}, {"messages": _ASKED, "model": "core"}]}

Responses = dict[int | str, dict[str, Any]]
ERRORS: Responses = {
    "4XX": {"description": "The request is refused, in OpenAI's form", "content": _json(_ERROR)},
    "5XX": {"description": "No engine could answer, in OpenAI's form", "content": _json(_ERROR)},
}
CHAT_RESPONSES: Responses = {
    200: {
        "description": "The answer; with `stream` as server-sent events that end on `data: [DONE]`",
        "headers": {**_HEADERS, "x-agoge-backend": {"description": "the engine that answers", "schema": _TEXT}},
        "content": {**_json(_COMPLETION), **EVENTS},
        "links": _LINKS,
    },
    **ERRORS,
}
REMEMBERED_RESPONSES: Responses = {
    200: {
        "description": "The decision as it was taken, explained",
        "content": _json(_object(_EXPLAINED, list(_EXPLAINED))),
    },
    **ERRORS,
}
DECISION_RESPONSES: Responses = {
    200: {
        "description": "The decision with every verdict and the nearest exemplars; for a batch their list",
        "headers": _HEADERS,
        "content": _json(
            {"anyOf": [_object({**_EXPLAINED, "for_engine": _ENGINE_INPUT}, list(_EXPLAINED)), _DECISIONS]}
        ),
    },
    **ERRORS,
}
CHAT_BODY = {"requestBody": {"required": True, "content": _json({**_CHAT, "examples": [{"messages": _ASKED}]})}}
DECISION_BODY = {
    "requestBody": {
        "required": True,
        "content": _json(
            {"anyOf": [_DECIDE, _DECIDE_MANY], "examples": [{"input": "Why is the sky blue?"}, _MANY]}
        ),
    }
}

_SPEAKS = _object(
    {"adapters": _NUMBERS, "alone": {"type": "boolean"}, "blend": _TEXT}, ["adapters", "alone", "blend"]
)
_MODEL_OBJECT: Mapping[str, Schema] = {
    "id": _TEXT,
    "object": {"const": "model"},
    "created": {"type": "integer"},
    "owned_by": _TEXT,
    "agoge": {**or_null(_SPEAKS), "description": "who speaks; null where the prompt decides"},
}
_MODEL_SHOWN = _object(_MODEL_OBJECT, list(_MODEL_OBJECT))
MODEL_RESPONSES: Responses = {200: {"description": "The model", "content": _json(_MODEL_SHOWN)}, **ERRORS}
MODELS_RESPONSES: Responses = {
    200: {
        "description": "What `model` may be",
        "content": _json(
            _object(
                {"object": {"const": "list"}, "data": {"type": "array", "items": _MODEL_SHOWN}}, ["object", "data"]
            )
        ),
        "links": {"first": _link("getModel", "one of them", {"name": "$response.body#/data/0/id"})},
    },
    **ERRORS,
}

_FEEDBACK: Mapping[str, Schema] = {
    "decision_id": {**_TEXT, "description": "x-agoge-decision-id of the answer"},
    "verdict": {"type": "string", "enum": ["right", "wrong", "up", "down"]},
    "label": {**_OR_NONE, "description": "what it should have been, one of the classifier's labels"},
    "text": {**_OR_NONE, "maxLength": 20_000, "description": "the prompt, where it may be kept and learned from"},
}
_OUTCOME: Mapping[str, Schema] = {
    "object": {"const": "agoge.outcome"},
    "decision_id": _TEXT,
    "verdict": {"type": "string", "enum": ["right", "wrong"]},
    "decided": {**_OR_NONE, "description": "the label that the decision had"},
    "tenant": _TEXT,
    "at": {**_NUMBER, "description": "seconds since 1970"},
    "role": _OR_NONE,
    "label": _OR_NONE,
    "text": _OR_NONE,
    "channel": _TEXT,
    "scored": {
        "type": "boolean",
        "description": "the label came from this very text: not inherited, not asked for",
    },
}
FEEDBACK_BODY = {
    "requestBody": {
        "required": True,
        "content": _json(
            {
                **_object(_FEEDBACK, ["decision_id", "verdict"]),
                "examples": [{"decision_id": "dec_0123", "verdict": "wrong", "label": "physics"}],
            }
        ),
    }
}
FEEDBACK_RESPONSES: Responses = {
    201: {"description": "What is kept, durably", "content": _json(_object(_OUTCOME, list(_OUTCOME)))},
    **ERRORS,
}
