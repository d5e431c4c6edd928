"""The name of a cached decision: one keyed digest over everything a decision depends on. Knows no cache.

Because whatever could change a decision is in its key, nothing is ever invalidated: a changed policy or
classifier asks under other keys, and the old entries age out.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence

_PURPOSE = "agoge decision key, version 2"  # another use of the same secret can never give the same digest
_SEAL = b"agoge cached decision, version 1"
_SEAL_BYTES = 16
_SHORTEST_SECRET = 16


def decision_key(
    secret: bytes,
    *,
    policy_revision: str,
    classifier_fingerprint: str,
    tenant: str,
    role: str | None,
    asked: frozenset[str] | None,
    prefix: Sequence[str],
) -> bytes:
    """Return the 32-byte HMAC-SHA256 (RFC 2104) under which a decision is stored.

    `prefix` is the conversation as far as the decision read it, oldest text first. `asked` is what the user
    named: None when nothing was, which differs from an empty set. Only this digest is stored: nothing of a
    prompt can be read from it, and without `secret` nobody can test a guessed prompt against it either.
    Replicas that share a cache must share the secret.

    Raises ValueError when the secret is shorter than 16 bytes.
    """
    if len(secret) < _SHORTEST_SECRET:
        raise ValueError(
            f"the cache secret has {len(secret)} bytes; one that cannot be guessed has {_SHORTEST_SECRET} or more"
        )
    fields = (
        _written(_PURPOSE),
        _written(policy_revision),
        _written(classifier_fingerprint),
        _written(tenant),
        _optional(None if role is None else _written(role)),
        _optional(None if asked is None else _listed(sorted(asked))),
        _listed(prefix),
    )
    return hmac.digest(secret, b"".join(fields), "sha256")


def seal(secret: bytes, key: bytes, value: bytes) -> bytes:
    """Return `value` behind a 16-byte HMAC-SHA256 over key and value: what a shared cache may hold.

    Without it, whoever can write to the cache could put the core into an isolated decision, or serve one
    prompt's decision to another.
    """
    return hmac.digest(secret, _SEAL + key + value, "sha256")[:_SEAL_BYTES] + value


def unseal(secret: bytes, key: bytes, sealed: bytes) -> bytes:
    """Return the value that was sealed under `key`. Raises ValueError when it was not sealed by us, for it."""
    value = sealed[_SEAL_BYTES:]
    if not hmac.compare_digest(seal(secret, key, value), sealed):
        raise ValueError("the cached value is not ours: its seal does not fit")
    return value


def _written(text: str) -> bytes:
    """Length first, then the bytes: no text can run into its neighbour. JSON may bring lone surrogates."""
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8, "big") + raw


def _listed(texts: Iterable[str]) -> bytes:
    written = [_written(text) for text in texts]
    return len(written).to_bytes(8, "big") + b"".join(written)


def _optional(encoded: bytes | None) -> bytes:
    return b"\x00" if encoded is None else b"\x01" + encoded
