"""Backend addresses -> backends. Knows what each driver is made with; `addresses.py` knows what an address says.

Drivers are imported where their address is opened: nobody pays for a vendor they do not use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from router.backends.timeouts import Timeouts
from router.core.policy import Policies
from router.ports import Backend
from router.wiring.addresses import KINDS, LIMITS, OPTIONS, Address, read_names, read_options, served_names, shown
from router.wiring.embedded import open_embedded
from router.wiring.proving import Proving, guarded
from router.wiring.settings import Settings, SettingsInvalid

Make = Callable[[str, str], Backend]
"""(name, root of the server) -> driver."""


async def open_backend(address: Address, policies: Policies, settings: Settings) -> Backend:
    """Open one backend: one engine or several, each of which serves only what it was proved to.

    Raises PolicyInvalid or SettingsInvalid with what is missing and where to get it.
    """
    drivers = await open_drivers(address, policies, settings)
    try:
        return guarded(address.name, drivers, proving(address), settings.blends)
    except BaseException:
        await asyncio.gather(*(driver.aclose() for driver in drivers.values()), return_exceptions=True)
        raise


def proving(address: Address) -> Proving:
    """Return how the address wants its engines proved. Raises SettingsInvalid for what cannot be."""
    kind, _, rest = address.spec.partition(":")
    try:
        return Proving.of(kind, read_options(rest.partition("?")[2], OPTIONS[kind]))
    except ValueError as error:
        raise SettingsInvalid(f"backend {shown(address.name)}: {error}") from None


async def open_drivers(address: Address, policies: Policies, settings: Settings) -> dict[str, Backend]:
    """Open the driver of every engine that stands behind the address, by its name: the backend's, or NAME#1, ...

    Raises PolicyInvalid or SettingsInvalid with what is missing and where to get it.
    """
    kind, _, rest = address.spec.partition(":")
    try:
        if kind == "embedded":
            base, _, query = rest.partition("?")
            timeouts = _timeouts(read_options(query, OPTIONS[kind]))
            return {address.name: await open_embedded(address.name, base, timeouts, policies, settings)}
        return _open_remote(address, kind, rest, settings)
    except ValueError as error:
        raise SettingsInvalid(f"backend {shown(address.name)}: {error}") from None


def _open_remote(address: Address, kind: str, rest: str, settings: Settings) -> dict[str, Backend]:
    url = urlsplit(rest if kind == "hub" else address.spec)
    if "@" in url.netloc:
        raise ValueError("the address holds a password, and addresses are shown; write ?api_key_env=NAME instead")
    if kind not in OPTIONS:
        raise ValueError(f"{address.spec!r} is no address; known forms: {KINDS}")
    options = read_options(url.query, OPTIONS[kind])
    key_name = options.pop("api_key_env", None)
    key = settings.given(key_name) if key_name else None
    if key_name and not key:
        raise ValueError(f"the environment variable {key_name} is not set, nor is {key_name}_FILE")
    if "@" in urlsplit(options.get("api_base", "")).netloc:
        raise ValueError("api_base holds a password, and addresses are shown; write ?api_key_env=NAME instead")
    names, timeouts = options.pop("names", ""), _timeouts(options)
    built = None if address.published is None else dict(address.published)
    if kind == "litellm":
        from router.backends.litellm import LitellmBackend

        model, api_base = rest.partition("?")[0], options.get("api_base")
        backend = LitellmBackend(
            address.name, model, names=read_names(names), api_key=key, api_base=api_base, timeouts=timeouts
        )
        return {address.name: backend}
    if kind == "hub":
        from router.backends.hub import HubBackend

        plain, served = url._replace(query="").geturl(), served_names(names, settings)
        hub = HubBackend(address.name, plain, served, published=built, api_key=key, timeouts=timeouts)
        return {address.name: hub}
    make = _maker(kind.partition("+")[0], names, options.get("files", ""), built, key, timeouts, settings)
    roots = _roots(url)
    drivers = [address.name] if len(roots) == 1 else [f"{address.name}#{n}" for n in range(1, len(roots) + 1)]
    return {name: make(name, root) for name, root in zip(drivers, roots, strict=True)}


def _maker(
    engine: str,
    names: str,
    files: str,
    built: Mapping[str, str] | None,
    key: str | None,
    timeouts: Timeouts,
    settings: Settings,
) -> Make:
    """Return what makes a driver of this engine: one server of its own, or one of several replicas."""
    if engine == "tgi":
        from router.backends.tgi import TgiBackend

        served = served_names(names, settings)
        return lambda name, root: TgiBackend(name, root, served, published=built, api_key=key, timeouts=timeouts)
    if engine == "vllm":
        from router.backends.vllm import VllmBackend

        return lambda name, root: VllmBackend(name, root, published=built, api_key=key, timeouts=timeouts)
    if engine == "sglang":
        from router.backends.sglang import SglangBackend

        return lambda name, root: SglangBackend(name, root, published=built, api_key=key, timeouts=timeouts)
    from router.backends.llamacpp import LlamaCppBackend, published_files

    expected = published_files(read_names(files)) if files else None
    return lambda name, root: LlamaCppBackend(name, root, expected=expected, api_key=key, timeouts=timeouts)


def _roots(url: SplitResult) -> Sequence[str]:
    """Return the root of every server in the address. Raises ValueError for a host that is empty or twice."""
    hosts = url.netloc.split(",")
    if len(hosts) > 1 and (not all(hosts) or len({*hosts}) != len(hosts)):
        raise ValueError(f"the hosts {url.netloc!r} name a replica twice, or none; write HOST:PORT,HOST:PORT")
    scheme = url.scheme.partition("+")[2]
    return [url._replace(scheme=scheme, netloc=host, query="").geturl() for host in hosts]


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
