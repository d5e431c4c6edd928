"""Many decisions in one request: order kept, a few at a time, one entry's failure in its own place.

Knows how to take a batch apart, not how an entry is decided.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from router.channels.errors import error_object
from router.core.errors import BadRequest, Refused
from router.core.facts import RequestRefused
from router.core.trace import inside
from router.service import Router

MOST = 256  # entries
AT_ONCE = 8  # so that a batch leaves room for everybody else
_SINGLE = ("input", "prompt", "messages", "model")

_log = logging.getLogger(__name__)


def read_batch(body: dict[str, Any]) -> list[Any]:
    """Return the entries of `batch`. Raises BadRequest when it is no list of 1 to MOST, or not alone."""
    batch = body["batch"]
    if not isinstance(batch, list) or not batch:
        raise BadRequest("batch must be a non-empty list of objects with messages or prompt", param="batch")
    if len(batch) > MOST:
        raise BadRequest(f"batch has {len(batch)} entries; {MOST} are allowed", param="batch")
    if beside := [name for name in _SINGLE if name in body]:
        raise BadRequest(f"{beside[0]} stands beside batch; it belongs into each entry", param=beside[0])
    return batch


async def decide_all(
    router: Router, entries: Sequence[Any], decide: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Return what `decide` says of each entry, or OpenAI's error object in its place."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(index: int, entry: Any) -> dict[str, Any]:
        async with room:
            try:
                if not isinstance(entry, dict):
                    raise BadRequest(f"must be an object with messages or prompt, not {type(entry).__name__}")
                return await decide(entry)
            except Refused as error:
                refusal = error
            except Exception:  # a fault of ours in one entry is no reason to lose the others
                _log.exception("an entry of a batch failed")
                refusal = Refused("internal error; the log has the details")
        router.record(RequestRefused(refusal.code, refusal.status))
        told = error_object(refusal)
        told["error"]["param"] = f"batch[{index}]" + (f".{refusal.param}" if refusal.param else "")
        return told

    async def traced(index: int, entry: Any) -> dict[str, Any]:
        with inside("entry"):
            return await one(index, entry)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(traced(index, entry)) for index, entry in enumerate(entries)]
    return [task.result() for task in tasks]
