"""The profile that the switcher's tests speak to: a core, two domains, one isolated adapter."""

from __future__ import annotations

from functools import lru_cache

from router.core.modes import Modes
from router.core.policy import Adapter, Always, Policy, WhenAsked, WhenLabel
from router.lemmas import RussianLemmatizer

LEMMATIZER = RussianLemmatizer()


def profile(may_ask: frozenset[str] | None = None) -> Policy:
    """Return the profile; `may_ask` as in a policy: None permits every `asked` adapter."""
    return Policy(
        base="base",
        adapters=(
            Adapter(
                "academic",
                "./academic",
                WhenAsked(),
                alone=True,
                aliases=("academia", "академический", "научная речь"),
            ),
            Adapter("core", "./core", Always(), aliases=("agoge", "агоге", "ядро")),
            Adapter("physics", "./physics", WhenLabel("physics", 0.5), aliases=("физика",)),
            Adapter("sport", "./sport", WhenLabel("sport", 0.5), aliases=("спорт",)),
        ),
        at_most=2,
        otherwise=(),
        backends=("primary",),
        may_ask=may_ask,
    )


@lru_cache
def modes(may_ask: frozenset[str] | None = None) -> Modes:
    """Return the compiled names of `profile(may_ask)`."""
    return Modes.of(profile(may_ask), LEMMATIZER)
