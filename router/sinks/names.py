"""How many names a metric may tell apart. Whoever sends requests must never decide how many series there are."""

from __future__ import annotations

OTHER = "other"


class Names:
    """The first `most` values keep their names; every later one is counted as "other", until the next start.

    A value is what one metric tells apart: a name, or several that belong together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[tuple[str, ...]] = set()

    def __call__(self, *names: str) -> tuple[str, ...]:
        """Return `names`, or as many times "other"."""
        if names in self._known:
            return names
        if len(self._known) < self._most:
            self._known.add(names)
            return names
        return (OTHER,) * len(names)
