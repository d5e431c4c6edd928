"""How a blend's members become one update: exactly, or by a lossy method that somebody asked for by name.

Knows names and numbers; the arithmetic is in `compose.py` and `lossy.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_KEYS = {"exact": (), "svd": ("rank",), "ties": ("density", "rank"), "dare": ("density", "rank", "seed")}
RANKS = (8, 16, 32, 64, 128)
"""The ranks that every engine serves and scales rightly; TGI's decode kernels know no others."""


@dataclass(frozen=True, slots=True)
class Method:
    """`exact`, `svd(rank=16)`, `ties(density=0.5,rank=32)` or `dare(density=0.5,rank=32,seed=0)`.

    `rank` is that of the result, `density` the share of each member's entries that is kept, in (0, 1].
    """

    name: str = "exact"
    density: float | None = None
    rank: int | None = None
    seed: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a method as policies write it. Raises ValueError that says what would be right."""
        match = re.fullmatch(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*", text)
        if match is None or match[1] not in _KEYS:
            raise ValueError(f"{text!r} is no way to merge; write exact, svd(...), ties(...) or dare(...)")
        keys = _KEYS[match[1]]
        right = f"write {match[1]}" + (f"({','.join(f'{key}=...' for key in keys)})" if keys else "")
        given: dict[str, str] = {}
        for pair in filter(str.strip, (match[2] or "").split(",")):
            key, equals, value = (part.strip() for part in pair.partition("="))
            if key not in keys or not equals or key in given:
                raise ValueError(f"{text!r}: {pair.strip()!r} does not belong there; {right}")
            given[key] = value
        if missing := [key for key in keys if key not in given]:
            raise ValueError(f"{text!r} lacks {', '.join(missing)}; {right}")
        try:
            density = float(given["density"]) if "density" in given else None
            rank, seed = (int(given[key]) if key in given else None for key in ("rank", "seed"))
        except ValueError as fault:
            raise ValueError(f"{text!r}: {fault}; {right} with numbers") from None
        if density is not None and not 0 < density <= 1:
            raise ValueError(
                f"{text!r}: density is {density}; it is the share that is kept, above 0 and at most 1"
            )
        if rank is not None and rank not in RANKS:
            raise ValueError(f"{text!r}: rank is {rank}; engines serve {', '.join(map(str, RANKS))}")
        return cls(match[1], density, rank, seed)

    @property
    def exact(self) -> bool:
        """Whether the result is the weighted sum itself."""
        return self.name == "exact"

    def __str__(self) -> str:
        """Return the one canonical text, which `parse` reads back."""
        values = {"density": self.density, "rank": self.rank, "seed": self.seed}
        inside = ",".join(f"{key}={values[key]}" for key in _KEYS[self.name])
        return f"{self.name}({inside})" if inside else self.name


EXACT = Method()
