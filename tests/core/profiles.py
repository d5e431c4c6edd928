"""Small policies for the tests of the core, built without any file."""

from __future__ import annotations

from router.core.policy import Adapter, Always, Policy, WhenAsked, WhenLabel

CORE = Adapter("core", "./core", Always())
PHYSICS = Adapter("physics", "./physics", WhenLabel("physics", 0.5), weight=0.8)
SPORT = Adapter("sport", "./sport", WhenLabel("sport", 0.5), weight=0.7)
LAW = Adapter("law", "./law", WhenLabel("law", 0.6), alone=True, weight=1.5)
TAX = Adapter("tax", "./tax", WhenLabel("tax", 0.6), alone=True)
DRAFT = Adapter("draft", "./draft", WhenAsked(), weight=0.25)
ACADEMIC = Adapter("academic", "./academic", WhenAsked(), alone=True)


def policy(
    *adapters: Adapter,
    at_most: int = 2,
    otherwise: tuple[str, ...] = (),
    may_ask: frozenset[str] | None = None,
    backends: tuple[str, ...] = ("primary",),
) -> Policy:
    """Return a policy of these adapters, sorted by name as a loaded one is."""
    return Policy(
        base="org/model",
        adapters=tuple(sorted(adapters, key=lambda adapter: adapter.name)),
        at_most=at_most,
        otherwise=otherwise,
        backends=backends,
        may_ask=may_ask,
        revision="0123456789abcdef",
        tenant="acme",
        role="editor",
    )
