"""Secrets: from the environment, or from the file that it names. Never from the command line, which everybody on
the machine can read. No message shows one. Knows no setting but the password of Redis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from router.core.errors import AgogeError
from router.redis_address import SCHEMES

REDIS_PASSWORD = "AGOGE_REDIS_PASSWORD"  # noqa: S105 - its name


class SecretInvalid(AgogeError):
    """A secret cannot be read, or is given twice; the message names the variable, and what would be right."""


def secret(environment: Mapping[str, str], name: str) -> str | None:
    """Return the variable `name`, or what the file holds that `name`_FILE names; None where neither is set.

    Such files are how Docker and Kubernetes hand secrets over: one line, whose line end is not part of it.
    Raises SecretInvalid.
    """
    text, file = environment.get(name), environment.get(f"{name}_FILE")
    if not file:
        return text or None
    if text:
        raise SecretInvalid(f"{name} and {name}_FILE are both set; keep one of them")
    try:
        read = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SecretInvalid(f"{name}_FILE: {file} cannot be read ({why})") from None
    line = read.rstrip("\r\n")
    if not line or "\n" in line:
        raise SecretInvalid(f"{name}_FILE: {file} must hold the secret alone, on one line")
    return line


def with_redis_password(address: str, environment: Mapping[str, str]) -> str:
    """Return a Redis URL with the password of the environment in it; any other address as it is.

    Raises SecretInvalid where the URL has one of its own.
    """
    scheme, found, rest = address.partition("://")
    if not found or scheme not in SCHEMES or (password := secret(environment, REDIS_PASSWORD)) is None:
        return address
    if holds_password(address):
        raise SecretInvalid(f"{REDIS_PASSWORD} is set, and the address holds a password too; keep the variable")
    user, place = _parted(rest)
    return f"{scheme}://{user}:{quote(password, safe='')}@{place}"


def holds_password(address: str) -> bool:
    """Say whether a URL has a password in front of its host. (A backend's is refused wherever it comes from.)"""
    return ":" in _parted(address.partition("://")[2])[0]


def _parted(rest: str) -> tuple[str, str]:
    """Return what is before the last @, and what is behind it: a password may hold a / that should be encoded."""
    user, _, place = rest.rpartition("@")
    return user, place
