"""Keys: who a key belongs to, and that neither memory nor messages hold one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from router.core.errors import Unauthenticated
from router.keys_file import Keys, load_keys
from router.policy_file import load_policies

ROOT = Path(__file__).parents[2]
PLAIN, HASHED = "sk-plain-0001", "sk-hashed-0002"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    path = tmp_path / "keys.yaml"
    digest = hashlib.sha256(HASHED.encode()).hexdigest()
    path.write_text(
        f"keys:\n  {PLAIN}: {{ tenant: clinic, role: editor }}\n  'sha256:{digest}': {{ tenant: school }}\n"
    )
    return load_keys(path, load_policies(ROOT / "policies/examples/team.yaml"))


def test_a_key_names_its_tenant_and_role(keys: Keys) -> None:
    assert keys.identify(PLAIN) == ("clinic", "editor")


def test_a_key_kept_as_its_digest_is_known_by_itself(keys: Keys) -> None:
    assert keys.identify(HASHED) == ("school", None)


def test_the_digest_is_no_key(keys: Keys) -> None:
    """Whoever reads the file must not be able to call with what it says."""
    with pytest.raises(Unauthenticated):
        keys.identify("sha256:" + hashlib.sha256(HASHED.encode()).hexdigest())


@pytest.mark.parametrize("presented", [None, "", "sk-unknown", PLAIN + " ", PLAIN.upper(), "ключ", "\ud800"])
def test_anything_else_is_unauthenticated(keys: Keys, presented: str | None) -> None:
    with pytest.raises(Unauthenticated) as raised:
        keys.identify(presented)
    assert (raised.value.status, raised.value.code) == (401, "invalid_api_key")
    assert not presented or presented not in str(raised.value)


def test_no_key_is_kept_or_shown(keys: Keys) -> None:
    assert PLAIN not in repr(keys)
    assert all(len(digest) == 64 for digest in keys.holders)
    assert hashlib.sha256(PLAIN.encode()).hexdigest() not in repr(keys)
