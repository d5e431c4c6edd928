"""An engine that answers at once: TGI's chat route, one short streamed answer. For measuring what is around it.

Run as `python -m bench.stub_engine PORT`.
"""

from __future__ import annotations

import json
import sys

from aiohttp import web


def _chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    body = {
        "id": "",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "stub",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


ANSWER = b"".join(
    [
        _chunk({"role": "assistant", "content": "Endure"}),
        _chunk({"content": " and"}),
        _chunk({"content": " act."}, "stop"),
        b'data: {"id":"","object":"chat.completion.chunk","created":0,"model":"stub","choices":[],'
        b'"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}\n\n',
        b"data: [DONE]\n\n",
    ]
)


async def chat(request: web.Request) -> web.Response:
    """Answer any chat request with the same three tokens."""
    await request.read()
    return web.Response(body=ANSWER, content_type="text/event-stream")


async def health(request: web.Request) -> web.Response:
    """Be well."""
    return web.Response()


def main() -> None:
    """Serve on the loopback port given as the only argument."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/health", health)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
