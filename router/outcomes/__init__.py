"""Stores of outcomes: one module per kind, and the line of text that chooses among them.

- a path: a file of JSON lines
- `redis://user:password@host:6379/0`: a stream (rediss:// for TLS, unix:///socket?db=0)
- `none:`: no feedback is taken

Nothing said: the Redis that the cache is in, else `outcomes.jsonl` in the data folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from router.outcomes.file import FileOutcomes
from router.ports import OutcomeStore
from router.redis_address import SCHEMES

FILE = "outcomes.jsonl"


def open_outcomes(
    spec: str | None,
    cache: str = "memory:",
    data: Path = Path(".agoge"),
    tell: Callable[[str], None] | None = None,
) -> OutcomeStore | None:
    """Return the store that `spec` describes, None for `none:`. Nothing is connected and no file made yet.

    `cache` is the cache's own line of text; its options are not the store's. `tell` hears of damaged entries.
    Raises ValueError that names what is wrong; it never repeats a password.
    """
    if spec is None:
        place, _, query = cache.partition("?")
        if not _is_redis(place):
            return FileOutcomes(data / FILE, tell)
        database = [value for name, value in parse_qsl(query) if name == "db"]
        spec = place + (f"?db={database[0]}" if database else "")
    if spec == "none:":
        return None
    if _is_redis(spec):
        from router.outcomes.redis import RedisOutcomes  # 0.1 s of import that a file does not need

        return RedisOutcomes(spec, tell=tell)
    if "://" in spec or not spec:
        raise ValueError("expected a file, redis://host:6379/0, rediss://..., unix:///path/to/socket or none:")
    return FileOutcomes(Path(spec), tell)


def _is_redis(text: str) -> bool:
    return text.partition("://")[0] in SCHEMES and "://" in text
