"""Names and aliases: what resolves, what is ambiguous, what the dictionary forbids."""

from __future__ import annotations

import pytest

from router.core.modes import Modes
from router.core.policy import Adapter, Policy, WhenLabel
from tests.core.switcher import LEMMATIZER, modes, profile


@pytest.mark.parametrize(
    ("spoken", "adapter"),
    [
        ("physics", "physics"),
        ("PHYSICS", "physics"),
        ("физики", "physics"),
        ("научную речь", "academic"),
        ("Научной  речью", "academic"),
        ("научнoй речи", "academic"),  # Latin o
        ("научнаяя речь", "academic"),
        ("научная реч", None),  # three letters again
        ("academyc", "academic"),
        ("соrе", "core"),
        ("cor", None),  # three letters are no typo
        ("code", None),
        ("spot", None),
        ("спор", None),
        ("речь", None),
        ("научня реч", None),  # two typos
        ("", None),
        ("???", None),
    ],
)
def test_resolve(spoken: str, adapter: str | None) -> None:
    assert modes().resolve(spoken) == adapter


def test_typos_can_be_switched_off_and_inflection_stays() -> None:
    assert modes().resolve("физка", typos=False) is None
    assert modes().resolve("физику", typos=False) == "physics"


def other(*adapters: tuple[str, tuple[str, ...]]) -> Modes:
    """Return the modes of a policy with these names and aliases."""
    made = tuple(Adapter(name, f"./{name}", WhenLabel(name, 0.5), aliases=aliases) for name, aliases in adapters)
    return Modes.of(Policy("base", made, 1, (), ("primary",)), LEMMATIZER)


def test_what_two_adapters_could_mean_means_neither() -> None:
    twins = other(("biology", ("биология",)), ("geology", ("геология",)), ("marker", ()), ("market", ()))
    assert twins.resolve("биологии") == "biology"
    assert twins.resolve("market") == "market"
    assert twins.resolve("marke") is None
    assert other(("one", ("общий",)), ("two", ("общий",))).resolve("общий") is None


def test_names_with_joints_are_spoken_with_or_without_them() -> None:
    joined = other(("natural_science", ("естественные науки",)))
    for spoken in ("natural_science", "natural science", "Natural-Science", "естественных наук"):
        assert joined.resolve(spoken) == "natural_science"


def test_listing_names_what_the_caller_may_ask_for() -> None:
    assert modes().listing() == (
        "you may ask for: academic (academia, академический, научная речь), core (agoge, агоге, ядро), "
        "physics (физика), sport (спорт), auto"
    )
    assert "academic" not in modes(frozenset()).listing()


def test_permission_concerns_asked_only_adapters() -> None:
    assert modes(frozenset()).refusal(["core", "physics"]) is None
    assert modes(frozenset()).refusal(["academic"]) is not None
    assert modes(frozenset({"academic"})).refusal(["academic"]) is None
    assert profile().may_ask is None
