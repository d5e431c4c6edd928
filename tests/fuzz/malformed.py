"""Requests as no client should send them, as raw bytes. Knows the routes and their fields, not what they answer.

`draw(dice)` gives (kind, bytes). Most are wrong on purpose, some by luck right: the server has to bear both.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

CHAT, RESPONSES, LEGACY = "/v1/chat/completions", "/v1/responses", "/v1/completions"
DECISIONS, FEEDBACK = "/v1/decisions", "/v1/feedback"
SKY = [{"role": "user", "content": "Why is the sky blue?"}]
TOOL = {"type": "function", "name": "look", "description": "d", "parameters": {"type": "object"}, "strict": True}
SAMPLING = {
    "temperature": 0.5,
    "top_p": 0.9,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "stop": ["."],
    "seed": 1,
}
VALID: Mapping[str, Sequence[dict[str, Any]]] = {
    CHAT: [
        {
            "messages": SKY,
            "model": "auto",
            "stream": False,
            "max_tokens": 9,
            "n": 1,
            "logprobs": False,
            **SAMPLING,
        },
        {"messages": SKY, "stream": True, "stream_options": {"include_usage": True}, "max_completion_tokens": 5},
        {
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "look"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "7"},
                {"role": "user", "content": "режим: физика\nпочему небо синее?", "name": "u"},
            ],
            "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}],
            "tool_choice": "auto",
            "parallel_tool_calls": True,
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        },
    ],
    RESPONSES: [
        {"input": "sky", "instructions": "Be brief.", "max_output_tokens": 9, "temperature": 1, "top_p": 1},
        {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "sky"}]},
                {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "7"},
                {"type": "reasoning", "summary": []},
            ],
            "tools": [TOOL],
            "tool_choice": {"type": "function", "name": "look"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
            "metadata": {"a": "b"},
            "user": "u",
            "store": False,
            "stream": True,
            "include": ["x"],
            "parallel_tool_calls": False,
        },
    ],
    LEGACY: [{"prompt": ["sky"], "model": "physics", "max_tokens": 3, "echo": False, "best_of": 1, **SAMPLING}],
    DECISIONS: [
        {"input": "sky", "model": "core", "for_engine": True},
        {"messages": SKY, "model": "auto"},
        {"batch": [{"prompt": "sky"}, {"messages": SKY, "model": "physics"}, {"input": "marathon"}]},
    ],
    FEEDBACK: [{"decision_id": "dec_" + "0" * 32, "verdict": "up", "label": "physics", "text": "sky"}],
}
PATHS = (
    *VALID, "/v1/models", "/v1/models/physics", "/v1/models/физика", "/v1/decisions/dec_0", "/v1/responses/resp_1",
    "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/", "//", "/v1", "/v1/", "/v1/chat/completions/",
    "/v1/models/%00", "/v1/models/%ff%fe", "/v1/models/%2e%2e%2f%2e%2e", "/v1/../v1/models", "/v1/models/a?b=c#d",
    "/v1/decisions/%ED%A0%80", "http://elsewhere/v1/models", "*", "/v1/models/" + "x" * 3000, "/\u202e", "/%",
    "/%zz",
)  # fmt: skip
METHODS = (
    *("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"),
    *("P\u00d6ST",),
    *("", "A" * 300, "GET\t", "M-SEARCH", "PRI"),
)  # fmt: skip
ODD: Sequence[Any] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**300, 1e308, -0.0, 1e-320, 0.5, "", " ", "\x00"),
    *(
        "x" * 5000,
        "\u202e\u200b\ufeff",
        "режим: академический",
        "mode: ",
        "/mode off",
        "\U0001f600",
        "core+physics",
    ),
    *([], {}, [[]], [None], [{}], {"": ""}, {"type": "text"}, {"type": 5}, [[[[[[[[[[1]]]]]]]]]], ["a"] * 300),
    *({"$ref": "#"}, {"role": "user"}, {"a": {"b": {"c": None}}}, "NaN", "-Infinity", "true", "\ud83d\ude00"),
)
RAW_ODD = (
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "01", "+1", "1.", ".5", "0x10", "1" * 5000, '"\\ud800"'),
    *('"\\udc00\\ud800"', '"\\u0000"', "'x'", "undefined", "[" * 3000, '{"a":' * 2000, "[1,]", '{"a":1,"a":2}'),
    *("/**/1", '"\t"', '"\\x41"', '"unfinished', "[1 2]", "{1:2}", "nul", "tru", "\u00a01", "\ufeff1", "--1"),
)
HEADERS = (
    *("authorization: Bearer sk-plain", "Authorization: bearer   sk-plain  ", "authorization: Basic c2s6", "x: y"),
    *(
        "authorization:",
        "authorization: Bearer",
        "authorization: Bearer " + "k" * 9000,
        "authorization: Bearer \xff",
    ),
    *("authorization: Bearer sk-clinic", "authorization: Bearer sk-editor", "authorization: Bearer sk-nobody"),
    *(
        "x-request-id: " + "i" * 500,
        "x-request-id: a b",
        "x-request-id: \xe9",
        "x-request-id:",
        "x-request-id: ok-1",
    ),
    *("content-type: text/plain", "content-type: application/xml", "content-type: ;;;", "content-encoding: gzip"),
    *("accept: text/event-stream", "accept: */*;q=nan", "accept-encoding: br, gzip;q=2", "expect: 100-continue"),
    *(
        "expect: 200-ok",
        "upgrade: websocket",
        "upgrade: h2c",
        "connection: upgrade",
        "connection: keep-alive, close",
    ),
    *(
        "cookie: " + "a=b; " * 200,
        "host: a\r\nhost: b",
        "host: \x00",
        "host: [::1",
        "x-forwarded-for: 1.2.3.4, ::1",
    ),
    *("range: bytes=0-", "te: trailers", "if-none-match: *", "bad header", ": empty", " folded", "sp ace: 1"),
    *("nul: a\x00b", "tab:\t1", "x-\u00e9: 1", "x" * 400 + ": 1", "long: " + "v" * 9000, "proxy-authorization: x"),
    *("sec-websocket-key: x", "sec-websocket-version: 13", "transfer-encoding: identity", "content-length: 0"),
)
LENGTHS = (
    *("-1", "+5", "5, 5", "5,6", "1e3", "0x10", "", " ", "99999999999999999999", "8388609", "\u0665", "5\t", "٣"),
    *("00000005", "5 5", "abc", "9" * 400),
)
CHUNKS = (
    *(
        b"-1\r\n\r\n",
        b"zz\r\nab\r\n",
        b"5\r\nab\r\n0\r\n\r\n",
        b"5;ext=" + b"e" * 3000 + b"\r\nhello\r\n0\r\n\r\n",
    ),
    *(
        b"ffffffffffffffffffff\r\nx",
        b"7fffffffffffffff\r\nx",
        b"2\r\n{}\r\n",
        b"2\r\n{}0\r\n\r\n",
        b"0\r\n",
        b"\r\n",
    ),
    *(b"2\n{}\n0\n\n", b"2\r\n{}\r\n0\r\nTrailer: x\r\n\r\n", b"2\r\n{}\r\n0\r\n" + b"t: x\r\n" * 300 + b"\r\n"),
    *(
        b"0002\r\n{}\r\n0\r\n\r\n",
        b" 2\r\n{}\r\n0\r\n\r\n",
        b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ),
)
CODINGS = (
    "chunked",
    "Chunked",
    "gzip, chunked",
    "chunked, chunked",
    "xchunked",
    "chunked\x0b",
    "chunked, gzip",
    "",
)

Draw = Callable[[random.Random], bytes]


def post(path: str, body: bytes, *headers: str, key: str = "sk-plain", close: bool = True) -> bytes:
    """Return a request that is right but for what it is given."""
    lines = [f"POST {path} HTTP/1.1", "host: here", f"authorization: Bearer {key}", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"content-length: {len(body)}")
    if close:
        lines.append("connection: close")
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


def valid(dice: random.Random) -> tuple[str, bytes]:
    """Return a route and a body that it takes."""
    path = dice.choice(list(VALID))
    return path, json.dumps(dice.choice(VALID[path]), ensure_ascii=dice.random() < 0.5).encode()


def line(dice: random.Random) -> bytes:
    """Break the request line."""
    method, path = dice.choice(METHODS), dice.choice(PATHS)
    version = dice.choice(
        ["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.1.1", "http/1.1", "HTTP/9", "", "x"]
    )
    joint, end = dice.choice([" ", "  ", "\t", ""]), dice.choice(["\r\n", "\n", "\r", "\r\n\r\n", "\x00\r\n"])
    head = joint.join([method, path, version]) + end + "host: here\r\nconnection: close\r\n\r\n"
    return dice.choice([b"", b"\r\n", b"\x16\x03\x01", b"\xef\xbb\xbf"]) + head.encode()


def head(dice: random.Random) -> bytes:
    """Send headers that should not be, to every route and by every method."""
    _, body = valid(dice)
    path, method = dice.choice(PATHS), dice.choice(METHODS[:8])
    chosen = [f"{method} {path} HTTP/1.1", "host: here", *dice.choices(HEADERS, k=dice.randint(1, 6))]
    if dice.random() < 0.1:
        chosen += [f"h{n}: {n}" for n in range(dice.choice([50, 500, 3000]))]
    if dice.random() < 0.7:
        chosen += [f"content-length: {len(body)}", "connection: close"]
    end = dice.choice(["\r\n"] * 6 + ["\n", "\r"])
    return end.join([*chosen, "", ""]).encode("latin-1", "replace") + body


def length(dice: random.Random) -> bytes:
    """Lie about the length, or tell it twice."""
    path, body = valid(dice)
    lie = dice.choice([*LENGTHS, str(len(body) - 1), str(len(body) + 1), str(len(body) // 2), str(10**7)])
    more = dice.choice([(), (), ("transfer-encoding: chunked",), (f"content-length: {len(body)}",)])
    return post(path, body, f"content-length: {lie}", *more)


def chunked(dice: random.Random) -> bytes:
    """Break the chunked coding."""
    path, body = valid(dice)
    coding = f"transfer-encoding: {dice.choice(CODINGS) if dice.random() < 0.4 else 'chunked'}"
    if dice.random() < 0.6:
        return post(path, dice.choice(CHUNKS), coding)
    at = dice.randint(0, len(body))
    whole = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:at], body[at:]) if part) + b"0\r\n\r\n"
    return post(path, whole if dice.random() < 0.3 else _mutated(dice, whole), coding)


def truncated(dice: random.Random) -> bytes:
    """Stop in the middle."""
    path, body = valid(dice)
    whole = post(path, body)
    return whole[: dice.randint(0, len(whole) - 1)]


def pipelined(dice: random.Random) -> bytes:
    """Send several at once, some of them wrong, without waiting for answers."""
    parts = [post(*valid(dice), close=False) for _ in range(dice.randint(1, 4))]
    parts.insert(dice.randint(0, len(parts)), dice.choice([wrong, line, head, mutated])(dice))
    return b"".join([*parts, post(*valid(dice))])


def wrong(dice: random.Random) -> bytes:
    """Put a value of the wrong kind into one field of a body, deep or not."""
    path = dice.choice(list(VALID))
    body = copy.deepcopy(dice.choice(VALID[path]))
    for _ in range(dice.choice([1, 1, 1, 2, 4])):
        places = list(_places(body))
        inside, key = dice.choice(places) if places else (body, "messages")
        inside[key] = copy.deepcopy(dice.choice(ODD))
        if dice.random() < 0.1 and isinstance(inside, dict):
            del inside[key]
    text = json.dumps(body, ensure_ascii=dice.random() < 0.7)
    return post(
        path, text.encode("utf-8", "surrogatepass"), key=dice.choice(["sk-plain", "sk-editor", "sk-clinic"])
    )


def unreadable(dice: random.Random) -> bytes:
    """Put into one field what is no JSON, or not JSON that anybody means."""
    path = dice.choice(list(VALID))
    body = copy.deepcopy(dice.choice(VALID[path]))
    inside, key = dice.choice(list(_places(body)))
    inside[key] = "@@"
    text = json.dumps(body).replace('"@@"', dice.choice(RAW_ODD), 1)
    return post(path, text.encode("utf-8", "surrogatepass"))


def mutated(dice: random.Random) -> bytes:
    """Change some bytes of a body that was right."""
    path, body = valid(dice)
    return post(path, _mutated(dice, body))


def garbled(dice: random.Random) -> bytes:
    """Change some bytes anywhere in a request that was right."""
    return _mutated(dice, post(*valid(dice)))


def noise(dice: random.Random) -> bytes:
    """Send bytes that mean nothing."""
    return dice.randbytes(dice.choice([1, 10, 100, 1000, 20_000])) + dice.choice([b"", b"\r\n\r\n"])


KINDS: Mapping[str, Draw] = {
    each.__name__: each
    for each in (*(line, head, length, chunked, truncated, pipelined, wrong, unreadable, mutated, garbled, noise),)
}
_OFTEN = ("wrong", "wrong", "wrong", "head", "mutated")


def draw(dice: random.Random) -> tuple[str, bytes]:
    """Return one request and the kind that it is of."""
    kind = dice.choice([*KINDS, *_OFTEN])
    return kind, KINDS[kind](dice)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) for every value inside."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from _places(inner)


def _mutated(dice: random.Random, raw: bytes) -> bytes:
    found = bytearray(raw)
    for _ in range(dice.choice([1, 1, 2, 5, 20])):
        at = dice.randrange(len(found) + 1)
        match dice.randrange(5):
            case 0:
                found[at : at + 1] = dice.randbytes(1)
            case 1:
                found[at:at] = dice.choice(
                    [b"\x00", b'"', b"\\", b"{", b"]", b",", b"\xff", b"\xed\xa0\x80", b"\\ud8"]
                )
            case 2:
                del found[at : at + dice.randint(1, 10)]
            case 3:
                found[at:at] = found[at : at + dice.randint(1, 30)] * dice.choice([1, 1, 3])
            case _:
                end = dice.randrange(len(found) + 1)
                found[at:at] = found[min(at, end) : min(at, end) + 20]
    return bytes(found)
