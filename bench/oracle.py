"""A second, naive reading of the policy's rules, to hold against `router.core.decide`.

Written from the words of the specification over the plain document, slowly and without sharing a line with the
router. Knows no `Policy`, `Decision` or `Blend`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def oracle(
    document: Mapping[str, Any], scores: Mapping[str, float], out_of_domain: bool, asked: frozenset[str] | None
) -> dict[str, float] | str:
    """Return adapter -> weight of the one right answer, or the code of the one right refusal."""
    adapters = document["adapters"]
    at_most = document["compose"]["at_most"]
    always = {name for name in adapters if adapters[name]["when"] == "always"}

    def isolated(name: str) -> bool:
        return bool(adapters[name].get("alone", False))

    def weights(names: set[str]) -> dict[str, float]:
        return {name: adapters[name].get("weight", 1.0) for name in names}

    if asked is not None:  # (1) an explicit ask replaces the guess
        if len(asked) == 0 or not all(name in adapters for name in asked):
            return "unknown_mode"
        for name in asked:
            if adapters[name]["when"] == "asked" and "may_ask" in document and name not in document["may_ask"]:
                return "mode_forbidden"
        if len(asked) > 1 and any(isolated(name) for name in asked):
            return "contradiction"
        if len([name for name in asked if name not in always]) > at_most:
            return "contradiction"
        if any(isolated(name) for name in asked):  # (2)
            return weights(set(asked))
        return weights(set(asked) | always)

    candidates = {}
    for name in adapters:
        gate = adapters[name]["when"]
        if isinstance(gate, dict) and not out_of_domain and gate["label"] in scores:
            score = scores[gate["label"]]
            if score >= gate["at_least"]:
                candidates[name] = score

    def best(names: set[str]) -> str:
        top = max(candidates[name] for name in names)
        return sorted(name for name in names if candidates[name] == top)[0]

    if alone := {name for name in candidates if isolated(name)}:  # (2) isolation excludes everything
        return weights({best(alone)})
    if not candidates:  # (4)
        return weights(always | set(document["otherwise"]))
    chosen: set[str] = set()
    while len(chosen) < at_most and set(candidates) - chosen:  # (3)
        chosen.add(best(set(candidates) - chosen))
    return weights(chosen | always)
