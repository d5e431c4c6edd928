"""What a Redis URL may look like, and how it is named in messages. Knows no client; never repeats a password."""

from __future__ import annotations

from urllib.parse import urlsplit

SCHEMES = ("redis", "rediss", "unix")
_ALLOWED_QUERY = "db"  # for unix://, whose path is the socket's


def without_password(url: str) -> str:
    """Return scheme, host, port and database of the URL, for messages. Raises ValueError when it is wrong."""
    right = "expected redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/socket?db=0"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its text may quote a password that was not percent-encoded
        raise ValueError(f"the Redis URL cannot be read (is the password percent-encoded?); {right}") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"not a Redis URL; {right}")
    if parts.fragment or any(part.partition("=")[0] != _ALLOWED_QUERY for part in parts.query.split("&") if part):
        raise ValueError(
            f"the Redis URL has a fragment or options other than db (percent-encode # ? & /); {right}"
        )
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError(f"the Redis URL names no socket; {right}")
        return f"unix://{parts.path}"
    database = parts.path.strip("/")
    if not host or (database and not database.isdecimal()):
        raise ValueError(f"the Redis URL names no host, or a database that is not a number; {right}")
    return f"{parts.scheme}://{host}:{port or 6379}/{database or 0}"
