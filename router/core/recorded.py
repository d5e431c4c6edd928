"""A decision as a line of the log: what a replay needs to take it again, written and read here. No prompt text.

Knows no file and no JSON text: fields in, fields out. What is read was written by this module, perhaps long ago,
and may have been cut, edited or merged since; so every field is looked at before it is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from operator import itemgetter
from typing import Any, NamedTuple

from router.core.blend import Blend
from router.core.decision import Reason
from router.core.facts import Decided
from router.core.scores import Scores

FACT = Decided.__name__
"""What the field `fact` of a decision's line says."""
_MOST = 1 + 1e-6  # a probability may pass 1 by the rounding of binary numbers
_HEAVIEST = 1e6  # any weight of any policy, and neither infinity nor NaN
_NUMBERS = frozenset({float, int})
_TEXT, _TEXT_OR_NULL, _FLAG = ((str,), "a text"), ((str, type(None)), "a text or null"), ((bool,), "true or false")
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "id": _TEXT,
    "tenant": _TEXT,
    "role": _TEXT_OR_NULL,
    "label": _TEXT_OR_NULL,
    "scores": ((dict,), "a mapping of labels to probabilities"),
    "out_of_domain": _FLAG,
    "asked": ((list, type(None)), "a list of adapter names, or null when nobody was named"),
    "adapters": ((dict,), "a mapping of adapter names to weights"),
    "blend": _TEXT,
    "alone": _FLAG,
    "reason": _TEXT,
    "policy": _TEXT,
    "classifier": _TEXT,
}
_values = itemgetter(*_KINDS)
_SOUND = frozenset(product(*(kinds for kinds, _ in _KINDS.values())))  # one look tells that all types are right


class Unreadable(ValueError):
    """A decision's line cannot be replayed; the message says which field is wrong and what would be right.

    `too_old`: nothing is damaged; it was written before the log held what a replay needs.
    """

    def __init__(self, message: str, *, too_old: bool = False) -> None:
        super().__init__(message)
        self.too_old = too_old


class Recorded(NamedTuple):
    """One decision as it was taken: what `decide` was given, and the blend that came out.

    A named tuple because a log has millions of them, and a frozen dataclass takes three times as long to make.

    `policy` is the revision of the profile that took it, `classifier` the fingerprint of what scored it, `label`
    the classifier's best guess, None when there was none. `chore`: a front end's own task, decided without scores.
    """

    id: str
    tenant: str
    role: str | None
    label: str | None
    scores: Scores
    asked: frozenset[str] | None
    blend: Blend
    policy: str
    classifier: str
    chore: bool = False


def fields_of(fact: Decided) -> dict[str, object]:
    """Return what the log tells of a decision. Scores are exact: a rounded one could pass a gate it missed."""
    decision = fact.decision
    return {
        "id": fact.id,
        "request": fact.request_id,
        "tenant": decision.tenant,
        "role": decision.role,
        "label": decision.label,
        "score": round(decision.scores[decision.label], 4) if decision.label else None,
        "scores": dict(decision.scores),
        "out_of_domain": decision.out_of_domain,
        "asked": None if fact.asked is None else sorted(fact.asked),
        "adapters": decision.blend.weights,
        "blend": decision.blend.id,
        "alone": decision.blend.alone,
        "reason": decision.reason,
        "inherited": decision.inherited,
        "cache": fact.cache,
        "ms": round(fact.seconds * 1000, 3),
        "stages_ms": {stage: round(seconds * 1000, 3) for stage, seconds in fact.stages.items()},
        "policy": decision.policy,
        "classifier": decision.classifier,
    }


def read_fields(fields: Mapping[str, Any]) -> Recorded:
    """Read back what `fields_of` wrote; more fields may stand beside them. Raises Unreadable."""
    if "scores" not in fields:
        raise Unreadable("holds no `scores`: an older Agoge wrote it, and did not log them", too_old=True)
    try:
        values = _values(fields)
    except KeyError as missing:
        raise Unreadable(f"lacks `{missing.args[0]}`; it must be {_KINDS[missing.args[0]][1]}") from None
    if tuple(map(type, values)) not in _SOUND:
        wrong = next(name for name, (kinds, _) in _KINDS.items() if type(fields[name]) not in kinds)
        raise Unreadable(f"`{wrong}` is {fields[wrong]!r:.60}; it must be {_KINDS[wrong][1]}")
    ident, tenant, role, label, scores, stranger, asked, adapters, blend, alone, why, policy, classifier = values
    for name, score in scores.items():
        if type(score) not in _NUMBERS or not 0 <= score <= _MOST:
            raise Unreadable(f"`scores` gives {name!r:.60} {score!r:.60}; it must be a probability from 0 to 1")
    if asked is not None:
        if not all(type(name) is str for name in asked):
            raise Unreadable(f"`asked` is {asked!r:.60}; it must be {_KINDS['asked'][1]}")
        asked = frozenset(asked)
    spoke = Blend(_members(adapters), blend, alone)
    scored, chore = Scores(scores, stranger), why == Reason.CHORE
    return Recorded(ident, tenant, role, label, scored, asked, spoke, policy, classifier, chore)


def _members(adapters: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    if not adapters:
        raise Unreadable("`adapters` is empty; it must name who spoke, and somebody always does")
    for name, weight in adapters.items():
        if type(weight) not in _NUMBERS or not -_HEAVIEST <= weight <= _HEAVIEST:
            raise Unreadable(f"`adapters` gives {name!r:.60} {weight!r:.60}; it must be a weight, like 0.8")
    return tuple(sorted(adapters.items()))
