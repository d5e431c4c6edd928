"""What every command here shares: how long it measures, where the figures go, what is told. Measures nothing."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.speed.figures import FOLDER, Figures, machine, save


def run(
    name: str,
    doc: str | None,
    measure: Callable[[argparse.Namespace], Figures],
    told: Callable[[Figures], Sequence[str]],
    *,
    rounds: int,
    arguments: Sequence[str] | None = None,
    more: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """Measure, write FOLDER/NAME.json or what --json names, and say what was found."""
    parser = argparse.ArgumentParser(
        prog=f"python -m bench.speed.{name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how often everything is repeated: {rounds}")
    parser.add_argument("--json", type=Path, default=FOLDER / f"{name}.json", help="where the figures go")
    if more is not None:
        more(parser)
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    begun, on = time.monotonic(), machine()
    found = measure(options)
    found["machine"] = on
    found["seconds"] = round(time.monotonic() - begun)
    save(found, options.json)
    print("\n".join(told(found)))
    say(f"{options.json} holds the figures; {found['seconds']} s")


def say(text: str) -> None:
    """Tell whoever waits what is going on."""
    print(text, file=sys.stderr, flush=True)
