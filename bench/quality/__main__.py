"""Measure how well the classifier does and write docs/quality.md from what was found.

`python -m bench.quality --data FOLDER [--only shipped,contenders,ood,clinc,sources,peers] [--peers PYTHON]`.
FOLDER holds domains_train.jsonl, domains_test.jsonl and clinc150/data_full.json. `--render` writes the page from
docs/quality/figures.json alone. Ends with 1 when the shipped classifier falls below bench/quality/floors.json, and
with 2 when the data are missing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.quality import floors, kept, page, pictures
from bench.quality.kept import PARTS
from bench.quality.told import told

PAGE = Path("docs/quality.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, keep, render, say; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="the folder of the public sets")
    parser.add_argument("--only", default=",".join(PARTS), help="some parts, by name, with commas")
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers/bin/python"), help="the peers' Python")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--figures", type=Path, default=kept.FILE)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--floors", type=Path, default=floors.FILE)
    options = parser.parse_args(arguments)
    chosen = [part for part in options.only.split(",") if part]
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if options.render:
        _write(options.figures, options.page)
        return 0
    if options.data is None:
        parser.error(
            "give the folder of the public sets: make quality DATA=FOLDER, or --data FOLDER (docs/quality.md)"
        )
    return _measure(options, chosen)


def _measure(options: argparse.Namespace, chosen: list[str]) -> int:
    from bench.quality import parts  # scikit-learn and the encoder: not for who only renders
    from bench.quality.data import DataMissing, require
    from bench.quality.vectors import Kept
    from classifiers import RowError, open_encoder

    try:
        require(options.data)
        bench = parts.Bench(
            options.data, Kept(open_encoder("use")), Kept(open_encoder("e5")), options.peers, parts.Steps()
        )
        for part in chosen:
            parts.say(f"== {part}")
            start = time.monotonic()
            found = parts.MEASURE[part](bench)
            # read anew: another run may have kept another part meanwhile
            kept.save(kept.load(options.figures) | {part: found}, options.figures)
            parts.say(f"   {time.monotonic() - start:.0f} s")
    except (DataMissing, RowError) as error:
        print(error, file=sys.stderr)
        return 2
    document = _write(options.figures, options.page)
    print("\n".join(told(document)))
    broken = floors.broken(document, floors.read(options.floors)) if "shipped" in chosen else []
    for sentence in broken:
        print(f"below the floor: {sentence}", file=sys.stderr)
    return 1 if broken else 0


def _write(figures: Path, out: Path) -> kept.Document:
    document = kept.load(figures)
    out.write_text(page.render(document), "utf-8")
    pictures.draw(document, out.with_suffix(""))
    print(f"{out} is written from {figures}")
    return document


if __name__ == "__main__":
    sys.exit(main())
