"""Every rule of policies, cases and keys has a file that breaks it, with every message written in its head."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType

import pytest

from router import keys_file, policy_callers, policy_cases, policy_file, shapes, yaml_text
from router.core import check
from router.core.errors import PolicyInvalid, Problem
from router.keys_file import load_keys
from router.policy_cases import load_cases
from router.policy_file import load_policies

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
POLICIES = sorted((DATA / "invalid").glob("*.yaml"))
CASES = sorted((DATA / "invalid_cases").glob("*.yaml"))
KEYS = sorted((DATA / "invalid_keys").glob("*.yaml"))
TEAM = ROOT / "policies/examples/team.yaml"
LABELS = frozenset({"physics", "sport"})


def expected(path: Path) -> list[str]:
    """Read the messages out of the file's head: `# expect: LINE: PATH: WRONG; RIGHT`."""
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    return [line.removeprefix("# expect: ") for line in lines if line.startswith("# expect: ")]


def found(path: Path, load: Callable[[Path], object]) -> list[str]:
    with pytest.raises(PolicyInvalid) as raised:
        load(path)
    return [str(problem).removeprefix(f"{path}:").strip() for problem in raised.value.problems]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_a_bad_policy_is_refused_with_exactly_its_message(path: Path) -> None:
    assert found(path, load_policies) == expected(path)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_bad_cases_are_refused_with_exactly_their_message(path: Path) -> None:
    policies = load_policies(TEAM)
    assert found(path, lambda cases: load_cases(cases, policies)) == expected(path)


@pytest.mark.parametrize("path", KEYS, ids=lambda path: path.stem)
def test_bad_keys_are_refused_with_exactly_their_message_and_no_key_in_it(path: Path) -> None:
    policies = load_policies(TEAM)
    messages = found(path, lambda keys: load_keys(keys, policies))
    assert messages == expected(path)
    assert not any(secret in "".join(messages) for secret in ("secret", "1234567", "12_34", "abcdef"))


def test_a_label_that_the_classifier_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD.replace("label: sport", "label: sports"))
    assert found(path, lambda policy: load_policies(policy, LABELS)) == [
        "5: adapters.sport.when.label: the classifier has no label 'sports'; did you mean 'sport'?"
    ]


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    assert found(tmp_path / "absent.yaml", load_policies) == [
        "policy: cannot be read: No such file or directory; give the path of a readable file"
    ]
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * 1_000_001)
    assert found(large, load_policies) == ["policy: is larger than 1 MB; split it; policies are short"]


GOOD = """version: 1
base: org/model
adapters:
  core: { from: ./core, when: always }
  sport: { from: ./sport, when: { label: sport, at_least: 0.5 } }
compose: { at_most: 2 }
backends: [primary]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, int]]:
    """File and line of every call that was under way whenever a problem was made, over all bad files."""
    places: set[tuple[str, int]] = set()
    make = Problem.__init__

    def recorded(self: Problem, *args: object, **kwargs: object) -> None:
        make(self, *args, **kwargs)  # type: ignore[arg-type] # whatever the caller gave
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            places.add((frame.f_code.co_filename, frame.f_lineno))
            frame = frame.f_back

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Problem, "__init__", recorded)
        folder = tmp_path_factory.mktemp("bad")
        test_a_label_that_the_classifier_lacks_is_refused(folder)
        test_a_file_that_is_not_there_or_too_large_is_refused(folder)
        policies = load_policies(TEAM)
        for path in POLICIES:
            found(path, load_policies)
        for path in CASES:
            found(path, lambda cases: load_cases(cases, policies))
        for path in KEYS:
            found(path, lambda keys: load_keys(keys, policies))
    return places


@pytest.mark.parametrize(
    "module",
    [check, yaml_text, shapes, policy_callers, policy_file, policy_cases, keys_file],
    ids=lambda m: m.__name__,
)
def test_every_place_that_makes_a_problem_is_reached_by_a_bad_file(
    module: ModuleType, ran: set[tuple[str, int]]
) -> None:
    """A rule without a file fails here: each call that makes a problem must have run."""
    file = str(module.__file__)
    lines = {line for name, line in ran if name == file}
    missed = [at for at, end in makers(Path(file)) if not lines.intersection(range(at, end + 1))]
    assert not missed, f"no bad file reaches {file}, lines {missed}"


def makers(file: Path) -> Iterator[tuple[int, int]]:
    """Yield first and last line of each call that makes a problem."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("Problem", "wrong", "_note", "problem", "_problem"):
            yield node.lineno, node.end_lineno or node.lineno
