"""How well a conversation's subject is followed, turn by turn, beside a router that sees the last message alone.

`python -m bench.dialogues [FILE ...]`, by default the frozen part. Every prefix of every dialogue goes through the
real router as a request of its own, with the shipped policy and classifier; the baseline is the same router on
the last message only. A turn is right when its decision has the label that the file gives it. Where the label
changes, *lag* counts the turns until it is followed (to the next change at most); a *false switch* is a turn whose
label did not change and whose decision did, away from it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from router.caches import open_cache
from router.core.conversation import Conversation, Message
from router.lemmas import RussianLemmatizer
from router.service import Ask, Router
from router.wiring.app import open_scorer
from router.wiring.reload import load_rules
from router.wiring.settings import Settings

FROZEN = Path("tests/data/dialogues/frozen.jsonl")


@dataclass(frozen=True)
class Turn:
    """What is expected of one message: `label` is None for a bare directive, which nobody classifies."""

    user: str
    label: str | None
    kind: str


@dataclass(frozen=True)
class Dialogue:
    """Its turns, oldest first."""

    lang: str
    turns: tuple[Turn, ...]


@dataclass
class Tally:
    """What was counted for one way of routing."""

    turns: int = 0
    wrong: int = 0
    shifts: int = 0
    late: int = 0
    kept: int = 0
    switched: int = 0
    kinds: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    def add(self, turns: Sequence[tuple[Turn, str | None]]) -> None:
        """Count one dialogue: its labelled turns with the labels they got."""
        for at, (turn, got) in enumerate(turns):
            wrong = got != turn.label
            self.turns += 1
            self.wrong += wrong
            self.kinds[turn.kind][0] += wrong
            self.kinds[turn.kind][1] += 1
            if at == 0:
                continue
            if turn.label == turns[at - 1][0].label:
                self.kept += 1
                self.switched += got != turns[at - 1][1] and wrong
                continue
            self.shifts += 1
            for later, found in turns[at:]:
                if later.label != turn.label or found == turn.label:
                    break
                self.late += 1

    def line(self) -> str:
        """Return the figures in one line."""
        return (
            f"wrong {self.wrong:3}/{self.turns} ({100 * (1 - self.wrong / self.turns):5.1f} % right)"
            f"   lag {self.late / max(1, self.shifts):.2f} turns over {self.shifts} changes"
            f"   false switches {100 * self.switched / max(1, self.kept):4.1f} % of {self.kept}"
        )


def read_dialogues(file: Path) -> list[Dialogue]:
    """Read a file of dialogues."""
    raw = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return [Dialogue(d["lang"], tuple(Turn(t["user"], t["label"], t["kind"]) for t in d["turns"])) for d in raw]


async def replay(router: Router, dialogue: Dialogue, *, alone: bool) -> list[tuple[Turn, str | None]]:
    """Send every prefix of a dialogue, or every message `alone`, and return what each labelled turn got."""
    told = []
    messages: list[Message] = []
    for turn in dialogue.turns:
        said = Message("user", turn.user)
        messages.append(said)
        if turn.label is not None:
            ask = Ask(Conversation((said,) if alone else tuple(messages)))
            told.append((turn, (await router.decide(ask)).decision.label))
        messages.append(Message("assistant", "..."))
    return told


async def measure(files: Sequence[Path], settings: Settings, show: bool) -> None:
    """Replay and print."""
    scorer = await open_scorer(settings)
    state = await load_rules(settings, scorer, RussianLemmatizer())
    router = Router(state, scorer, open_cache("memory:"), b"a secret of the bench alone")
    for file in files:
        dialogues = read_dialogues(file)
        tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
        for dialogue in dialogues:
            for way in ("last message", "conversation"):
                told = await replay(router, dialogue, alone=way == "last message")
                for lang in (dialogue.lang, "all"):
                    tallies[lang, way].add(told)
                for turn, got in told if show and way == "conversation" else ():
                    if got != turn.label:
                        print(
                            f"    {turn.kind:12} wanted {turn.label:22} got {got or 'none':22} {turn.user[-70:]!r}"
                        )
        print(f"{file.name}: {len(dialogues)} dialogues, classifier {scorer.fingerprint}")
        for (lang, way), tally in sorted(tallies.items(), reverse=True):
            print(f"  {lang:3} {way:12} {tally.line()}")
        for kind in sorted(tallies["all", "conversation"].kinds):
            before, after = (tallies["all", way].kinds[kind] for way in ("last message", "conversation"))
            print(f"      {kind:24} wrong of {after[1]:3}: last message {before[0]:3}, conversation {after[0]:3}")
    scorer.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="*", default=[FROZEN])
    parser.add_argument("--show", action="store_true", help="print every turn that came out wrong")
    options = parser.parse_args()
    asyncio.run(measure(options.files, Settings(policy=Path("policies/default.yaml")), options.show))


if __name__ == "__main__":
    main()
