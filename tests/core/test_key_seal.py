"""Cached values are believed only when our secret sealed them, for this very key."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from router.core.key import seal, unseal

SECRET, KEY, VALUE = b"0123456789abcdef", b"k" * 32, b'{"blend":"core"}'


def test_the_seal_is_the_hmac_that_anyone_can_recompute() -> None:
    by_hand = hmac.new(SECRET, b"agoge cached decision, version 1" + KEY + VALUE, hashlib.sha256).digest()[:16]
    assert seal(SECRET, KEY, VALUE) == by_hand + VALUE
    assert unseal(SECRET, KEY, by_hand + VALUE) == VALUE


@pytest.mark.parametrize(
    ("secret", "key", "sealed"),
    [
        (SECRET, KEY, VALUE),  # never sealed
        (SECRET, KEY, b""),
        (SECRET, KEY, seal(SECRET, KEY, VALUE)[:-1]),  # cut short
        (SECRET, KEY, seal(SECRET, KEY, VALUE)[:16] + b'{"blend":"none"}'),  # another value behind the seal
        (SECRET, b"x" * 32, seal(SECRET, KEY, VALUE)),  # moved to another prompt's key
        (b"another secret...", KEY, seal(SECRET, KEY, VALUE)),
    ],
)
def test_anything_else_is_refused(secret: bytes, key: bytes, sealed: bytes) -> None:
    with pytest.raises(ValueError, match="seal"):
        unseal(secret, key, sealed)
