"""compose.yaml as an engine reads it: variables put in, merge keys applied, held against the specification."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from compose_spec import PyOptions

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
SECRETS = {"AGOGE_CACHE_SECRET": "0" * 64, "TGI_API_KEY": "k" * 32}

# Of the interpolation grammar (compose-spec 12-interpolation.md) the forms that our file uses.
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<how>:-|:\?)(?P<rest>[^}]*))?\}")


class Missing(Exception):
    """A required variable is not set."""


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """Return `text` with its variables replaced. Raises Missing with the file's own words for a required one."""

    def value(found: re.Match[str]) -> str:
        given = environment.get(found["name"], "")
        if given or found["how"] is None:
            return given
        if found["how"] == ":?":
            raise Missing(f"{found['name']}: {found['rest']}")
        return found["rest"] or ""

    return _VARIABLE.sub(value, text)


def validate(text: str) -> None:
    """Hold a file against the Compose specification. Raises ValueError with what the specification does not allow.

    The package checks every field and value, but lets a service name a volume or another service that is not
    there, so that is done here.
    """
    compose = PyOptions(apply_merge=True).from_yaml(text)
    compose.validate()
    document = load(text)
    for name, service in document["services"].items():
        for other in service.get("depends_on", {}):
            if other not in document["services"]:
                raise ValueError(f"{name} depends on {other}, which is not there")
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if not source.startswith((".", "/")) and source not in document.get("volumes", {}):
                raise ValueError(f"{name} mounts the volume {source}, which is not defined")


def load(text: str) -> dict[str, Any]:
    """Return the document with merge keys applied, which is also what PyYAML's safe loader does."""
    document = yaml.safe_load(text)
    assert isinstance(document, dict)
    return document


def services() -> dict[str, Any]:
    """Return the services of compose.yaml by name, with the secrets of the tests."""
    found = load(interpolate(TEXT, SECRETS))["services"]
    assert isinstance(found, dict)
    return found
