"""What stands under an answer, and the explanation behind its button, as Block Kit. Pure; knows no Slack call.

Source: docs.slack.dev, Block Kit: a section's text has at most 3,000 characters, a button's value 2,000.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.channels.slack.mrkdwn import SECTION, escape
from router.channels.slack.phrases import Phrases
from router.core.decision import Decision, Reason
from router.core.explanation import explain
from router.core.outcome import Verdict
from router.core.scores import Neighbour
from router.recent import Taken

WHY, THUMBS = "agoge_why", "agoge_thumbs"
VALUE = 2000  # characters of a button's value
SHOWN_SCORES, SHOWN_NEIGHBOURS = 5, 3


@dataclass(frozen=True, slots=True)
class Pressed:
    """What a thumb says. `text` is the prompt's subject, where its own scores decided: handed over on purpose."""

    decision_id: str
    verdict: Verdict
    decided: str | None
    text: str | None

    def value(self) -> str:
        """Return it as a button's value; the text is left out when it does not fit."""
        told = {"id": self.decision_id, "v": self.verdict, "l": self.decided, "t": self.text}
        value = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
        if len(value.encode("utf-16-le", "surrogatepass")) // 2 <= VALUE:
            return value
        return json.dumps({**told, "t": None}, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def read(cls, value: str) -> Pressed:
        """Read what `value` wrote. Raises ValueError for anything else."""
        try:
            told = json.loads(value)
            verdict: Verdict = {"right": "right", "wrong": "wrong"}[told["v"]]  # type: ignore[assignment]
            for optional in (told["l"], told["t"]):
                if optional is not None and not isinstance(optional, str):
                    raise ValueError("label and text are text or nothing")
            return cls(str(told["id"]), verdict, told["l"], told["t"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"not a button of ours: {type(error).__name__}") from None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the button under an answer asks about: the decision, and which message it was about."""

    decision_id: str
    ts: str = ""
    thread: str = ""

    def value(self) -> str:
        """Return it as a button's value."""
        return f"{self.decision_id} {self.ts} {self.thread}"

    @classmethod
    def read(cls, value: str) -> Asked:
        """Read what `value` wrote."""
        return cls(*[*value.split(" "), "", ""][:3])


def spoken(decision: Decision, words: Phrases) -> str:
    """Return who speaks: `core + physics`, `academic alone`."""
    names = " + ".join(name for name, _ in decision.blend.members)
    return f"{names} {words.alone}" if decision.blend.alone else names


def summary(decision: Decision, words: Phrases, *, stand_in: bool = False, cut_off: bool = False) -> str:
    """Return one quiet line: who spoke, how sure the classifier was, and what else is worth knowing."""
    said = [words.stand_in if stand_in else spoken(decision, words)]
    if decision.reason is Reason.ASKED:
        said.append(words.asked_for)
    elif decision.out_of_domain:
        said.append(words.unknown_subject)
    elif decision.label is not None and decision.label in decision.scores:
        said.append(f"{decision.label} {decision.scores[decision.label]:.2f}")
    if decision.inherited:
        said.append(words.inherited)
    if cut_off:
        said.append(words.cut_off)
    return " · ".join(said)


def footer(
    line: str, about: Asked, words: Phrases, thumbs: tuple[Pressed, Pressed] | None
) -> list[dict[str, Any]]:
    """Return the blocks under an answer: the line, the "why?" button, and thumbs (right, wrong) if any."""
    button = {"type": "button", "action_id": WHY, "text": _plain(words.why), "value": about.value()}
    blocks: list[dict[str, Any]] = [
        {"type": "context", "elements": [{"type": "mrkdwn", "text": escape(line)}]},
        {"type": "actions", "elements": [button]},
    ]
    if thumbs is not None:
        right, wrong = thumbs
        buttons = {
            "type": "feedback_buttons",
            "action_id": THUMBS,
            "positive_button": {"text": _plain("👍"), "accessibility_label": words.good, "value": right.value()},
            "negative_button": {"text": _plain("👎"), "accessibility_label": words.bad, "value": wrong.value()},
        }
        blocks.append({"type": "context_actions", "elements": [buttons]})
    return blocks


def explanation(taken: Taken, near: Sequence[Neighbour] | None, words: Phrases, note: str = "") -> list[str]:
    """Return why a decision came out as it did, as mrkdwn texts that each fit into a section."""
    decision = taken.decision
    told = explain(decision, taken.policy)
    texts = [f"*{escape(spoken(decision, words))}*\n{escape(told.because)}"]
    if note:
        texts.insert(0, f"_{escape(note)}_")
    if decision.scores:
        best = sorted(decision.scores.items(), key=lambda entry: (-entry[1], entry[0]))[:SHOWN_SCORES]
        texts.append("\n".join([words.scores, *(f"• {escape(label)}: {score:.2f}" for label, score in best)]))
    if told.margins:
        gates = [f"• {escape(margin.adapter)}: {escape(margin.because)}" for margin in told.margins]
        texts.append("\n".join([words.gates, *gates]))
    if near:
        rows = [f"• {escape(each.text[:200])} ({escape(each.label)})" for each in near[:SHOWN_NEIGHBOURS]]
        texts.append("\n".join([words.nearest, *rows]))
    texts.append(f"`{escape(taken.id)}`")
    return [text[:SECTION] for text in texts]


def modal(texts: Sequence[str], words: Phrases) -> dict[str, Any]:
    """Return the explanation as a view that opens over Slack."""
    return {
        "type": "modal",
        "title": _plain(words.why),
        "close": _plain(words.close),
        "blocks": as_sections(texts),
    }


def as_sections(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return one section for each mrkdwn text."""
    return [{"type": "section", "text": {"type": "mrkdwn", "text": text}} for text in texts]


def _plain(text: str) -> Mapping[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": True}
