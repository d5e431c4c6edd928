"""Random policies, scores and asks from a seed: valid, small, and full of ties and exact thresholds.

Numbers come from a coarse grid, because decisions differ where scores are equal or sit on a gate. Knows the
format of a policy document and nothing of how it is decided.
"""

from __future__ import annotations

from random import Random
from typing import Any

NAMES = ("art", "core", "draft", "law", "med", "own", "phys", "sport", "ze_9", "z-1")
GRID = (0.0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.75, 0.9, 1.0)


def random_document(random: Random) -> dict[str, Any]:
    """Return a policy document that `check` accepts."""
    names = random.sample(NAMES, random.randint(1, 8))
    at_most = random.randint(1, 3)
    adapters: dict[str, dict[str, Any]] = {}
    for name in names:
        entry: dict[str, Any] = {"from": f"./{name}"}
        kind = random.choice(("always", "label", "label", "label", "asked"))
        entry["when"] = kind
        if kind == "label":
            entry["when"] = {"label": f"about-{name}", "at_least": random.choice(GRID[1:])}
        if kind != "always" and random.random() < 0.25:
            entry["alone"] = True
        if random.random() < 0.7:
            entry["weight"] = random.choice((0.25, 0.8, 1.0, 1.5, -0.5))
        adapters[name] = entry
    gated = [n for n, a in adapters.items() if isinstance(a["when"], dict) and not a.get("alone")]
    otherwise = random.sample(gated, min(len(gated), random.choice((0, 0, 1, at_most)), at_most))
    if not otherwise and not any(a["when"] == "always" for a in adapters.values()):
        adapters[names[0]] = {"from": f"./{names[0]}", "when": "always"}  # else the bare base would be reachable
    document = {
        "version": 1,
        "base": random.choice(("org/model", "org/other")),
        "adapters": adapters,
        "compose": {"at_most": at_most, "merge": "exact"},
        "otherwise": [name for name in otherwise if name in adapters and adapters[name]["when"] != "always"],
        "backends": ["primary"],
    }
    asked_only = [name for name, adapter in adapters.items() if adapter["when"] == "asked"]
    if random.random() < 0.5:
        document["may_ask"] = random.sample(asked_only, random.randint(0, len(asked_only)))
    return document


def random_scores(random: Random, document: dict[str, Any]) -> dict[str, float]:
    """Return scores from the grid for some of the policy's labels, and sometimes for a strange one."""
    scores = {
        adapter["when"]["label"]: random.choice(GRID)
        for adapter in document["adapters"].values()
        if isinstance(adapter["when"], dict) and random.random() < 0.9
    }
    if random.random() < 0.2:
        scores["about-nothing"] = random.choice(GRID)
    return scores


def random_ask(random: Random, document: dict[str, Any]) -> frozenset[str] | None:
    """Return None (nobody was named) half of the time, else up to four names, sometimes a strange one."""
    if random.random() < 0.5:
        return None
    names = sorted(document["adapters"])
    asked = set(random.sample(names, min(len(names), random.choice((0, 1, 1, 1, 2, 2, 3, 4)))))
    if random.random() < 0.05:
        asked.add("nobody")
    return frozenset(asked)


def shuffled(random: Random, value: Any) -> Any:
    """Return the same mappings with their keys in another order; lists stay."""
    if not isinstance(value, dict):
        return value
    keys = list(value)
    random.shuffle(keys)
    return {key: shuffled(random, value[key]) for key in keys}
