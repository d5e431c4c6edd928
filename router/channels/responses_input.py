"""`input` and `instructions` of the Responses API -> a conversation in chat's form, the one every engine reads.

Source: OpenAI API reference, "Create a model response", input items. Items that only OpenAI's own store or tools
can make sense of are refused by name; what a model thought (`reasoning`) is left out, no engine reads it. Knows
no other parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from router.core.conversation import Conversation, Message
from router.core.errors import BadRequest

ROLES = ("user", "assistant", "system", "developer")
ITEMS = ("message", "function_call", "function_call_output", "reasoning")
PARTS = ("input_text", "output_text", "input_image")
WHOLE = "nothing is stored here: send the whole conversation in input"
_TEXTS = ("input_text", "output_text", "text")

Content = str | list[dict[str, Any]]


def read_input(raw: object, instructions: object) -> Conversation:
    """Return the conversation, `instructions` first as a system message.

    Raises BadRequest naming the item, what is wrong with it and what would be right.
    """
    said: list[Message] = []
    if instructions is not None and not isinstance(instructions, str):
        raise BadRequest("instructions must be text", param="instructions")
    if instructions:
        said.append(Message("system", instructions))
    if isinstance(raw, str):
        said.append(Message("user", raw))
    elif isinstance(raw, list) and raw:
        called: set[str] = set()
        for index, item in enumerate(raw):
            _add(said, called, item, f"input[{index}]")
    else:
        raise BadRequest("input must be text or a non-empty list of items", param="input")
    if all(message.role != "user" for message in said):
        raise BadRequest(f"input holds no message with the role 'user'; add one ({WHOLE})", param="input")
    return Conversation(tuple(said))


def _add(said: list[Message], called: set[str], item: object, at: str) -> None:
    if not isinstance(item, dict):
        raise BadRequest(f"{at} must be an object such as a message with role and content", param=at)
    match item.get("type", "message"):
        case "message":
            _add_message(said, item, at)
        case "function_call":
            _add_call(said, called, item, at)
        case "function_call_output":
            call = _text(item, "call_id", at)
            if call not in called:
                wrong = f"{at}.call_id: no function_call before it has this call_id; {WHOLE}"
                raise BadRequest(wrong, param=f"{at}.call_id")
            said.append(Message("tool", _content(item.get("output"), f"{at}.output", ""), {"tool_call_id": call}))
        case "reasoning":
            return
        case "item_reference":
            raise BadRequest(f"{at} refers to a stored item; {WHOLE}, this item itself too", param=at)
        case other:
            wrong = f"{at}.type must be one of {', '.join(ITEMS)}, not {other!r:.80}"
            raise BadRequest(wrong, param=f"{at}.type")


def _add_message(said: list[Message], item: Mapping[str, Any], at: str) -> None:
    role = item.get("role")
    if role not in ROLES:
        raise BadRequest(f"{at}.role must be one of {', '.join(ROLES)}, not {role!r:.80}", param=f"{at}.role")
    # What the assistant said was one text before it was cut into parts; a person's parts stand by themselves.
    content = _content(item.get("content"), f"{at}.content", "" if role == "assistant" else None)
    last = said[-1] if said else None
    if role == "assistant" and last and last.extra and last.role == "assistant" and isinstance(content, str):
        said[-1] = last.with_text(last.text + content)  # words behind a call belong to the turn that called
    else:
        said.append(Message(str(role), content))


def _add_call(said: list[Message], called: set[str], item: Mapping[str, Any], at: str) -> None:
    """Add a call to the assistant's turn before it: chat has one message for what the Responses API lists."""
    call, arguments = _text(item, "call_id", at), item.get("arguments")
    if not isinstance(arguments, str):
        raise BadRequest(f"{at}.arguments must be text that holds JSON", param=f"{at}.arguments")
    function = {"name": _text(item, "name", at), "arguments": arguments}
    called.add(call)
    if not said or said[-1].role != "assistant":
        said.append(Message("assistant", None))
    last = said[-1]
    calls = [*(last.extra or {}).get("tool_calls", ()), {"id": call, "type": "function", "function": function}]
    said[-1] = replace(last, extra={"tool_calls": calls})


def _text(item: Mapping[str, Any], name: str, at: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{at}.{name} must be text and not empty", param=f"{at}.{name}")
    return value


def _content(raw: object, at: str, joint: str | None) -> Content:
    """Return content as chat has it; texts only are joined with `joint`, or stay apart without one.

    One part that is text is that text: the same words come to the same decision, however a client wraps them.
    """
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, list):
        raise BadRequest(f"{at} must be text or a list of parts", param=at)
    parts = [_part(part, f"{at}[{index}]") for index, part in enumerate(raw)]
    if all(part["type"] == "text" for part in parts) and (joint is not None or len(parts) < 2):
        return (joint or "").join(part["text"] for part in parts)
    return parts


def _part(part: object, at: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        raise BadRequest(f"{at} must be an object with a type, such as input_text", param=at)
    if kind in _TEXTS or kind == "refusal":
        text = part.get("refusal" if kind == "refusal" else "text")
        if not isinstance(text, str):
            raise BadRequest(f"{at} of the type {kind} must hold text", param=at)
        return {"type": "text", "text": text}
    if kind in ("input_image", "image_url"):
        image = part.get("image_url")
        image = (
            image if isinstance(image, dict) else {**part, "url": image}
        )  # chat's form holds both in one object
        url, detail = image.get("url"), image.get("detail")
        if not isinstance(url, str) or not url:
            wrong = f"{at}.image_url must be a URL or a data: URL; files are not stored here"
            raise BadRequest(wrong, param=f"{at}.image_url")
        if detail is not None and not isinstance(detail, str):
            raise BadRequest(f"{at}.detail must be text, such as auto", param=f"{at}.detail")
        return {"type": "image_url", "image_url": {"url": url} | ({"detail": detail} if detail else {})}
    raise BadRequest(f"{at}.type must be one of {', '.join(PARTS)}, not {kind!r:.80}", param=f"{at}.type")
