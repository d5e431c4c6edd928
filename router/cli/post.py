"""What a worker is told by whoever starts it, as one argument of the command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Post:
    """A worker's number and its open files: where it listens, and the line to whoever looks after it.

    `aloud`: it is the first one, and says what is being loaded.
    """

    number: int
    line: int
    listen: int
    admin: int | None
    aloud: bool

    def written(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `written` wrote."""
        return cls(**json.loads(text))
