"""Refusals -> OpenAI's error object with the headers its clients act on. Knows no decision.

openai-python reads `body["error"]` with message/type/param/code, maps the status to an exception class, and
honours `x-should-retry` and `retry-after`; FastAPI's own `{"detail": ...}` would lose all of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from router.channels.request_id import HEADER, request_id
from router.channels.wire import ClientGone
from router.core.errors import BadRequest, Refused
from router.core.facts import RequestRefused
from router.service import Router

ROUTES = (
    "POST /v1/chat/completions, POST /v1/responses, POST /v1/completions, GET /v1/models, POST /v1/decisions, "
    "GET /v1/decisions/ID, POST /v1/feedback; /openapi.json describes them"
)


def error_object(refusal: Refused) -> dict[str, Any]:
    """Return the body OpenAI clients expect: {"error": {message, type, param, code}}."""
    return {
        "error": {
            "message": refusal.message,
            "type": refusal.type,
            "param": refusal.param,
            "code": refusal.code,
        }
    }


def error_response(refusal: Refused) -> JSONResponse:
    """Return the whole answer. Only overload, time-outs and outages are worth retrying."""
    retryable = refusal.status in (429, 502, 503, 504)
    headers = {"x-should-retry": "true" if retryable else "false"}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(refusal.retry_after)))
        headers["retry-after-ms"] = str(int(refusal.retry_after * 1000))
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error_object(refusal), status_code=refusal.status, headers=headers)


def install(app: FastAPI, router: Router) -> Callable[[Exception], Response | None]:
    """Answer every failure of `app` in OpenAI's form, and count it.

    Returns the same for endpoints that are called past `app`: None for a failure that is a bug.
    """

    def respond(refusal: Refused) -> JSONResponse:
        router.record(RequestRefused(refusal.code, refusal.status))
        return error_response(refusal)

    def failed(error: Exception) -> Response | None:
        if isinstance(error, ClientGone):
            return Response(status_code=499)  # nobody reads it: the client has left
        return respond(error) if isinstance(error, Refused) else None

    async def known(request: Request, error: Exception) -> Response:
        answer = failed(error)
        assert answer is not None  # noqa: S101 - registered for what `failed` knows alone
        return answer

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"] if step != "body")
        return respond(BadRequest(f"{where or 'body'}: {first['msg']}", param=where or None))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
        wrong = f"{request.method} {request.scope['path']}: {error.detail}"
        if error.status_code in (404, 405):
            wrong += f"; there are {ROUTES}"
        refusal = BadRequest(wrong)
        refusal.status = error.status_code
        refusal.code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        response = respond(refusal)
        response.headers.update(error.headers or {})  # such as Allow, which a 405 must have
        return response

    async def broken(request: Request, error: Exception) -> JSONResponse:
        response = respond(Refused("internal error; the log has the details"))
        response.headers[HEADER] = request_id(request)  # this answer is made outside of the middleware
        return response

    app.add_exception_handler(Refused, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ClientGone, known)
    app.add_exception_handler(Exception, broken)
    return failed
