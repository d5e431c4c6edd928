"""Backend addresses -> backends. Knows what each driver is made with; `addresses.py` knows what an address says.

Drivers are imported where their address is opened: nobody pays for a vendor they do not use.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from router.backends.timeouts import Timeouts
from router.core.policy import Policies
from router.ports import Backend
from router.wiring.addresses import KINDS, LIMITS, OPTIONS, Address, read_names, read_options, served_names, shown
from router.wiring.embedded import open_embedded
from router.wiring.settings import Settings, SettingsInvalid


async def open_backend(address: Address, policies: Policies, settings: Settings) -> Backend:
    """Open one backend. Raises PolicyInvalid or SettingsInvalid with what is missing and where to get it."""
    kind, _, rest = address.spec.partition(":")
    try:
        if kind == "embedded":
            base, _, query = rest.partition("?")
            timeouts = _timeouts(read_options(query, OPTIONS[kind]))
            return await open_embedded(address.name, base, timeouts, policies, settings)
        return _open_remote(address, kind, rest, settings)
    except ValueError as error:
        raise SettingsInvalid(f"backend {shown(address.name)}: {error}") from None


def _open_remote(address: Address, kind: str, rest: str, settings: Settings) -> Backend:
    url = urlsplit(rest if kind == "hub" else address.spec)
    if "@" in url.netloc:
        raise ValueError("the address holds a password, and addresses are shown; write ?api_key_env=NAME instead")
    if kind not in OPTIONS:
        raise ValueError(f"{address.spec!r} is no address; known forms: {KINDS}")
    options = read_options(url.query, OPTIONS[kind])
    key_name = options.pop("api_key_env", None)
    key = settings.environment.get(key_name) if key_name else None
    if key_name and not key:
        raise ValueError(f"the environment variable {key_name} is not set")
    names, timeouts = options.pop("names", ""), _timeouts(options)
    plain = url._replace(query="").geturl()
    if kind in ("tgi+http", "tgi+https"):
        from router.backends.tgi import TgiBackend

        served = served_names(names, settings)
        return TgiBackend(address.name, plain.removeprefix("tgi+"), served, api_key=key, timeouts=timeouts)
    if kind == "hub":
        from router.backends.hub import HubBackend

        return HubBackend(address.name, plain, served_names(names, settings), api_key=key, timeouts=timeouts)
    from router.backends.litellm import LitellmBackend

    model, _, _ = rest.partition("?")
    api_base = options.get("api_base")
    return LitellmBackend(
        address.name, model, names=read_names(names), api_key=key, api_base=api_base, timeouts=timeouts
    )


def _timeouts(options: Mapping[str, str]) -> Timeouts:
    """Return the limits, the usual ones where nothing is given. Raises ValueError for what is no number over 0."""
    limits = {}
    for name in LIMITS:
        if name in options:
            try:
                limits[name] = float(options[name])
            except ValueError:
                raise ValueError(f"the option {name} is no number; write seconds: {name}=60") from None
    return Timeouts(**limits)
