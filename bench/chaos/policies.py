"""The two policies that chaos alternates between, and who may speak by each of their revisions. Knows no process.

They weigh the experts differently, so that no blend of two speakers belongs to both: a decision that mixes two
revisions names a blend that its revision cannot reach. `academic` and `press` are isolated; `press` lives on the
first engine alone, so nobody may ever stand in for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from router.core.blend import Blend
from router.core.policy import Policies
from router.core.reachable import reachable
from router.policy_file import load_policies

ISOLATED = ("academic", "press")
HOMELESS = "press"
"""The isolated adapter that only the first engine holds."""
APART = "apart"
"""The tenant whose engine is the second one: nothing that the first one does may touch it."""
KEYS = {"sk-chaos-one": "default", "sk-chaos-two": "second", "sk-chaos-apart": APART}

_POLICY = """\
version: 1
base: chaos/base
adapters:
  core:     {{ from: ./core,     when: always, aliases: [ядро] }}
  physics:  {{ from: ./physics,  when: {{ label: physics, at_least: 0.4 }}, weight: {physics}, aliases: [физика] }}
  sport:    {{ from: ./sport,    when: {{ label: sport, at_least: 0.4 }}, weight: {sport}, aliases: [спорт] }}
  academic: {{ from: ./academic, when: asked, alone: true, aliases: [академический] }}
  press:    {{ from: ./press,    when: asked, alone: true, aliases: [пресса] }}
compose: {{ at_most: 2 }}
backends: [{backends}]
tenants:
  second: {{ compose: {{ at_most: 1 }} }}
  apart: {{ backends: [spare], adapters: {{ press: null }} }}
"""
FIRST = _POLICY.format(physics=0.8, sport=0.8, backends="primary, spare")
SECOND = _POLICY.format(physics=0.6, sport=0.7, backends="primary, other")
"""`other` is the second engine by another name: every swap opens one backend and retires one."""
BROKEN = FIRST.replace("when: always", "when: sometimes")


@dataclass(frozen=True)
class Catalogue:
    """Every blend by its id, and for each revision of a caller's profile the ids that it can reach."""

    blends: Mapping[str, Blend]
    reach: Mapping[str, frozenset[str]]

    def isolated(self, blend: str) -> bool:
        """Say whether this is an isolated adapter's blend."""
        return self.blends[blend].alone

    def held_by(self, engine: str) -> list[str]:
        """Return the ids that an engine is started with: the spare one lacks the homeless adapter."""
        return sorted(
            name for name, blend in self.blends.items() if engine == "primary" or HOMELESS not in blend.weights
        )


@cache
def catalogue() -> Catalogue:
    """Read both policies and list what they can reach."""
    with TemporaryDirectory() as folder:
        return _listed([_read(Path(folder), text) for text in (FIRST, SECOND)])


def _read(folder: Path, text: str) -> Policies:
    file = folder / "policy.yaml"
    file.write_text(text, "utf-8")
    return load_policies(file)


def _listed(both: list[Policies]) -> Catalogue:
    blends: dict[str, Blend] = {}
    reach: dict[str, frozenset[str]] = {}
    for policies in both:
        for policy in policies.profiles.values():
            found = {blend.id: blend for blend in reachable(policy)}
            blends |= found
            reach[policy.revision] = frozenset(found)
    return Catalogue(blends, reach)
