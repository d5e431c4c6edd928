"""Policies -> specs: the whole closure, each blend once, and where profiles differ the stricter one holds."""

from __future__ import annotations

from pathlib import Path

from blends.spec import Spec
from router.core.policy import Policies
from router.core.reachable import reachable
from router.policy_file import load_policies
from router.wiring.blends import specs_of
from tests.stubs import POLICY, write_policy

ROOT = Path(__file__).parents[2]


def policies_of(folder: Path, more: str = "", compose: str = "at_most: 1") -> Policies:
    return load_policies(write_policy(folder, POLICY.replace("at_most: 2", compose) + more))


def by_names(policies: Policies) -> dict[str, list[Spec]]:
    found: dict[str, list[Spec]] = {}
    for spec in specs_of(policies):
        found.setdefault("+".join(name for name, _, _ in spec.members), []).append(spec)
    return found


def test_every_blend_of_every_profile_is_there_once() -> None:
    policies = load_policies(ROOT / "policies/examples/team.yaml")
    wanted = {blend.id for policy in policies.profiles.values() for blend in reachable(policy)}
    ids = [spec.id for spec in specs_of(policies)]
    assert len(ids) == len(set(ids))
    assert set(ids) == wanted
    assert [len(spec.members) for spec in specs_of(policies)] == sorted(len(s.members) for s in specs_of(policies))


def test_a_spec_carries_what_the_build_needs(tmp_path: Path) -> None:
    found = by_names(policies_of(tmp_path))
    (pair,) = found["core+physics"]
    assert pair.members == (("core", 1.0, "./core"), ("physics", 0.8, "./physics"))
    assert (pair.base, pair.alone, pair.method, pair.refuse_conflict_above) == ("some/base", False, "exact", None)
    (isolated,) = found["academic"]
    assert isolated.alone


def test_tenants_with_their_own_weights_have_their_own_blends(tmp_path: Path) -> None:
    found = by_names(policies_of(tmp_path, "tenants:\n  lab: { adapters: { physics: { weight: 0.5 } } }\n"))
    assert [spec.members[1][1] for spec in found["core+physics"]] == [0.5, 0.8]
    assert len(found["core+sport"]) == len(found["core"]) == 1


def test_a_lossy_method_is_for_blends_of_two_and_more(tmp_path: Path) -> None:
    found = by_names(policies_of(tmp_path, compose="at_most: 1, merge: svd(rank=16)"))
    assert found["core+physics"][0].method == "svd(rank=16)"
    assert found["core"][0].method == found["academic"][0].method == "exact"


def test_the_stricter_gate_holds_for_a_shared_blend(tmp_path: Path) -> None:
    gates = {"lab": 0.1, "cafe": 0.4}
    lines = [f"  {name}: {{ compose: {{ refuse_conflict_above: {gate} }} }}\n" for name, gate in gates.items()]
    tenants = "tenants:\n" + "".join(lines)
    found = by_names(policies_of(tmp_path, tenants))
    assert found["core+physics"][0].refuse_conflict_above == 0.1
    other = by_names(policies_of(tmp_path, tenants, "at_most: 1, refuse_conflict_above: 0.05"))
    assert other["core+physics"][0].refuse_conflict_above == 0.05


def test_who_is_isolated_for_one_tenant_is_so_in_the_manifest(tmp_path: Path) -> None:
    """`draft` joins the core for everybody else, and speaks alone for the lab: as a single it is one blend."""
    text = POLICY.replace(
        "academic: { from: ./academic, when: asked, alone: true", "academic: { from: ./academic, when: asked"
    )
    policies = load_policies(
        write_policy(tmp_path, text + "tenants:\n  lab: { adapters: { academic: { alone: true } } }\n")
    )
    (single,) = by_names(policies)["academic"]
    assert single.alone
