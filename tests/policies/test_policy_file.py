"""Loading: tenants and roles as patches, revisions that follow meaning, YAML's anchors, lines in errors."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
import yaml

from router import shapes
from router.core.errors import Forbidden, PolicyInvalid, Problem
from router.core.policy import Always, Policies, WhenLabel
from router.core.reachable import reachable
from router.policy_document import schema
from router.policy_file import resolve
from router.yaml_text import Written, parse_yaml

INVALID = sorted((Path(__file__).parent / "data/invalid").glob("*.yaml"))
GOOD = """\
version: 1
base: org/model
adapters:
  core: { from: ./core, when: always }
  physics: { from: ./physics, when: { label: physics, at_least: 0.5 }, aliases: [физика, phys] }
  academic: { from: ./academic, when: asked, alone: true }
compose: { at_most: 2 }
backends: [primary, spare]
"""


def loaded(text: str) -> Policies:
    return resolve(parse_yaml(text.encode(), "policy.yaml"))


def problems(text: str) -> list[Problem]:
    with pytest.raises(PolicyInvalid) as raised:
        loaded(text)
    return list(raised.value.problems)


# --- values


def test_the_values_are_the_written_ones() -> None:
    policy = loaded(GOOD).profile("default", None)
    assert (policy.base, policy.at_most, policy.merge, policy.otherwise) == ("org/model", 2, "exact", ())
    assert (policy.backends, policy.may_ask, policy.tenant, policy.role) == (
        ("primary", "spare"),
        None,
        "default",
        None,
    )
    physics = policy.adapter("physics")
    assert (physics.source, physics.when, physics.weight) == ("./physics", WhenLabel("physics", 0.5), 1.0)
    assert physics.aliases == ("phys", "физика")
    assert policy.adapter("core").when == Always()
    assert [adapter.name for adapter in policy.adapters] == ["academic", "core", "physics"]


def test_may_ask_left_out_means_all_and_empty_means_none() -> None:
    assert loaded(GOOD).profile("default", None).may_ask is None
    assert loaded(GOOD + "may_ask: []\n").profile("default", None).may_ask == frozenset()


def test_anchors_and_merge_keys_work_and_own_keys_win() -> None:
    text = GOOD.replace("  physics: {", "  physics: &domain {").replace(
        "  academic:",
        "  sport: { <<: *domain, from: ./sport, when: { label: sport, at_least: 0.6 }, aliases: [] }\n  academic:",
    )
    sport = loaded(text).profile("default", None).adapter("sport")
    assert (sport.source, sport.when) == ("./sport", WhenLabel("sport", 0.6))


def test_a_method_has_one_form_and_the_blends_follow_it() -> None:
    exact = loaded(GOOD.replace("at_most: 2", "at_most: 2, merge: exact")).profile("default", None)
    lossy = loaded(GOOD.replace("at_most: 2", 'at_most: 2, merge: "svd( rank = 16 )"')).profile("default", None)
    assert (lossy.merge, lossy.refuse_conflict_above) == ("svd(rank=16)", None)
    changed = {one.id != other.id for one, other in zip(reachable(exact), reachable(lossy), strict=True)}
    assert changed == {True, False}  # pairs are other blends now, single adapters are not
    for one, other in zip(reachable(exact), reachable(lossy), strict=True):
        assert (one.id == other.id) == (len(one.members) == 1)


def test_the_conflict_gate_can_be_set_and_removed_by_a_tenant() -> None:
    text = GOOD.replace("at_most: 2", "at_most: 2, refuse_conflict_above: 0.1")
    policies = loaded(text + "tenants:\n  lab: { compose: { refuse_conflict_above: null } }\n")
    assert policies.profile("default", None).refuse_conflict_above == 0.1
    assert policies.profile("lab", None).refuse_conflict_above is None


def test_a_byte_order_mark_and_windows_line_ends_are_no_difference() -> None:
    windows = b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()
    assert resolve(parse_yaml(windows, "policy.yaml")).revision == loaded(GOOD).revision


@pytest.mark.parametrize("path", [p for p in INVALID if p.stem > "050"] + [Path("policies/examples/team.yaml")])
def test_the_strict_reader_reads_what_pyyaml_reads(path: Path) -> None:
    """Where both accept a file, the data is the same; PyYAML's own loader is the judge."""
    content = (Path(__file__).parents[2] / path).read_bytes()
    ours = parse_yaml(content, str(path)).data
    assert repr(ours) == repr(yaml.safe_load(content))  # repr: a NaN in one of them equals nothing


# --- revisions


def test_the_revision_of_a_policy_without_the_newer_keys_is_what_it_was() -> None:
    """Hashed from the document as it was before `refuse_conflict_above` existed."""
    assert loaded(GOOD).profile("default", None).revision == "5d119dccffb1bc96"
    lossy = [
        loaded(GOOD.replace("at_most: 2", f'at_most: 2, merge: "{m}"')).revision
        for m in ("svd(rank=8)", "svd( rank=8 )")
    ]
    assert lossy[0] == lossy[1] != loaded(GOOD).revision
    assert (
        loaded(GOOD.replace("at_most: 2", "at_most: 2, refuse_conflict_above: 0.1")).revision
        != loaded(GOOD).revision
    )


def test_the_revision_follows_meaning_not_form() -> None:
    same = """\
backends:
  - primary
  - spare
compose:
  merge: exact
  at_most: 2
adapters:
  academic: {alone: true, when: asked, from: "./academic"}
  physics:
    aliases: [phys, "физика"]
    weight: 1
    when: {at_least: 5.0e-1, label: physics}
    from: ./physics
  core: {when: always, from: ./core, alone: false}
otherwise: []
base: "org/model"
version: 1
"""
    assert loaded(same) == loaded(GOOD)
    assert len(loaded(GOOD).revision) == len(loaded(GOOD).profile("default", None).revision) == 16


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("at_least: 0.5", "at_least: 0.51"),
        ("./core", "./core-2"),
        ("org/model", "org/other"),
        ("[primary, spare]", "[spare, primary]"),
        ("at_most: 2", "at_most: 1"),
        ("phys]", "phis]"),
        ("alone: true", "alone: false"),
        ("version: 1", "version: 1\nmay_ask: []"),
        ("version: 1", "version: 1\notherwise: [physics]"),
    ],
)
def test_every_change_of_meaning_changes_the_revision(old: str, new: str) -> None:
    changed = loaded(GOOD.replace(old, new))
    assert changed.revision != loaded(GOOD).revision
    assert changed.profile("default", None).revision != loaded(GOOD).profile("default", None).revision


def test_a_tenants_change_leaves_the_others_revision() -> None:
    one = loaded(GOOD + "tenants:\n  a: { compose: { at_most: 1 } }\n  b: {}\n")
    other = loaded(GOOD + "tenants:\n  a: { compose: { at_most: 3 } }\n  b: {}\n")
    assert one.revision != other.revision
    assert one.profile("a", None).revision != other.profile("a", None).revision
    assert one.profile("b", None).revision == other.profile("b", None).revision


# --- tenants and roles

TENANTS = (
    GOOD
    + """\
may_ask: []
roles:
  editor: { may_ask: [academic] }
  reader: {}
tenants:
  acme:
    adapters:
      physics: { when: { at_least: 0.9 }, weight: 0.3 }
    roles:
      editor: { compose: { at_most: 1 } }
      guest: { adapters: { academic: null } }
      reader: null
  solo:
    roles: null
"""
)


def test_every_tenant_and_role_has_a_profile() -> None:
    assert set(loaded(TENANTS).profiles) == {
        ("default", None),
        ("default", "editor"),
        ("default", "reader"),
        ("acme", None),
        ("acme", "editor"),
        ("acme", "guest"),
        ("solo", None),
    }


def test_a_tenants_patch_changes_only_what_it_names() -> None:
    acme = loaded(TENANTS).profile("acme", None)
    assert acme.adapter("physics").when == WhenLabel("physics", 0.9)
    assert acme.adapter("physics").weight == 0.3
    assert acme.adapter("physics").source == "./physics"
    assert loaded(TENANTS).profile("default", None).adapter("physics").when == WhenLabel("physics", 0.5)


def test_a_role_adds_the_common_patch_then_the_tenants_own() -> None:
    editor = loaded(TENANTS).profile("acme", "editor")
    assert editor.may_ask == frozenset({"academic"})  # the common role
    assert editor.at_most == 1  # the tenant's own patch of it
    assert editor.adapter("physics").weight == 0.3  # the tenant
    assert (editor.tenant, editor.role) == ("acme", "editor")
    assert loaded(TENANTS).profile("default", "editor").at_most == 2


def test_null_in_a_tenants_role_removes_from_the_profile() -> None:
    assert [a.name for a in loaded(TENANTS).profile("acme", "guest").adapters] == ["core", "physics"]


@pytest.mark.parametrize(("tenant", "role"), [("acme", "reader"), ("solo", "editor"), ("nobody", None)])
def test_a_caller_that_is_not_there_is_forbidden(tenant: str, role: str | None) -> None:
    with pytest.raises(Forbidden, match="the policy has no profile for tenant") as caught:
        loaded(TENANTS).profile(tenant, role)
    assert "acme" not in caught.value.message.replace(repr(tenant), ""), "nobody hears of the other tenants"


# --- problems


def test_problems_of_the_document_are_told_once_not_per_tenant() -> None:
    text = TENANTS.replace("base: org/model\n", "")
    assert [(p.where, p.wrong) for p in problems(text)] == [("base", "is missing")]
    text = TENANTS.replace("./core", '""')
    assert [(p.where, p.wrong) for p in problems(text)] == [("adapters.core.from", "is blank")]


def test_all_problems_come_at_once_in_the_order_of_lines() -> None:
    text = GOOD.replace("always", "alway").replace("at_least: 0.5", "at_least: half").replace("at_most", "atmost")
    assert [(p.line, p.where) for p in problems(text)] == [
        (4, "adapters.core.when"),
        (5, "adapters.physics.when.at_least"),
        (7, "compose.at_most"),
        (7, "compose.atmost"),
    ]


def test_a_problem_names_file_line_path_wrong_and_right() -> None:
    (problem,) = problems(GOOD.replace("always", "alway"))
    assert problem == Problem(
        where="adapters.core.when",
        wrong="is the text 'alway'",
        right="write always, asked or a label gate, like { label: physics, at_least: 0.55 }",
        file="policy.yaml",
        line=4,
    )


# --- the schema and the reader agree


@pytest.mark.parametrize("path", [p for p in INVALID if p.stem > "021"], ids=lambda p: p.stem)
def test_what_the_shape_refuses_the_schema_refuses_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is either refused by the JSON schema, or wrong in meaning (which no schema can see)."""
    written = sound(path)
    if written is None:
        return  # wrong as YAML already: no data to hold against a schema
    by_shape: list[Problem] = []
    shaped = shapes._problem

    def recorded(*args: Any) -> Problem:
        by_shape.append(shaped(*args))
        return by_shape[-1]

    monkeypatch.setattr(shapes, "_problem", recorded)
    with pytest.raises(PolicyInvalid):
        resolve(written)
    refused = not jsonschema.Draft202012Validator(schema()).is_valid(written.data)
    # a tenant's patch may lack anything: only the reader, which resolves it, can see that the whole then lacks it
    visible = [p for p in by_shape if not (p.where.startswith("tenants.") and p.wrong == "is missing")]
    assert refused or not visible


def sound(path: Path) -> Written | None:
    """Return what the file says, or None when it is not sound YAML."""
    try:
        return parse_yaml(path.read_bytes(), path.name)
    except PolicyInvalid:
        return None


def test_the_schema_completes_patches_too() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    data = parse_yaml(TENANTS.encode(), "policy.yaml").data
    validator.validate(data)
    data["tenants"]["acme"]["adapters"]["physics"]["wieght"] = 0.5
    assert not validator.is_valid(data)


# --- whatever stands in a file

PIECES = [
    *(
        b"null",
        b"[]",
        b"{}",
        b"-1",
        b"9" * 400,
        b"true",
        b"\xff",
        b"\x00",
        b"\t",
        b"\n",
        b": ",
        b"- ",
        b"? ",
        b"|",
    ),
    *(b"&a ", b"*a", b"<<: ", b"!!str ", b"{", b"}", b'"', b"'", b".inf", b"always", b"core", b"roles: ", b"."),
]


@pytest.mark.parametrize("seed", range(150))
def test_a_damaged_file_is_refused_in_words_or_still_sound(seed: int) -> None:
    random = Random(seed)
    content = bytearray(TENANTS.encode())
    for _ in range(random.choice((1, 1, 2, 4))):
        start = random.randrange(len(content))
        content[start : start + random.choice((0, 1, 3, 9))] = random.choice(PIECES)
    found: tuple[Problem, ...] = ()
    try:
        policies = resolve(parse_yaml(bytes(content), "policy.yaml"))
    except PolicyInvalid as invalid:
        found = invalid.problems
        policies = loaded(TENANTS)
    assert all(problem.file == "policy.yaml" and problem.wrong and problem.right for problem in found)
    assert all(reachable(policy) for policy in policies.profiles.values())
