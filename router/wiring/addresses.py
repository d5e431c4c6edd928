"""What may stand where a policy names a backend: every form of address, its options, and what it depends on.

    embedded:                          llama.cpp in this process, the carried base model, the policy's adapters
    embedded:/path/base.gguf           the same on another base model
    tgi+http://HOST:PORT               TGI; adapters as in ?names=a,b or the environment's LORA_ADAPTERS
    vllm+http://HOST:PORT              vLLM, which is asked what it holds
    sglang+http://HOST:PORT            SGLang, likewise
    llamacpp+http://HOST:PORT          llama.cpp's server, likewise; ?files=a-HEX,b-HEX are the published files
    hub:https://ENDPOINT               an Inference Endpoint or remote TGI through huggingface_hub; likewise
    litellm:PROVIDER/MODEL             any other provider, as a stand-in: never for an isolated adapter
    litellm:PROVIDER/{blend}?names=..  a provider that holds the blends under their own names

Those with http may say https, and name several replicas: `vllm+http://HOST:PORT,HOST:PORT`. With a manifest in
force (`--blends`) TGI, hub, vLLM and SGLang are asked for what was built, by the names of its content.
`?api_key_env=NAME` names the environment variable that holds the engine's key. `connect`, `first_token` and
`between_tokens` are limits in seconds; `embedded:` takes the latter two. `?canary=SECONDS` says how often an
engine proves that its blends act, `off` never; `canary_scale` how far it may be from PEFT. Opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from router.core.errors import PolicyInvalid, Problem
from router.core.method import EXACT
from router.core.policy import Policies
from router.core.reachable import reachable_names
from router.policy_callers import DEFAULT_TENANT
from router.wiring.built import Pairs, published
from router.wiring.embedded import content_of
from router.wiring.settings import Settings

LIMITS = ("connect", "first_token", "between_tokens")
PROVING = ("canary", "canary_scale")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "embedded": ("canary", *LIMITS[1:]),
    **{f"tgi+{scheme}": ("names", "api_key_env", *PROVING, *LIMITS) for scheme in ("http", "https")},
    **{f"vllm+{scheme}": ("api_key_env", *PROVING, *LIMITS) for scheme in ("http", "https")},
    **{f"sglang+{scheme}": ("api_key_env", *PROVING, *LIMITS) for scheme in ("http", "https")},
    **{f"llamacpp+{scheme}": ("files", "api_key_env", *PROVING, *LIMITS) for scheme in ("http", "https")},
    "hub": ("names", "api_key_env", *PROVING, *LIMITS),
    "litellm": ("names", "api_key_env", "api_base", *LIMITS),
}
SUMMING = ("embedded:", "llamacpp+")
"""Engines that add adapters up per request: what they serve is the exact sum, whatever a policy calls it."""
PUBLISHED = ("tgi+", "vllm+", "sglang+", "hub:")
"""Engines that serve one adapter per request: blends are built for them ahead."""
LISTING = ("vllm+", "sglang+", "llamacpp+")
"""Engines that tell themselves what they hold."""
KINDS = (
    "embedded:, tgi+http://, vllm+http://, sglang+http://, llamacpp+http:// (or https), hub:https://, "
    "litellm:PROVIDER/MODEL"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A backend's address with everything it depends on; equal addresses mean the same engine."""

    name: str
    spec: str
    content: str = ""
    published: Pairs | None = None


def addresses(policies: Policies, settings: Settings) -> dict[str, Address]:
    """Return the address of every backend that some profile names, by name.

    Raises PolicyInvalid, and SettingsInvalid for a manifest that cannot be read.
    """
    names = sorted({name for policy in policies.profiles.values() for name in policy.backends})
    problems, found = [], {}
    built = published(settings)
    for name in names:
        spec = settings.backends.get(name, name)
        if ":" not in spec:
            right = f"start with --backend {name}=ADDRESS, or write an address here ({KINDS})"
            problems.append(Problem("backends", f"{name!r} has no address", right))
            continue
        problems += _lossy(name, spec, policies)
        if spec.startswith("embedded:"):
            found[name] = Address(name, spec, content_of(name, policies, settings))
        else:
            by_content = built if spec.startswith(PUBLISHED) else None
            problems += _two_bases(name, spec, policies)
            problems += _ambiguous(name, spec, policies, settings) if by_content is None else ()
            found[name] = Address(name, spec, published=by_content)
    if problems:
        raise PolicyInvalid(problems)
    return found


def _lossy(name: str, spec: str, policies: Policies) -> Iterator[Problem]:
    """Yield profiles that ask an engine which adds adapters up itself, exactly, for a sum that loses something."""
    if not spec.startswith(SUMMING):
        return
    for policy in policies.profiles.values():
        joined = any(len(names) > 1 for names in reachable_names(policy))
        if name in policy.backends and policy.merge != EXACT and joined:
            yield Problem(
                "compose.merge",
                f"{policy.merge!r} is built ahead, but {shown(name)} adds adapters up itself, exactly, per request"
                + (f" (tenant {policy.tenant})" if policy.tenant != DEFAULT_TENANT else ""),
                "write `merge: exact`, or name an engine that serves built blends (tgi, vllm, sglang)",
            )


def _ambiguous(name: str, spec: str, policies: Policies, settings: Settings) -> Iterator[Problem]:
    """Yield adapters that this engine holds under their bare names while two profiles mean two things by them.

    A blend's id tells base, sources and weights apart; a bare name is served to whoever has it in the policy.
    """
    held: set[str] | None = None  # an engine that lists its adapters may hold any of them
    if not spec.startswith(LISTING):
        try:
            names = read_options(spec.partition("?")[2], OPTIONS["litellm"]).get("names", "")
            held = set(read_names(names) if spec.startswith("litellm:") else served_names(names, settings))
        except ValueError:
            return  # `open_backend` says what is wrong with the address
    meant: dict[str, set[tuple[str, str]]] = {}
    for policy in policies.profiles.values():
        for adapter in policy.adapters if name in policy.backends else ():
            if (held is None or adapter.name in held) and (adapter.weight == 1.0 or spec.startswith(SUMMING)):
                meant.setdefault(adapter.name, set()).add((policy.base, adapter.source))
    for adapter_name, contents in sorted(meant.items()):
        if len(contents) > 1:
            yield Problem(
                f"adapters.{adapter_name}.from",
                f"{shown(name)} holds one {adapter_name!r}, but two profiles take it from "
                + " and ".join(sorted(f"{source!r} on {base!r}" for base, source in contents)),
                "serve built blends (--blends), blends under their ids (`agoge policy blends`), or give the "
                "second one a name of its own",
            )


def _two_bases(name: str, spec: str, policies: Policies) -> Iterator[Problem]:
    """Yield a second base model of an engine that adds adapters up by their names on the one base that it runs."""
    bases = sorted({policy.base for policy in policies.profiles.values() if name in policy.backends})
    if spec.startswith(SUMMING) and len(bases) > 1:
        named = " and ".join(map(repr, bases))
        right = "give the profiles of the second base a backend of their own"
        yield Problem("base", f"{shown(name)} runs one base model, not {named}", right)


def read_options(query: str, known: Sequence[str]) -> dict[str, str]:
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


def shown(spec: str) -> str:
    """Return an address without the password that somebody may have written into it."""
    head, at, tail = spec.rpartition("@")
    return f"{head.partition('//')[0]}//...@{tail}" if at else spec


def read_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def served_names(names: str, settings: Settings) -> tuple[str, ...]:
    """Return the adapter names this engine was launched with: TGI has no call that tells them."""
    text = settings.environment.get("LORA_ADAPTERS", "")
    if names:
        return read_names(names)
    if not text:
        raise ValueError(
            "TGI does not tell which adapters it holds; start Agoge with the same "
            "LORA_ADAPTERS as TGI (`agoge policy blends --lora-adapters` writes it), or add ?names=a,b"
        )
    from router.backends.tgi import parse_lora_adapters

    return parse_lora_adapters(text)
