"""The shape of a policy file: keys and types, and the JSON schema that editors complete it with.

Knows no meaning: who may end up speaking is `router.core.check`'s business. Ranges stand here only as hints for
editors (`json_schema_extra`), so each rule is enforced, and worded, in one place.
"""

from __future__ import annotations

import copy
import json
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from router.core.check import MAX_WEIGHT, NAME
from router.core.limits import LONGEST_WAIT, MOST_PER_MINUTE, WAIT_SECONDS
from router.core.method import PATTERN
from router.shapes import TAG, Shape


class Gate(Shape):
    """A label gate."""

    label: str = Field(description="the classifier's label that opens the gate", examples=["physics"])
    at_least: float = Field(
        description="the probability from which the gate is open",
        examples=[0.55],
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 1},
    )


def _kind_of_when(value: Any) -> str:
    return f"{TAG}gate" if isinstance(value, dict | Gate) else f"{TAG}word"


class AdapterEntry(Shape):
    """One LoRA and its two dials, `when` and `alone`."""

    source: str = Field(
        alias="from",
        description="the folder (relative to this file) or hub id of the LoRA",
        examples=["./adapters/core"],
    )
    when: Annotated[
        Annotated[Literal["always", "asked"], Tag(f"{TAG}word")] | Annotated[Gate, Tag(f"{TAG}gate")],
        Discriminator(_kind_of_when),
    ] = Field(description="always, asked or a label gate", examples=["{ label: physics, at_least: 0.55 }"])
    alone: bool = Field(default=False, description="true when it speaks without anybody else, else false")
    weight: float = Field(
        default=1.0,
        description="the number its update is multiplied with",
        examples=[0.8],
        json_schema_extra={"minimum": -MAX_WEIGHT, "maximum": MAX_WEIGHT, "not": {"const": 0}},
    )
    aliases: list[Annotated[str, Field(description="a name in quotes", examples=['"физика"'])]] = Field(
        default_factory=list,
        description="a list of other names people say for it",
        examples=["[физика]"],
        json_schema_extra={"uniqueItems": True},
    )


class Compose(Shape):
    """How adapters combine."""

    at_most: int = Field(
        description="how many adapters may join the `always` ones", examples=[2], json_schema_extra={"minimum": 1}
    )
    merge: str = Field(
        default="exact",
        description="`exact`, or a lossy method by name",
        examples=["svd(rank=16)"],
        json_schema_extra={"pattern": PATTERN},
    )
    refuse_conflict_above: float = Field(
        default_factory=float,  # left out means no gate: see `model_fields_set`
        description="the share that an adapter may lose in a blend before its build is refused",
        examples=[0.1],
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 1},
    )


class LimitsEntry(Shape):
    """What one caller may take. Without a limit: as much as there is room for."""

    at_once: int = Field(
        default_factory=int,
        description="how many answers this caller may get at once; without it no limit",
        examples=[8],
        json_schema_extra={"minimum": 1},
    )
    per_minute: int = Field(
        default_factory=int,
        description="how many requests this caller may send per minute; without it no limit",
        examples=[600],
        json_schema_extra={"minimum": 1, "maximum": MOST_PER_MINUTE},
    )


_AdapterName = Annotated[str, Field(description="an adapter's name", examples=["physics"])]


class Profile(Shape):
    """One resolved profile: the document for one caller."""

    version: Literal[1] = Field(description="the format's version", examples=[1])
    base: str = Field(description="the base model's hub id or folder", examples=["Qwen/Qwen3-30B-A3B"])
    adapters: dict[str, AdapterEntry] = Field(
        description="a mapping of adapter names to `{ from, when, ... }`",
        examples=["core: { from: ./adapters/core, when: always }"],
        json_schema_extra={"propertyNames": {"pattern": f"^{NAME.pattern}$"}, "minProperties": 1},
    )
    compose: Compose = Field(description="how adapters combine", examples=["{ at_most: 2, merge: exact }"])
    otherwise: list[_AdapterName] = Field(
        default_factory=list,
        description="a list of adapters that join when no gate opens",
        examples=["[]"],
        json_schema_extra={"uniqueItems": True},
    )
    backends: list[Annotated[str, Field(description="an engine's name or URL", examples=['"embedded:"'])]] = Field(
        description="a list of engines in the order to try them",
        examples=['["embedded:"]'],
        json_schema_extra={"minItems": 1, "uniqueItems": True},
    )
    may_ask: list[_AdapterName] = Field(
        default_factory=list,  # left out means all: see `model_fields_set`
        description="a list of the `asked` adapters this caller may name; without it all",
        examples=["[academic]"],
        json_schema_extra={"uniqueItems": True},
    )
    limits: LimitsEntry = Field(
        default_factory=LimitsEntry,
        description="what this caller may take",
        examples=["{ at_once: 8, per_minute: 600 }"],
    )


class CapacityEntry(Shape):
    """What one backend takes."""

    at_once: int = Field(
        description="how many answers it may give at once", examples=[32], json_schema_extra={"minimum": 1}
    )
    queue: int = Field(
        default_factory=int,  # left out means half of at_once: see `model_fields_set`
        description="how many requests may wait for a place; left out, half of at_once",
        examples=[16],
        json_schema_extra={"minimum": 0},
    )
    wait: float = Field(
        default=WAIT_SECONDS,
        description="how many seconds a request may wait for a place",
        examples=[10],
        json_schema_extra={"exclusiveMinimum": 0, "maximum": LONGEST_WAIT},
    )


_PATCH = Field(
    description="a mapping of changes over the document; {} changes nothing", examples=["{ otherwise: [] }"]
)
_Patch = Annotated[dict[str, Any], _PATCH]


class Document(Profile):
    """A policy: which adapters exist, when each speaks, for whom."""

    capacity: dict[str, CapacityEntry] = Field(
        default_factory=dict,
        description="a mapping of backends to what they take",
        examples=["primary: { at_once: 32 }"],
    )
    tenants: dict[str, _Patch] = Field(
        default_factory=dict,
        description="a mapping of tenant names to merge patches (RFC 7396) over this document",
    )
    roles: dict[str, _Patch] = Field(
        default_factory=dict, description="a mapping of role names to merge patches over the tenant's document"
    )


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a policy file.

    Patches are the same shapes with nothing required and `null` allowed everywhere, as RFC 7396 has it.
    """
    made = Document.model_json_schema()
    definitions = made["$defs"]
    profile = Profile.model_json_schema()
    profile.pop("$defs")
    for name, shape in [*definitions.items(), ("Role", profile)]:
        definitions[f"{name}Patch"] = _loosened(shape)
    tenant = copy.deepcopy(definitions["RolePatch"])
    removable = {"anyOf": [{"$ref": "#/$defs/RolePatch"}, {"type": "null"}]}
    patches = {"type": "object", "additionalProperties": removable}
    tenant["properties"]["roles"] = {"anyOf": [patches, {"type": "null"}]}
    definitions["TenantPatch"] = {**tenant, "title": "TenantPatch"}
    made["properties"]["roles"]["additionalProperties"] = {"$ref": "#/$defs/RolePatch"}
    made["properties"]["tenants"]["additionalProperties"] = {"$ref": "#/$defs/TenantPatch"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "Agoge policy"}


def schema_text() -> str:
    """Return the schema as the text of `policies/policy.schema.json`."""
    return json.dumps(schema(), ensure_ascii=False, indent=2) + "\n"


def _loosened(shape: dict[str, Any]) -> dict[str, Any]:
    """Return an object's schema as a patch of it: nothing required, null removes, references lead to patches."""
    loose: dict[str, Any] = _to_patches(
        {key: value for key, value in shape.items() if key not in ("required", "title")}
    )
    loose["properties"] = {
        key: {"anyOf": [{k: v for k, v in value.items() if k != "default"}, {"type": "null"}]}
        for key, value in loose["properties"].items()
    }
    return loose


def _to_patches(part: Any) -> Any:
    if isinstance(part, list):
        return [_to_patches(item) for item in part]
    if not isinstance(part, dict):
        return part
    found = {key: _to_patches(value) for key, value in part.items() if key != "minProperties"}
    if isinstance(found.get("$ref"), str):
        found["$ref"] += "Patch"
    if isinstance(inner := found.get("additionalProperties"), dict):
        found["additionalProperties"] = {"anyOf": [inner, {"type": "null"}]}
    return found
