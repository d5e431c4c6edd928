"""`*.cases.yaml`: examples of what a policy must decide, read strictly and run through the `decide` of requests.

Knows no classifier and no engine: a case gives its scores itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from router.core.blend import Blend
from router.core.check import near
from router.core.decide import decide
from router.core.decision import Decision
from router.core.errors import PolicyInvalid, Problem, Refused
from router.core.policy import Policies
from router.core.scores import Scores
from router.shapes import Shape, shaped
from router.yaml_text import Written, read_yaml

Refusal = Literal["contradiction", "unknown_mode", "mode_forbidden"]
_Number = Annotated[float, Field(description="a number", examples=[0.8])]
_Name = Annotated[str, Field(description="an adapter's name", examples=["physics"])]


class Expectation(Shape):
    """What must come out: exactly these adapters with these weights, or this refusal."""

    adapters: dict[str, _Number] = Field(
        default_factory=dict,
        description="a mapping of adapter names to weights, complete",
        examples=["{ core: 1.0, physics: 0.8 }"],
    )
    error: Refusal | None = Field(
        default=None, description="contradiction, unknown_mode or mode_forbidden", examples=["contradiction"]
    )


class Entry(Shape):
    """One case as written."""

    name: str = Field(description="a sentence that says what is shown", examples=["physics joins the core"])
    tenant: str = Field(default="default", description="a tenant of the policy", examples=["acme"])
    role: str = Field(default="", description="a role of the tenant", examples=["editor"])
    scores: dict[str, _Number] = Field(
        default_factory=dict, description="a mapping of labels to probabilities", examples=["{ physics: 0.7 }"]
    )
    out_of_domain: bool = Field(default=False, description="true or false")
    asked: list[_Name] = Field(
        default_factory=list,  # left out means that nobody was named: see `model_fields_set`
        description="a list of adapter names",
        examples=["[core, physics]"],
    )
    expect: Expectation = Field(
        description="a mapping with either adapters or error", examples=["{ adapters: { core: 1.0 } }"]
    )


class Cases(Shape):
    """A whole file of cases."""

    cases: list[Annotated[Entry, Field(description="a mapping: name, what is given, and expect")]] = Field(
        description="a list of cases", examples=["- name: nobody is named"]
    )

    @model_validator(mode="before")
    @classmethod
    def _wrapped(cls, data: Any) -> Any:
        """Take the bare list that the file is."""
        return {"cases": data}


@dataclass(frozen=True, slots=True)
class Case:
    """One example: who asks, what the classifier said or the user named, and what must come out.

    `adapters` maps adapter -> weight; it is None when `error`, the code of a refusal, is expected.
    """

    name: str
    tenant: str
    role: str | None
    scores: Scores
    asked: frozenset[str] | None
    adapters: Mapping[str, float] | None
    error: str | None
    line: int | None = None

    def expected(self) -> str:
        """Return the expectation as text, in the form of `Blend.__str__`."""
        return self.error or ",".join(f"{name}={float(w)!r}" for name, w in sorted((self.adapters or {}).items()))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case came to: the decision, or the code of the refusal."""

    case: Case
    decision: Decision | None
    refusal: Refused | None

    @property
    def passed(self) -> bool:
        """Say whether exactly the expected adapters speak, with the expected weights, or the refusal came."""
        if self.decision is None:
            return self.refusal is not None and self.refusal.code == self.case.error
        return self.case.adapters is not None and self.decision.blend.weights == dict(self.case.adapters)

    def got(self) -> str:
        """Return what came out, as text."""
        if self.decision is not None:
            return f"{self.decision.blend} ({self.decision.why()})"
        return f"{self.refusal.code} ({self.refusal})" if self.refusal else ""


def run_cases(policies: Policies, cases: Sequence[Case]) -> list[Outcome]:
    """Decide every case; nothing but a refusal is caught."""
    return [_run(policies, case) for case in cases]


def _run(policies: Policies, case: Case) -> Outcome:
    try:
        return Outcome(case, decide(policies.profile(case.tenant, case.role), case.scores, case.asked), None)
    except Refused as refusal:
        return Outcome(case, None, refusal)


def reached(outcomes: Sequence[Outcome]) -> frozenset[Blend]:
    """Return the blends that the cases reached, to compare with the closure."""
    return frozenset(outcome.decision.blend for outcome in outcomes if outcome.decision is not None)


def cases_beside(policy: Path) -> Path:
    """Return where the cases of a policy file lie: default.yaml -> default.cases.yaml."""
    return policy.with_name(f"{policy.stem}.cases.yaml")


def load_cases(path: Path | str, policies: Policies) -> list[Case]:
    """Read a file of cases for `policies`. Raises PolicyInvalid with every problem, each with its line."""
    written = read_yaml(Path(path))

    def place(at: tuple[str, ...]) -> tuple[str, str | None, int | None]:
        shown = ".".join(at[1:])  # without the `cases` that wraps the list
        return shown or "cases", written.file, written.line(shown)

    shape, problems = shaped(Cases, written.data, place)
    if shape is not None:
        problems = list(_meaning(shape, policies, written))
    if shape is None or problems:
        raise PolicyInvalid(problems)
    return [_case(entry, written.line(str(at))) for at, entry in enumerate(shape.cases)]


def _case(entry: Entry, line: int | None) -> Case:
    return Case(
        name=entry.name,
        tenant=entry.tenant,
        role=entry.role or None,
        scores=Scores({label: float(p) for label, p in entry.scores.items()}, entry.out_of_domain),
        asked=frozenset(entry.asked) if "asked" in entry.model_fields_set else None,
        adapters=entry.expect.adapters or None,
        error=entry.expect.error,
        line=line,
    )


def _meaning(shape: Cases, policies: Policies, written: Written) -> Iterator[Problem]:
    """Yield what is wrong although every type is right."""
    names: set[str] = set()

    def problem(where: str, wrong: str, right: str) -> Problem:
        return Problem(where, wrong, right, written.file, written.line(where))

    if not shape.cases:
        yield problem("cases", "holds no case", "write at least one")
    for at, case in enumerate(shape.cases):
        if case.name in names:
            yield problem(f"{at}.name", f"{case.name!r} is written twice", "give each case a name of its own")
        names.add(case.name)
        if bool(case.expect.adapters) == bool(case.expect.error):
            yield problem(f"{at}.expect", "needs either adapters or error", "write { adapters: { core: 1.0 } }")
        odd = {label: score for label, score in case.scores.items() if not 0 <= score <= 1}
        for label, score in odd.items():
            yield problem(f"{at}.scores.{label}", f"is {score}", "write a probability from 0 to 1")
        if not odd and sum(case.scores.values()) > 1 + 1e-6:
            yield problem(f"{at}.scores", "sum to more than 1", "write probabilities")
        profile = policies.profiles.get((case.tenant, case.role or None))
        if profile is None:
            callers = ", ".join(sorted(f"{t}/{r}" if r else t for t, r in policies.profiles))
            at_fault = f"{at}.role" if case.role else f"{at}.tenant"
            yield problem(at_fault, "the policy has no such caller", f"known are: {callers}")
            continue
        known = frozenset(adapter.name for adapter in profile.adapters)
        for name in sorted(case.expect.adapters.keys() - known):
            yield problem(f"{at}.expect.adapters.{name}", "no adapter is called so", near(name, known))
