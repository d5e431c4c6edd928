"""Every policy in the repository passes its cases and fits the JSON schema; the default does what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from router.core.limits import Limits
from router.core.policy import Always, WhenAsked, WhenLabel
from router.core.reachable import reachable
from router.keys_file import load_keys
from router.policy_cases import cases_beside, load_cases, reached, run_cases
from router.policy_document import schema, schema_text
from router.policy_file import load_policies, resolve
from router.yaml_text import parse_yaml, read_yaml

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "policies", ROOT / "policies/examples")
SHIPPED = sorted(p for folder in FOLDERS for p in folder.glob("*.yaml") if not p.name.endswith(".cases.yaml"))
DEFAULT = ROOT / "policies/default.yaml"


def identity(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SHIPPED, ids=identity)
def test_its_cases_pass(path: Path) -> None:
    policies = load_policies(path)
    outcomes = run_cases(policies, load_cases(cases_beside(path), policies))
    assert [f"{outcome.case.name}: {outcome.got()}" for outcome in outcomes if not outcome.passed] == []


@pytest.mark.parametrize("path", SHIPPED, ids=identity)
def test_it_fits_the_schema_and_says_where_the_schema_is(path: Path) -> None:
    jsonschema.Draft202012Validator(schema()).validate(read_yaml(path).data)
    first = path.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == ROOT / "policies/policy.schema.json"


def test_the_schema_in_the_repository_is_the_generated_one() -> None:
    assert (ROOT / "policies/policy.schema.json").read_text() == schema_text(), "run `agoge policy schema`"


def test_the_schema_is_itself_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))


def test_the_default_policy_is_the_documented_one() -> None:
    policy = load_policies(DEFAULT).profile("default", None)
    assert policy.base == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert policy.backends == ("embedded:",)
    dials = {a.name: (a.when, a.alone, a.weight) for a in policy.adapters}
    assert dials == {
        "academic": (WhenAsked(), True, 1.0),
        "core": (Always(), False, 1.0),
        "physics": (WhenLabel("physics", 0.45), False, 0.8),
        "sport": (WhenLabel("sport", 0.45), False, 0.8),
    }
    assert {"агоге", "ядро", "agoge"} == set(policy.adapter("core").aliases)


def test_the_guides_examples_are_sound(tmp_path: Path) -> None:
    """docs/policy.md: its first policy loads, and its keys file knows the key that its digest is of."""
    policy, cases, tenants, keys, limits = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs/policy.md").read_text(), re.DOTALL
    )
    whole = parse_yaml(policy.encode(), "docs/policy.md")
    assert len(reachable(resolve(whole).profile("default", None))) == 5
    path = tmp_path / "keys.yaml"
    path.write_text(keys)
    team = load_policies(ROOT / "policies/examples/team.yaml")
    assert load_keys(path, team).identify("sk-example") == ("clinic", "editor")
    path.write_text(cases)
    assert all(outcome.passed for outcome in run_cases(team, load_cases(path, team)))
    medicine = "  medicine: { from: ./m, when: { label: medicine, at_least: 0.7 } }\n"
    joined = parse_yaml((policy.replace("adapters:\n", f"adapters:\n{medicine}") + tenants).encode(), "x")
    assert ("clinic", "intern") in resolve(joined).profiles
    limited = resolve(parse_yaml((policy + limits).encode(), "x"))
    assert limited.counted("clinic", "intern") == (
        (("clinic", None), Limits(8, 60)),
        (("clinic", "intern"), Limits(1)),
    )
    assert limited.counted("house", None) == ()


def test_the_default_cases_reach_every_blend() -> None:
    policies = load_policies(DEFAULT)
    outcomes = run_cases(policies, load_cases(cases_beside(DEFAULT), policies))
    assert len(outcomes) >= 12
    assert reached(outcomes) == set(reachable(policies.profile("default", None)))
