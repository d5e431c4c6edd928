"""The figures -> docs/performance.md: `python -m bench.speed.page [--figures FOLDER] [--page FILE]`.

Every number on the page comes from the JSON that the other commands wrote; what was not measured says so. Where
the folder holds those of another run in `slow-hour`, the targets show both. The one picture needs matplotlib
(extra `report`).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.quality.page import table
from bench.speed import growth as growing
from bench.speed import pictures
from bench.speed.figures import FOLDER, Figures, load, shown
from bench.speed.rate import ratios
from bench.speed.targets import Documents, Outcome, outcomes

PAGE = Path("docs/performance.md")
ASIDE = re.compile(r"^direct (tokens|rss|cpu)|[_ ]p9[59]_ms$")  # columns that the page leaves to the JSON
PARTS = ("latency", "rate", "floor", "growth", "memory")
SLOW = "slow-hour"
ENCODER = "the encoder alone"

_HEAD = """# How fast it is

Written by `make bench` from what it measured; `docs/performance/*.json` holds every figure. Where there are
rounds, their median stands first, and the least and most of them in brackets. The engine is a stub that answers at
once: with a real one, all of this is a small part of a request."""

_HOW = """## How to measure it yourself

    make bench                         # everything, about ten minutes, and this page
    python -m bench.speed.latency      # or one part: latency, rate, floor, growth
    python -m bench.speed.page         # this page alone, from the figures that are there

Every command takes `--rounds N` and `--json FILE`. What is compared takes turns within each round, so that a busy
moment slows all alike; CPU per request (user + system of the serving process) hardly depends on such moments. The
load is made by a process of its own over bare sockets; what it and the stub engine can do alone stands first in
the table of requests per second."""

_WHY = """## Where the time goes, and why it is not less

- **What the floor leaves out** is what a router is for: reading the conversation and its directives, the
  policy's decision with its reasons, strict JSON both ways, limits, places, stages, metrics and traces, an HTTP
  server. That is Python, some hundreds of functions and half a millisecond; the floor is a loop around three
  libraries written in C and C++. A cached request has next to nothing else, so its ratio is the highest. And the
  floor has our own graph of the encoder in it: with the one that its package carries it would be twice as high.
- **Caches of the processor.** With every new prompt the encoder's matrices and the exemplars, 7 MB, pass
  through a core's caches and push the interpreter out: an uncached request costs half a millisecond more than a
  cached one and a prediction cost apart. "Cached, mixed" shows a part of that.
- **What was done about it** stands in [ADR 0011](adr/0011-busy-routes-go-past-fastapis-layers.md) (the way of a
  request) and [ADR 0013](adr/0013-graphs-of-our-own.md) (the encoder and the exemplars), with what was tried
  and left.
- **Virtual machines.** With one request at a time, an idle core has to be woken for each hop between processes.
  Compare latencies of one run; not those of two machines, or of two hours on a shared one."""


def render(documents: Documents, slow: Documents | None = None) -> str:
    """Return the whole page; `slow` are the figures of a run in a slow hour."""
    sections: Sequence[tuple[str, str, Callable[[Figures], str]]] = (
        ("latency", "## What it adds to a request", _latency),
        ("rate", "## Requests per second on one core, beside others", _rate),
        ("floor", "## CPU per request, over its floor", _floor),
        ("memory", "## Memory and start", _memory),
        ("growth", "## How cost grows", _growth),
    )
    parts = [_HEAD, _targets(documents, slow)]
    for name, title, section in sections:
        found = documents.get(name)
        parts.append(
            f"{title}\n\n" + (f"*not measured yet*: `{_command(name)}`" if found is None else section(found))
        )
    return "\n\n".join([*parts, _WHY, _HOW]) + "\n"


def _command(name: str) -> str:
    return "python -m bench.memory" if name == "memory" else f"python -m bench.speed.{name}"


def _targets(documents: Documents, slow: Documents | None) -> str:
    hours = [documents] if slow is None else [documents, slow]
    rows = [
        (
            one.target.what,
            f"{'at most' if one.target.at_most else 'at least'} {one.target.limit:g} {one.target.unit}",
            *(cell for each in (one, *others) for cell in (_measured(each), each.verdict)),
        )
        for one, *others in zip(*map(outcomes, hours), strict=True)
    ]
    heads = ("what", "target", "measured", "", *(("in a slow hour", "") if slow else ()))
    return f"## Targets\n\n{table(heads, rows)}" + ("" if slow is None else f"\n\n{_hours(documents, slow)}")


def _measured(one: Outcome) -> str:
    return "-" if one.measured is None else f"{one.measured:.3g} {one.target.unit}"


def _hours(documents: Documents, slow: Documents) -> str:
    measured = [documents["rate"] or {}, slow["rate"] or {}]
    named = (
        (ENCODER, "decisions", ENCODER),
        ("a cached request", "systems", "Agoge, cached"),
        ("one through LiteLLM", "systems", "LiteLLM, plain"),
    )
    both = ((what, [rate[part].get(name) for rate in measured]) for what, part, name in named)
    took = [
        f"{what} took {slower['cpu_ms']['median']:.2f} ms of CPU instead of {usual['cpu_ms']['median']:.2f}"
        for what, (usual, slower) in both
        if usual and slower
    ]
    return (
        "*In a slow hour*: the same commands when the same machine, which is shared, was slower for everybody: "
        f"{', '.join(took)}. All that follows is of the first run; the other's figures lie in "
        f"`docs/performance/{SLOW}`."
    )


def _machine(found: Figures) -> str:
    on = found["machine"]
    where = f"{on['processor']}, {on['cores']} cores, {on['system']}"
    return f"Measured on {where}; load before the run {on['load_before']}."


def _latency(found: Figures) -> str:
    rows = []
    for name, whole in found["whole"].items():
        direct = name == "direct"
        rows.append(
            (
                "the stub engine alone" if direct else name,
                "-" if direct else shown(found["added"][name]),
                "-" if direct else shown(found["added_first"][name]),
                shown(whole["p50"]),
                f"{whole['p95']:.2f}",
                f"{whole['p99']:.2f}",
            )
        )
    heads = ("streamed request", "added, p50", "added to the first byte, p50", "whole, p50", "p95", "p99")
    return (
        "Milliseconds over asking the engine directly; one connection, one request at a time. Uncached prompts "
        f"are new ones of 12, 60 and 400 tokens. {_machine(found)}\n\n" + table(heads, rows)
    )


def _rate(found: Figures) -> str:
    systems = table(
        ("", "requests per second", "CPU ms per request", "p50 ms", "p99 ms"),
        (
            (name, shown(one["per_second"], 0), *(shown(one[key]) for key in ("cpu_ms", "p50_ms", "p99_ms")))
            for name, one in found["systems"].items()
        ),
    )
    beside = table(
        ("", "times the requests per second", "times the requests per second of the core's time"),
        ((name, f"{one['per_second']:.1f}", f"{one['cpu']:.1f}") for name, one in ratios(found).items()),
    )
    decided = table(
        ("as a library, 12 tokens", "CPU ms per decision", "p50 ms"),
        ((name, shown(one["cpu_ms"]), shown(one["p50_ms"])) for name, one in found["decisions"].items()),
    )
    return (
        f"Each server has one core and {found['connections']} connections that are never idle; prompts of 12 "
        "tokens, new ones except where cached. LiteLLM's proxy is a real one: one worker, no database, no keys, "
        "no log; its auto-router embeds with our encoder's weights, in a process whose CPU is not counted here. "
        f"{_machine(found)}\n\n{systems}\n\nA core's time is what a server used of it: where "
        "others use the machine, too, requests per second tell of them as well, and CPU hardly does.\n\n"
        f"{beside}\n\nDeciding alone, with the same weights and exemplars:\n\n"
        f"{decided}"
    )


def _floor(found: Figures) -> str:
    rows = (
        (
            kind,
            shown(one["router_ms"]),
            shown(one["floor_ms"]),
            *(f"{one[key]['median']:.2f}" for key in ("embedding_ms", "calling_ms", "redis_ms")),
            shown(one["ratio"]),
            f"{100 * one['hits']['median']:.0f} %",
        )
        for kind, one in found["kinds"].items()
    )
    heads = ("request", "Agoge, CPU ms", "floor", "embedding", "engine call", "Redis", "times the floor", "hits")
    return (
        "The floor is what no router could do without: embed the prompt, call the engine, ask Redis. A bare "
        f"script does just that with the same libraries. The cache is a real Valkey. {_machine(found)}\n\n"
        + table(heads, rows)
    )


def _memory(found: Figures) -> str:
    rows = [{"workers": float(count), **growing.flat(one)} for count, one in found["workers"].items()]
    return f"Load before the run {found['load_average']}.\n\n{_shown(rows)}"


def _growth(found: Figures) -> str:
    parts = []
    for part in growing.PARTS:
        if part not in found:
            continue
        parts.append(f"### {part.capitalize()}\n\n{_shown([growing.flat(row) for row in found[part]])}")
        steep = growing.cliffs(found[part])
        named = "\n".join(f"- {one}" for one in steep)
        parts.append(f"Grows faster than its size:\n\n{named}" if steep else "No cliff.")
    return "![How cost grows](performance/growth.png)\n\n" + "\n\n".join(parts) + f"\n\n{_machine(found)}"


def _shown(rows: Sequence[dict[str, float]]) -> str:
    """Return a table of rows with the same names; what only the JSON needs is left out."""
    names = [name for name in rows[0] if not ASIDE.search(name)]
    cells = ([_number(row[name]) for name in names] for row in rows)
    return table([name.replace("_", " ") for name in names], cells)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and its picture."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.page", description=__doc__)
    parser.add_argument("--figures", type=Path, default=FOLDER, help="the folder of the JSON")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    documents = {name: load(options.figures / f"{name}.json") for name in PARTS}
    slow = {name: load(options.figures / SLOW / f"{name}.json") for name in PARTS}
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(render(documents, slow if slow["rate"] and documents["rate"] else None), "utf-8")
    pictures.draw(documents["growth"], options.page.with_suffix(""))
    print(f"{options.page} is written from {options.figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
