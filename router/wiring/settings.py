"""What a person may set when starting Agoge. Filled by the command line, never read from the environment here."""

from __future__ import annotations

import os
import secrets
import site
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from router.core.errors import AgogeError
from router.wiring.secret import secret

SECRET_BYTES = 16  # the least that a keyed digest of prompts deserves


class SettingsInvalid(AgogeError):
    """A setting is wrong; the message says which one and what would be right."""


def shipped(*parts: str) -> Path:
    """Return a file that ships with Agoge: in the working directory, the source tree, or the installed share."""
    here = Path(*parts)
    # Where pip puts a wheel's data: under the environment, or the user's own base after `pip install --user`.
    installed = (Path(base) / "share" / "agoge" for base in (sysconfig.get_path("data"), site.getuserbase()))
    for root in (Path(), Path(__file__).resolve().parents[2], *installed):
        if (root / here).exists():
            return root / here
    return here


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is not policy. `backends` gives the policy's backend names their addresses.

    `blends` is the folder that `agoge blends build` wrote; given, engines that serve one adapter per request are
    asked for what was built there and for nothing else. `connections`: how many clients may be connected at once.
    `traces` is the root of an OTLP/HTTP collector. `grace`: seconds that answers may go on once the server is told
    to stop. `workers`: processes on one port; `worker`: which of several this one is, from 0. `admin`: whether the
    routes for operators have an application of their own.
    """

    policy: Path = field(default_factory=lambda: shipped("policies", "default.yaml"))
    exemplars: Path = field(default_factory=lambda: shipped("policies", "exemplars"))
    encoder: str = "use"
    data: Path = Path(".agoge")
    classifier: Path | None = None
    cache: str = field(default="memory:", repr=False)  # a Redis URL may hold a password
    outcomes: str | None = field(default=None, repr=False)
    keys: Path | None = None
    blends: Path | None = None
    traces: str | None = None
    backends: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    reload_seconds: float = 1.0
    inventory_seconds: float = 5.0
    connections: int = 1000
    grace: float = 30.0
    workers: int = 1
    worker: int | None = None
    admin: bool = False

    def given(self, name: str) -> str | None:
        """Return the secret `name`, from the environment or a file that it names. Raises SecretInvalid."""
        return secret(self.environment, name)

    def secret(self) -> bytes:
        """Return the key of the cache's digests: random per process in memory, shared for a shared cache.

        Raises SettingsInvalid when a shared cache has no secret, or a short one.
        """
        text = self.given("AGOGE_CACHE_SECRET") or ""
        if len(text.encode()) >= SECRET_BYTES:
            return text.encode()
        if text:
            raise SettingsInvalid(
                f"AGOGE_CACHE_SECRET is shorter than {SECRET_BYTES} bytes; use `openssl rand -hex 32`"
            )
        if not self.cache.startswith(("memory:", "none:")):
            raise SettingsInvalid(
                f"the cache {self.cache.split('://')[0]}:// is shared, so all replicas "
                "need one secret for its digests; set AGOGE_CACHE_SECRET (`openssl rand -hex 32` makes one)"
            )
        return secrets.token_bytes(32)
