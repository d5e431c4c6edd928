"""Options -> Settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from router.cli.main import command
from router.cli.options import read_settings

PLAIN: dict[str, Any] = {
    "policy": None, "backend": (), "cache": "memory:", "keys": None, "classifier": None, "exemplars": None,
    "encoder": "use", "data": Path(".agoge"), "blends": None,
}  # fmt: skip


def test_backends_keep_everything_behind_the_first_equals_sign() -> None:
    pairs = ["primary=tgi+http://h:80?names=core,core+physics-0123456789ab", "spare=litellm:openai/gpt-x"]
    settings = read_settings(**PLAIN | {"backend": pairs})
    assert settings.backends == {
        "primary": "tgi+http://h:80?names=core,core+physics-0123456789ab",
        "spare": "litellm:openai/gpt-x",
    }


@pytest.mark.parametrize("text", ["primary", "=tgi+http://h", "primary=", ""])
def test_a_backend_without_name_or_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.UsageError, match="NAME=ADDRESS"):
        read_settings(**PLAIN | {"backend": [text]})


def test_a_backend_that_is_given_twice_is_a_usage_error() -> None:
    with pytest.raises(click.UsageError, match="twice"):
        read_settings(**PLAIN | {"backend": ["a=litellm:x/y", "a=litellm:x/z"]})


def test_every_option_has_the_variable_that_is_named_like_it() -> None:
    done = CliRunner().invoke(command, ["serve"], env={"AGOGE_SERVE_BACKEND": "a=litellm:x/y nonsense"})
    assert done.exit_code == 2
    assert "--backend 'nonsense'" in done.stderr


def test_without_options_the_shipped_policy_and_exemplars_are_used() -> None:
    settings = read_settings(**PLAIN)
    assert settings.policy.is_file()
    assert settings.exemplars.is_dir()


def test_built_blends_are_in_force_only_where_they_are_named() -> None:
    assert read_settings(**PLAIN).blends is None
    assert read_settings(**PLAIN | {"blends": Path("built")}).blends == Path("built")
