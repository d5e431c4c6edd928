"""What a policy says about limits: who is counted, what backends take, and that no decision depends on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.core.limits import Capacity, Limits
from router.core.policy import Policies
from router.policy_file import load_policies
from tests.policies.test_command import run
from tests.stubs import POLICY

LIMITED = """\
limits: { at_once: 8, per_minute: 600 }
capacity:
  first: { at_once: 3 }
  second: { at_once: 4, queue: 0, wait: 0.5 }
tenants:
  clinic: { limits: { at_once: 2 } }
  open: { limits: null }
roles:
  intern: { limits: { at_once: 1, per_minute: null } }
"""


@pytest.fixture
def policies(tmp_path: Path) -> Policies:
    return load(tmp_path, POLICY + LIMITED)


def load(folder: Path, text: str) -> Policies:
    path = folder / "limits.yaml"
    path.write_text(text, "utf-8")
    return load_policies(path)


def test_a_tenant_has_the_documents_limits_or_its_own_or_none(policies: Policies) -> None:
    assert policies.counted("default", None) == ((("default", None), Limits(8, 600)),)
    assert policies.counted("clinic", None) == ((("clinic", None), Limits(2, 600)),)
    assert policies.counted("open", None) == ()


def test_a_role_is_counted_within_its_tenant(policies: Policies) -> None:
    assert policies.counted("clinic", "intern") == (
        (("clinic", None), Limits(2, 600)),
        (("clinic", "intern"), Limits(1, None)),
    )


def test_capacity_is_the_files_or_the_usual(policies: Policies) -> None:
    assert policies.capacity == {"first": Capacity(3, 2, 10.0), "second": Capacity(4, 0, 0.5)}


def test_limits_change_no_revision_for_no_decision_depends_on_them(tmp_path: Path, policies: Policies) -> None:
    plain = load(tmp_path, POLICY)
    assert policies.profile("default", None).revision == plain.profile("default", None).revision


def test_the_command_line_tells_limits_and_what_changes_of_them(tmp_path: Path, policies: Policies) -> None:
    del policies
    plain, limited = tmp_path / "plain.yaml", tmp_path / "limits.yaml"
    plain.write_text(POLICY, "utf-8")
    assert "limits: 2 at once, 600 per minute" in run("show", str(limited), "--tenant", "clinic").stdout
    assert "limits: none" in run("show", str(plain)).stdout
    said = run("diff", str(plain), str(limited)).stdout
    assert "default: limits: {} -> { at_once: 8, per_minute: 600 }" in said
    assert "capacity.first: the usual -> { at_once: 3, queue: 2, wait: 10.0 }" in said
