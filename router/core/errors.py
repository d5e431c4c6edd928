"""Every way a request or a policy can be refused, as one tree. Knows HTTP only as a status number.

AgogeError
├── PolicyInvalid            a policy file is wrong; carries its problems; the old policy stays in force
└── Refused                  this request gets no answer; carries status, code, param, retry_after
    ├── BadRequest           400  the request itself is malformed
    ├── UnknownMode          400  asked for a name nobody has; lists what may be asked for
    ├── Contradiction        400  the user asked for things that exclude each other
    ├── Unauthenticated      401  no key, or an unknown one
    ├── Forbidden            403  the name exists, this caller may not ask for it
    ├── RateLimited          429  this caller has sent more per minute than the policy allows
    ├── Overloaded           429  no place at an engine, and no room left to wait for one
    ├── BlendUnavailable     503  no backend has this blend in its inventory: never sent, never replaced
    ├── Stopping             503  the server was told to stop and may wait for this answer no longer
    └── BackendFailed        an engine failed; carries the engine's name
        ├── BackendOverloaded    429  the engine is full; try the next one or later
        ├── BackendRefused       4xx  the engine found the request itself wrong; the next one would too
        ├── BackendUnreachable   502  no connection, or it broke before the first event
        ├── BackendTimeout       504  connect, first token or next token took too long
        └── BackendBroken        502  the engine answered with an error of its own
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class AgogeError(Exception):
    """Root of everything Agoge raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a policy file.

    `where` is the path inside the document ("adapters.physics.when.at_least"), `wrong` says what is wrong,
    `right` what would be right, `file` and `line` (1-based) where to look when the text is known.
    """

    where: str
    wrong: str
    right: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return f"{place}{self.where or 'policy'}: {self.wrong}; {self.right}"


class PolicyInvalid(AgogeError):
    """A policy cannot be used. `problems` lists everything wrong with it, not only the first thing."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Refused(AgogeError):
    """A request that gets no answer, with what the OpenAI error object needs.

    `message` is for a person; `code` is stable for programs; `param` names the request field at fault;
    `retry_after` is in seconds, None when trying again cannot help.
    """

    status = 500
    code = "internal_error"
    type = "server_error"

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        if code is not None:
            self.code = code


class BadRequest(Refused):
    """The request itself is malformed."""

    status, code, type = 400, "invalid_request", "invalid_request_error"


class UnknownMode(BadRequest):
    """A directive or `model` names something the policy does not have."""

    status, code = 400, "unknown_mode"


class Contradiction(BadRequest):
    """The user asked for things that exclude each other, such as an isolated adapter and the core."""

    status, code = 400, "contradiction"


class Unauthenticated(Refused):
    """A keys file is in force and the request carries no key that is in it."""

    status, code, type = 401, "invalid_api_key", "authentication_error"


class Forbidden(Refused):
    """The name exists, but this caller's policy does not let them ask for it."""

    status, code, type = 403, "mode_forbidden", "permission_error"


class RateLimited(Refused):
    """The caller has sent more requests per minute than the policy allows."""

    status, code, type = 429, "rate_limit_exceeded", "requests"


class Overloaded(Refused):
    """Every place at the engines is taken, and nobody else may wait for one. `retry_after` is always there."""

    status, code, type = 429, "overloaded", "rate_limit_error"


class BlendUnavailable(Refused):
    """No backend can serve exactly this blend now. Refused: another blend would be another speaker."""

    status, code, type = 503, "blend_unavailable", "server_error"


class Stopping(Refused):
    """The server was told to stop, and its time for answers under way is over."""

    status, code = 503, "server_stopping"

    def __init__(self) -> None:
        super().__init__("the server is stopping and cannot finish this answer; ask again", retry_after=1.0)


class BackendFailed(Refused):
    """An engine failed to answer; `backend` is its name in the policy."""

    status, code = 502, "backend_failed"
    try_next = True

    def __init__(
        self,
        message: str,
        *,
        backend: str = "",
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, code=code, param=param, retry_after=retry_after)
        self.backend = backend
        if status is not None:
            self.status = status


class BackendOverloaded(BackendFailed):
    """The engine is full (429). Another backend may have room."""

    status, code, type = 429, "rate_limit_exceeded", "rate_limit_error"


class BackendRefused(BackendFailed):
    """The engine found the request wrong (validation, context too long). Another one would say the same."""

    status, code, type = 400, "invalid_request", "invalid_request_error"
    try_next = False


class BackendUnreachable(BackendFailed):
    """No connection, or it closed before the first event."""

    status, code = 502, "backend_unreachable"


class BackendTimeout(BackendFailed):
    """The connect, first-token or between-tokens limit passed."""

    status, code = 504, "backend_timeout"


class BackendBroken(BackendFailed):
    """The engine answered with an error of its own."""

    status, code = 502, "backend_failed"
