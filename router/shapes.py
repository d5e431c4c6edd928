"""Plain data against a pydantic model -> the model, or problems a person can act on. Knows no particular file.

pydantic's own messages speak of types and locations inside the model; a user wants the line, what stands
there and what to write instead. The latter comes from each field's `description` and `examples`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from router.core.check import near
from router.core.errors import Problem

Model = TypeVar("Model", bound=BaseModel)
Place = Callable[[tuple[str, ...]], tuple[str, str | None, int | None]]
"""Path inside the data -> (where to show, file, line)."""

TAG = "‹"
"""First character of every union tag: pydantic puts tags into its locations, and no key starts like this."""

MOST = 100
"""Problems that are told at once: more help nobody, and a file of 40,000 wrong keys would take minutes."""


class Shape(BaseModel):
    """Base of every model of a file: exact types, no unknown keys, no change after load."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, validate_by_name=False, validate_by_alias=True
    )


def shaped(
    model: type[Model], data: Any, place: Place, *, show: bool = True
) -> tuple[Model | None, list[Problem]]:
    """Return the validated model, or None and one problem per thing that is wrong, the first MOST of them.

    `show=False` keeps the file's values out of the messages, for files that hold secrets.
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        schema = model.model_json_schema()
        return None, [_problem(details, schema, place, show) for details in error.errors(include_url=False)[:MOST]]


def _problem(details: Mapping[str, Any], schema: dict[str, Any], place: Place, show: bool) -> Problem:
    path = tuple(str(step) for step in details["loc"] if not str(step).startswith(TAG))
    kind, found = details["type"], details["input"]
    where, file, line = place(path)
    if kind == "extra_forbidden":
        around = _at(schema, path[:-1])
        known = frozenset(key for branch in _branches(schema, around) for key in branch.get("properties", ()))
        return Problem(where, "is an unknown key", near(path[-1], known), file, line)
    if kind == "missing":
        return Problem(where, "is missing", _advice(_at(schema, path)), file, line)
    return Problem(where, f"is {described(found, show)}", _advice(_at(schema, path)), file, line)


def described(value: Any, show: bool = True) -> str:
    """Return what kind of value this is, with the value itself when it is short and may be shown."""
    match value:
        case None:
            return "empty"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}" if show else "a number"
        case str():
            return f"the text {value[:60]!r}" if show else "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _advice(schema: Mapping[str, Any]) -> str:
    """Return what to write, from the field's description and first example; the whole file names its keys."""
    if "$defs" in schema:
        return f"write a mapping with {', '.join(schema.get('required', ()))}"
    example = f", like {schema['examples'][0]}" if schema.get("examples") else ""
    return f"write {schema.get('description', 'another kind of value')}{example}"


def _at(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """Return the part of a JSON schema that describes `path`; descriptions beside a reference win over its own."""
    here = _resolved(schema, schema)
    for step in path:
        for branch in _branches(schema, here):
            inside = (
                branch.get("properties", {}).get(step) or branch.get("items") or branch.get("additionalProperties")
            )
            if isinstance(inside, dict):
                here = _resolved(schema, inside)
                break
        else:
            return {}
    return here


def _branches(schema: dict[str, Any], part: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the part itself and, of a union, its members."""
    return [part, *(_resolved(schema, branch) for branch in part.get("oneOf", part.get("anyOf", ())))]


def _resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    reference = part.get("$ref")
    if reference is None:
        return part
    return {**schema["$defs"][reference.rpartition("/")[2]], **{k: v for k, v in part.items() if k != "$ref"}}
