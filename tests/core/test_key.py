"""The decision key against RFC 2104 and against every way in which two decisions could share one."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.key import decision_key

SECRET = b"0123456789abcdef0123456789abcdef"
FIELDS: dict[str, Any] = {
    "policy_revision": "r1",
    "classifier_fingerprint": "c1",
    "tenant": "default",
    "role": None,
    "asked": None,
    "prefix": ["hello", "world"],
}


def key(**changes: Any) -> bytes:
    return decision_key(SECRET, **{**FIELDS, **changes})


def test_is_hmac_sha256_computed_by_hand() -> None:
    """RFC 2104 written out over an encoding written out: H((K ^ opad) || H((K ^ ipad) || text))."""

    def text(value: str) -> bytes:
        return len(value.encode()).to_bytes(8, "big") + value.encode()

    message = (
        text("agoge decision key, version 2") + text("r1") + text("c1") + text("default")
        + b"\x01" + text("editor") + b"\x01" + (2).to_bytes(8, "big") + text("core") + text("physics")
        + (1).to_bytes(8, "big") + text("почему небо синее?")
    )  # fmt: skip
    block = SECRET.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in block) + message).digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in block) + inner).digest()
    assert key(role="editor", asked=frozenset({"physics", "core"}), prefix=["почему небо синее?"]) == outer


CHANGES: list[dict[str, Any]] = [
    {},
    {"policy_revision": "r2"},
    {"classifier_fingerprint": "c2"},
    {"tenant": "acme"},
    {"role": "editor"},
    {"role": ""},
    {"asked": frozenset()},
    {"asked": frozenset({"physics"})},
    {"asked": frozenset({"physics", "core"})},
    {"asked": frozenset({"physicscore"})},
    {"prefix": []},
    {"prefix": [""]},
    {"prefix": ["hello"]},
    {"prefix": ["world", "hello"]},
    {"prefix": ["helloworld"]},
    {"prefix": ["hello", "world", ""]},
    # Text that moves over a border between two fields.
    {"policy_revision": "r1c", "classifier_fingerprint": "1"},
    {"classifier_fingerprint": "c1default", "tenant": ""},
    {"tenant": "defaulteditor", "role": None},
    {"role": "physics"},
    {"asked": frozenset({"hello"}), "prefix": ["world"]},
    {"prefix": ["hello\nworld"]},
    {"prefix": ['hello","world']},
]


def test_every_change_gives_another_key() -> None:
    assert len({key(**change) for change in CHANGES}) == len(CHANGES)


def test_another_secret_gives_another_key() -> None:
    assert decision_key(SECRET[::-1], **FIELDS) != key()


def test_the_order_in_which_adapters_were_asked_for_is_no_difference() -> None:
    names = [f"adapter{number}" for number in range(50)]
    assert key(asked=frozenset(names)) == key(asked=frozenset(reversed(names)))


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_two_prefixes_share_a_key_only_when_they_are_equal(one: list[str], other: list[str]) -> None:
    assert (key(prefix=one) == key(prefix=other)) is (one == other)


def test_lone_surrogates_from_json_are_text_like_any_other() -> None:
    pair = "\ud83d" + "\ude00"  # what json.loads('"\\ud83d"') + json.loads('"\\ude00"') gives
    assert len({key(prefix=[pair]), key(prefix=["😀"]), key(prefix=["\ud83d"]), key(prefix=["\ude00"])}) == 4


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="has 3 bytes; one that cannot be guessed has 16 or more"):
        decision_key(b"abc", **FIELDS)
