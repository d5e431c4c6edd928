"""POST /slack/events, /slack/commands, /slack/interactions: verified before it is read. Knows no question.

Source: docs.slack.dev, "Verifying requests from Slack". Nothing of a request that is not Slack's own, or is older
than five minutes, reaches Bolt, which would parse and log it.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from slack_bolt.async_app import AsyncBoltRequest
from slack_sdk.signature import SignatureVerifier
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from router.channels.slack.app import SlackChannel

MAX_BODY = 2**20  # bytes; Slack's own messages end at a few dozen KiB


def slack_routes(channel: SlackChannel) -> APIRouter:
    """Return the routes of this channel. They are Slack's and not in the API's description."""
    routes = APIRouter(prefix="/slack", include_in_schema=False)
    verifier = SignatureVerifier(channel.credentials.signing_secret)

    async def receive(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return JSONResponse({"error": f"the body is larger than {MAX_BODY} bytes"}, status_code=413)
        text = _verified(body, request, verifier)
        if text is None:
            return JSONResponse({"error": "not signed by Slack within the last five minutes"}, status_code=401)
        try:
            asked = AsyncBoltRequest(body=text, headers=dict(request.headers))
        except (AttributeError, TypeError, ValueError, RecursionError):
            return JSONResponse({"error": "the body is neither JSON nor a form"}, status_code=400)
        answer = await channel.bolt.async_dispatch(asked)
        return Response(answer.body, answer.status, answer.first_headers_without_set_cookie())

    for path in ("/events", "/commands", "/interactions"):
        routes.add_api_route(path, receive, methods=["POST"], response_model=None)
    return routes


def _verified(body: bytes, request: Request, verifier: SignatureVerifier) -> str | None:
    """Return the body's text if Slack signed exactly these bytes just now."""
    moment = request.headers.get("x-slack-request-timestamp", "")
    signature = request.headers.get("x-slack-signature", "")
    try:
        text = body.decode()
        genuine = moment.isascii() and moment.isdecimal() and len(moment) < 20 and signature.isascii()
        return text if genuine and verifier.is_valid(text, moment, signature) else None
    except UnicodeDecodeError:
        return None


async def _body(request: Request) -> bytes | None:
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_BODY:
                return None
            chunks.append(chunk)
    except ClientDisconnect:
        return b""  # unsigned, and nobody waits
    return b"".join(chunks)
