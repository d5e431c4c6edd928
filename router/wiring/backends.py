"""Backend addresses -> backends. Knows every engine's address form, and what each needs from the policy.

    embedded:                          llama.cpp in this process, the carried base model, the policy's adapters
    embedded:/path/base.gguf           the same on another base model
    tgi+http://HOST:PORT               TGI; adapters as in ?names=a,b or the environment's LORA_ADAPTERS
    hub:https://ENDPOINT               an Inference Endpoint or remote TGI through huggingface_hub; likewise
    litellm:PROVIDER/MODEL             any other provider, as a stand-in: never for an isolated adapter
    litellm:PROVIDER/{blend}?names=..  a provider that holds the blends under their own names

`?api_key_env=NAME` names the environment variable that holds the engine's key. `connect`, `first_token` and
`between_tokens` are limits in seconds; `embedded:` takes the latter two. Drivers are imported where their address
is opened: nobody pays for a vendor they do not use.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from blends.adapter import AdapterRefused
from blends.base import BASE_ID, BaseMissing, BaseUnreadable, locate_base
from blends.gguf import cached
from router.backends.timeouts import Timeouts
from router.core.errors import PolicyInvalid, Problem
from router.core.policy import Policies
from router.ports import Backend
from router.wiring.settings import Settings, SettingsInvalid

LIMITS = ("connect", "first_token", "between_tokens")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "embedded": LIMITS[1:],
    "tgi+http": ("names", "api_key_env", *LIMITS),
    "tgi+https": ("names", "api_key_env", *LIMITS),
    "hub": ("names", "api_key_env", *LIMITS),
    "litellm": ("names", "api_key_env", "api_base", *LIMITS),
}
KINDS = "embedded:, tgi+http://, tgi+https://, hub:https://, litellm:PROVIDER/MODEL"


@dataclass(frozen=True, slots=True)
class Address:
    """A backend's address with everything it depends on; equal addresses mean the same engine."""

    name: str
    spec: str
    content: str = ""


def addresses(policies: Policies, settings: Settings) -> dict[str, Address]:
    """Return the address of every backend that some profile names, by name. Raises PolicyInvalid."""
    names = sorted({name for policy in policies.profiles.values() for name in policy.backends})
    problems, found = [], {}
    for name in names:
        spec = settings.backends.get(name, name)
        if ":" not in spec:
            right = f"start with --backend {name}=ADDRESS, or write an address here ({KINDS})"
            problems.append(Problem("backends", f"{name!r} has no address", right))
            continue
        if spec.startswith("embedded:"):
            content = _digest(_adapter_folders(policies, settings), _bases(name, policies))
            found[name] = Address(name, spec, content)
        else:
            problems += _ambiguous(name, spec, policies, settings)
            found[name] = Address(name, spec)
    if problems:
        raise PolicyInvalid(problems)
    return found


def _bases(name: str, policies: Policies) -> list[str]:
    """Return the base models of the profiles that name this backend."""
    return sorted({policy.base for policy in policies.profiles.values() if name in policy.backends})


def _ambiguous(name: str, spec: str, policies: Policies, settings: Settings) -> Iterator[Problem]:
    """Yield adapters that this engine holds under their bare names while two profiles mean two things by them.

    A blend's id tells base, sources and weights apart; a bare name is served to whoever has it in the policy.
    """
    try:
        names = _options(spec.partition("?")[2], OPTIONS["litellm"]).get("names", "")
        held = set(_names(names) if spec.startswith("litellm:") else _served(names, settings))
    except ValueError:
        return  # `open_backend` says what is wrong with the address
    meant: dict[str, set[tuple[str, str]]] = {}
    for policy in policies.profiles.values():
        for adapter in policy.adapters if name in policy.backends else ():
            if adapter.name in held and adapter.weight == 1.0:
                meant.setdefault(adapter.name, set()).add((policy.base, adapter.source))
    for adapter_name, contents in sorted(meant.items()):
        if len(contents) > 1:
            yield Problem(
                f"adapters.{adapter_name}.from",
                f"{_shown(name)} holds one {adapter_name!r}, but two profiles take it from "
                + " and ".join(sorted(f"{source!r} on {base!r}" for base, source in contents)),
                "serve blends under their ids (`agoge policy blends`), or give the second one a name of its own",
            )


async def open_backend(address: Address, policies: Policies, settings: Settings) -> Backend:
    """Open one backend. Raises PolicyInvalid or SettingsInvalid with what is missing and where to get it."""
    kind, _, rest = address.spec.partition(":")
    try:
        if kind == "embedded":
            base, _, query = rest.partition("?")
            timeouts = _timeouts(_options(query, OPTIONS[kind]))
            return await _open_embedded(address, base, timeouts, policies, settings)
        return _open_remote(address, kind, rest, settings)
    except ValueError as error:
        raise SettingsInvalid(f"backend {_shown(address.name)}: {error}") from None


def _open_remote(address: Address, kind: str, rest: str, settings: Settings) -> Backend:
    url = urlsplit(rest if kind == "hub" else address.spec)
    if "@" in url.netloc:
        raise ValueError("the address holds a password, and addresses are shown; write ?api_key_env=NAME instead")
    if kind not in OPTIONS:
        raise ValueError(f"{address.spec!r} is no address; known forms: {KINDS}")
    options = _options(url.query, OPTIONS[kind])
    key_name = options.pop("api_key_env", None)
    key = settings.environment.get(key_name) if key_name else None
    if key_name and not key:
        raise ValueError(f"the environment variable {key_name} is not set")
    names, timeouts = options.pop("names", ""), _timeouts(options)
    plain = url._replace(query="").geturl()
    if kind in ("tgi+http", "tgi+https"):
        from router.backends.tgi import TgiBackend

        served = _served(names, settings)
        return TgiBackend(address.name, plain.removeprefix("tgi+"), served, api_key=key, timeouts=timeouts)
    if kind == "hub":
        from router.backends.hub import HubBackend

        return HubBackend(address.name, plain, _served(names, settings), api_key=key, timeouts=timeouts)
    from router.backends.litellm import LitellmBackend

    model, _, _ = rest.partition("?")
    api_base = options.get("api_base")
    return LitellmBackend(
        address.name, model, names=_names(names), api_key=key, api_base=api_base, timeouts=timeouts
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


def _options(query: str, known: Sequence[str]) -> dict[str, str]:
    """Read `a=1&b=2`. A plus stays a plus, unlike in a web form: blend ids are full of them.

    Raises ValueError for an option that is unknown, empty or given twice.
    """
    options: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = map(unquote, pair.partition("="))
        if name not in known:
            raise ValueError(f"the address has an option {name!r}; it may have {', '.join(known)}")
        if not value or name in options:
            raise ValueError(
                f"the option {name} is {'given twice' if value else 'empty'}; write it once: {name}=..."
            )
        options[name] = value
    return options


def _shown(spec: str) -> str:
    """Return an address without the password that somebody may have written into it."""
    head, at, tail = spec.rpartition("@")
    return f"{head.partition('//')[0]}//...@{tail}" if at else spec


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _served(names: str, settings: Settings) -> tuple[str, ...]:
    """Return the adapter names this engine was launched with: TGI has no call that tells them."""
    text = settings.environment.get("LORA_ADAPTERS", "")
    if names:
        return _names(names)
    if not text:
        raise ValueError(
            "TGI does not tell which adapters it holds; start Agoge with the same "
            "LORA_ADAPTERS as TGI (`agoge policy blends --lora-adapters` writes it), or add ?names=a,b"
        )
    from router.backends.tgi import parse_lora_adapters

    return parse_lora_adapters(text)


async def _open_embedded(
    address: Address, base: str, timeouts: Timeouts, policies: Policies, settings: Settings
) -> Backend:
    bases = _bases(address.name, policies)
    if len(bases) > 1:
        named = " and ".join(map(repr, bases))
        right = "give the profiles of the second base a backend of their own"
        raise PolicyInvalid([Problem("base", f"{address.name} runs one base model, not {named}", right)])
    wrong = [model for model in bases if model != BASE_ID]
    if wrong and not base:
        raise PolicyInvalid(
            [
                Problem(
                    "base",
                    f"embedded: carries {BASE_ID}, not {wrong[0]}",
                    "write embedded:/path/to/that-base.gguf",
                )
            ]
        )
    folders = _adapter_folders(policies, settings)

    def converted() -> tuple[Path, dict[str, Path]]:
        gguf = Path(base) if base else locate_base()
        if not gguf.is_file():
            raise BaseUnreadable(f"there is no file {gguf}; embedded: takes the path of a GGUF")
        return gguf, {name: cached(folder, gguf, settings.data / "gguf") for name, folder in folders.items()}

    try:
        gguf, adapters = await asyncio.to_thread(converted)
    except (BaseMissing, BaseUnreadable, AdapterRefused, OSError) as error:
        raise SettingsInvalid(f"backend {address.name}: {error}") from error
    from router.backends.embedded import EmbeddedBackend

    backend = EmbeddedBackend(address.name, gguf, adapters, timeouts=timeouts)
    await backend.start()
    return backend


def _adapter_folders(policies: Policies, settings: Settings) -> dict[str, Path]:
    """Return adapter -> folder. The embedded engine adds adapters up by name: one name, one source."""
    sources: dict[str, str] = {}
    problems = []
    for policy in policies.profiles.values():
        for adapter in policy.adapters:
            if sources.setdefault(adapter.name, adapter.source) != adapter.source:
                problems.append(
                    Problem(
                        f"adapters.{adapter.name}.from",
                        f"two profiles take it from {sources[adapter.name]!r} and {adapter.source!r}",
                        "the embedded engine knows one source per name: give the second one a name of its own",
                    )
                )
    folders = {name: (settings.policy.parent / source).resolve() for name, source in sources.items()}
    problems += [
        Problem(
            f"adapters.{name}.from", f"{folder} is no LoRA folder", "it needs adapter_config.json and its weights"
        )
        for name, folder in folders.items()
        if not (folder / "adapter_config.json").is_file()
    ]
    if problems:
        raise PolicyInvalid(problems)
    return folders


def _digest(folders: Mapping[str, Path], bases: Sequence[str]) -> str:
    """Hash the adapters' files and the bases' names: a retrained adapter, or another base, is a new engine."""
    digest = hashlib.sha256(repr(bases).encode())
    for name, folder in sorted(folders.items()):
        digest.update(name.encode())
        for file in sorted(folder.glob("adapter_*")):
            digest.update(file.read_bytes())
    return digest.hexdigest()
