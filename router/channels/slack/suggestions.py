"""The policy's modes as prompts to click on, and as a list. Pure: made from what the caller may ask for.

Every suggestion is read back before it is offered: what does not mean exactly these adapters is not shown.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.channels.slack.mrkdwn import escape
from router.channels.slack.phrases import ENGLISH, RUSSIAN, Phrases
from router.core.directive import hear
from router.core.modes import Modes
from router.core.policy import Adapter, Policy, WhenLabel
from router.core.words import is_cyrillic

MOST = 4  # suggested prompts that Slack shows
TITLE = 75  # characters


def language(policy: Policy) -> Phrases:
    """Return the language that a policy's own names suggest, before anybody has said a word."""
    spoken = " ".join(alias for adapter in policy.adapters for alias in adapter.aliases)
    return RUSSIAN if is_cyrillic(spoken.lower()) else ENGLISH


def suggestions(modes: Modes) -> list[dict[str, str]]:
    """Return at most four prompts: who speaks alone, the domains beside the core, and back to automatic."""
    russian = language(modes.policy) is RUSSIAN
    found = [entry for entry in _modes(modes, russian) if entry is not None]
    word = "режим: авто" if russian else "mode: auto"
    automatic = {"title": "Авто" if russian else "Auto", "message": word}
    return [*found[: MOST - 1], automatic]


def listing(modes: Modes, words: Phrases) -> str:
    """Return who may be asked for, as mrkdwn: names, aliases, who speaks alone."""
    lines = [words.modes]
    for name in modes.policy.askable():
        adapter = modes.policy.adapter(name)
        shown = words.alone_mode.format(what=name) if adapter.alone else name
        also = f" ({words.example.format(what=', '.join(adapter.aliases))})" if adapter.aliases else ""
        lines.append(escape(f"• {shown}{also}"))
    return "\n".join([*lines, f"• auto: {words.auto}"])


def _modes(modes: Modes, russian: bool) -> Iterator[dict[str, str] | None]:
    policy = modes.policy
    always = [policy.adapter(name) for name in sorted(policy.always())]
    askable = [policy.adapter(name) for name in policy.askable()]
    alone = [adapter for adapter in askable if adapter.alone]
    gated = [adapter for adapter in askable if not adapter.alone and isinstance(adapter.when, WhenLabel)]
    asked = [adapter for adapter in askable if not adapter.alone and adapter not in (*gated, *always)]
    for adapter in (*alone[:1], *gated, *asked, *alone[1:]):
        names = [adapter] if adapter.alone else [adapter, *always]
        yield _suggestion(modes, names, russian) or _suggestion(modes, names, russian=False)


def _suggestion(modes: Modes, adapters: list[Adapter], russian: bool) -> dict[str, str] | None:
    spoken = [_spoken(adapter, russian) for adapter in adapters]
    message = ("режим: " if russian else "mode: ") + " + ".join(spoken)
    heard = hear(message, modes)
    if heard is None or heard.refusal is not None or not heard.directive.bare:
        return None
    if heard.directive.names != frozenset(adapter.name for adapter in adapters):
        return None
    return {"title": _title(adapters, spoken, russian)[:TITLE], "message": message}


def _title(adapters: list[Adapter], spoken: list[str], russian: bool) -> str:
    if russian and adapters[0].alone and spoken[0].endswith(("ый", "ий", "ой")):
        return f"{spoken[0].capitalize()} режим"
    return ("Режим: " if russian else "Mode: ") + " + ".join(spoken)


def _spoken(adapter: Adapter, russian: bool) -> str:
    """Return what a person would call the adapter in this language."""
    if not russian:
        return adapter.name
    return next((alias for alias in adapter.aliases if is_cyrillic(alias.lower())), adapter.name)
