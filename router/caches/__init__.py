"""Caches of decisions: one module per kind, and the one line of text that chooses among them.

- `memory:?entries=10000&bytes=67108864&ttl=600`: in this process
- `redis://user:password@host:6379/0?ttl=600&timeout=0.02`: shared (rediss:// for TLS, unix:///socket?db=0)
- `none:`: every decision is taken anew
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from router.caches.memory import MemoryCache
from router.ports import Claims, DecisionCache, Meter

CLAIM_SECONDS = 1.0  # that a claim may take

_MEMORY: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "entries": ("max_entries", int),
    "bytes": ("max_bytes", int),
    "ttl": ("ttl", float),
}
_REDIS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "ttl": ("ttl", float),
    "timeout": ("timeout", float),
    "pause": ("pause", float),
}


def open_cache(spec: str) -> DecisionCache:
    """Return the cache that `spec` describes. Nothing is connected yet.

    Raises ValueError that names what is wrong and what would be right; it never repeats a password.
    """
    scheme, colon, rest = spec.partition(":")
    place, _, query = rest.partition("?")
    if colon and scheme == "memory" and not place:
        return MemoryCache(**_options("memory:", query, _MEMORY)[0])
    if colon and scheme == "none" and not rest:
        return MemoryCache(max_entries=0)
    if colon and scheme in ("redis", "rediss", "unix") and place.startswith("//"):
        from router.caches.redis import RedisCache  # 0.1 s of import that the other caches do not need

        options, left = _options(f"{scheme}:", query, _REDIS, keep="db")
        return RedisCache(f"{scheme}:{place}" + (f"?{left}" if left else ""), **options)
    raise ValueError(
        f"no cache starts with {scheme + ':' if colon else 'what was given'!r} like this; expected "
        "memory:?entries=10000&ttl=600, redis://host:6379/0?ttl=600, rediss://..., unix:///path/to/socket?ttl=600 "
        "or none:"
    )


def open_claims(spec: str, purpose: str) -> Claims | None:
    """Return who decides among replicas which of them comes first: the Redis of `spec`, None for any other cache.

    `purpose` keeps its keys apart from the decisions. Raises ValueError as `open_cache` does.
    """
    scheme, _, rest = spec.partition(":")
    if scheme not in ("redis", "rediss", "unix"):
        return None
    from router.caches.redis import RedisCache

    place, _, query = rest.partition("?")
    left = _options(f"{scheme}:", query, _REDIS, keep="db")[1]
    url = f"{scheme}:{place}" + (f"?{left}" if left else "")
    # Patient, unlike the cache: losing a claim is a second answer, and nobody waits for this one.
    return RedisCache(url, timeout=CLAIM_SECONDS, prefix=f"agoge:{purpose}:".encode())


def open_meter(spec: str) -> Meter | None:
    """Return what counts requests for all replicas: the Redis of `spec`, None for any other cache.

    Its keys are apart from the decisions. Raises ValueError as `open_cache` does.
    """
    scheme, _, rest = spec.partition(":")
    if scheme not in ("redis", "rediss", "unix"):
        return None
    from router.caches.redis import RedisCache

    place, _, query = rest.partition("?")
    options, left = _options(f"{scheme}:", query, _REDIS, keep="db")
    return RedisCache(f"{scheme}:{place}" + (f"?{left}" if left else ""), prefix=b"agoge:r:", **options)


def _options(
    kind: str, query: str, known: Mapping[str, tuple[str, Callable[[str], Any]]], keep: str | None = None
) -> tuple[dict[str, Any], str]:
    """Return the options of `query` as arguments, and the `keep` option as it was written."""
    options: dict[str, Any] = {}
    left = ""
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == keep:
            left = f"{name}={value}"
            continue
        if name not in known:
            # The name is not repeated: a password with a bare "?" in it would end up here.
            raise ValueError(
                f"{kind} got an option it does not have; it has {', '.join([*known, *filter(None, [keep])])}"
            )
        argument, read = known[name]
        if argument in options:
            raise ValueError(f"{kind} option {name!r} is given twice")
        try:
            options[argument] = read(value)
        except ValueError:
            raise ValueError(f"{kind} option {name!r} is not a number; write it like {name}=600") from None
    return options, left
