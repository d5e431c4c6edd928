"""Secrets: from the environment or a file it names, never twice, never on the command line, never shown."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from redis.asyncio import ConnectionPool

from router.cli.main import command
from router.cli.options import read_settings
from router.wiring.addresses import Address
from router.wiring.backends import open_drivers
from router.wiring.secret import SecretInvalid, holds_password, secret, with_redis_password
from router.wiring.settings import Settings
from router.wiring.slack import speaks_http
from tests.cli.test_options import PLAIN

LONG = "hunter2-hunter2-hunter2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A secret as Docker mounts it."""
    written = tmp_path / "secret"
    written.write_text(f"{LONG}\n", "utf-8")
    return written


@pytest.mark.parametrize("text", [LONG, f"{LONG}\n", f"{LONG}\r\n"])
def test_a_file_holds_the_secret_on_one_line(file: Path, text: str) -> None:
    file.write_bytes(text.encode())
    assert secret({"X_FILE": str(file)}, "X") == LONG


def test_without_a_file_the_variable_counts_and_an_empty_one_is_none() -> None:
    assert secret({"X": LONG}, "X") == LONG
    assert secret({"X": LONG, "X_FILE": ""}, "X") == LONG  # as Compose passes what is not set
    assert secret({"X": ""}, "X") is None
    assert secret({}, "X") is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "must hold the secret alone, on one line"),
        (b"\n", "must hold the secret alone, on one line"),
        (b"hunter2\nhunter3\n", "must hold the secret alone, on one line"),
        (b"hunter2\xff", "it is not UTF-8 text"),
    ],
)
def test_a_file_that_holds_no_secret_is_named_and_not_quoted(file: Path, content: bytes, says: str) -> None:
    file.write_bytes(content)
    with pytest.raises(SecretInvalid) as caught:
        secret({"X_FILE": str(file)}, "X")
    assert str(caught.value).startswith(f"X_FILE: {file} ")
    assert says in str(caught.value)
    assert "hunter" not in str(caught.value)
    assert "hunter" not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_not_there_says_why(tmp_path: Path) -> None:
    with pytest.raises(SecretInvalid, match=r"nowhere cannot be read \(No such file or directory\)"):
        secret({"X_FILE": str(tmp_path / "nowhere")}, "X")


def test_a_secret_that_is_given_twice_is_refused(file: Path) -> None:
    with pytest.raises(SecretInvalid, match="X and X_FILE are both set; keep one of them"):
        secret({"X": "other", "X_FILE": str(file)}, "X")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1))
@example("p@ss:w/rd?#%&+ é")
def test_redis_reads_the_password_that_was_given(password: str) -> None:
    for address, user in [
        ("redis://h:7/3?ttl=60", None),
        ("rediss://reader@h:7/3", "reader"),
        ("unix:///run/redis.sock?db=2", None),
    ]:
        url = with_redis_password(address, {"AGOGE_REDIS_PASSWORD": password})
        assert holds_password(url)
        asked = ConnectionPool.from_url(url.partition("?ttl")[0]).connection_kwargs
        assert (asked.get("password"), asked.get("username")) == (password, user)
        assert (asked.get("path"), asked.get("host")) in [("/run/redis.sock", None), (None, "h")]


@pytest.mark.parametrize("address", ["memory:", "none:", "memory:?ttl=5", "outcomes.jsonl", "http://h"])
def test_only_a_redis_has_that_password(address: str) -> None:
    assert with_redis_password(address, {"AGOGE_REDIS_PASSWORD": LONG}) == address


def test_two_passwords_are_refused() -> None:
    with pytest.raises(SecretInvalid, match="keep the variable") as caught:
        with_redis_password("redis://:hunter3@h", {"AGOGE_REDIS_PASSWORD": LONG})
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["serve", "--cache", "redis://:hunter2@h:6379/0"],
        ["serve", "--outcomes", "rediss://me:hunter2@h:6379/0"],
        ["slack", "--cache=redis://:hun/ter2@h"],
        ["outcomes", "show", "--from", "redis://:hunter2@h"],
    ],
)
def test_a_password_on_the_command_line_is_refused_and_not_repeated(words: list[str]) -> None:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 2
    assert "AGOGE_REDIS_PASSWORD_FILE" in done.stderr
    assert "hun" not in done.output


def test_in_the_environment_the_address_may_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(command, ["serve"], env={"AGOGE_SERVE_CACHE": "redis://:hunter2@h:port/0"})
    assert done.exit_code == 1  # not for the password: the port is no number
    assert "cannot be read" in done.stderr
    assert "hunter2" not in done.output


def test_the_password_reaches_cache_and_outcomes(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv("AGOGE_REDIS_PASSWORD_FILE", str(file))
    settings = read_settings(**PLAIN | {"cache": "redis://h:6379/0", "outcomes": "redis://o:6379/0"})
    assert settings.cache == f"redis://:{LONG}@h:6379/0"
    assert settings.outcomes == f"redis://:{LONG}@o:6379/0"


def test_settings_show_no_secret_when_they_are_printed() -> None:
    environment = {"AGOGE_CACHE_SECRET": LONG, "SLACK_BOT_TOKEN": LONG}
    settings = Settings(cache=f"redis://:{LONG}@h", outcomes=f"redis://:{LONG}@o", environment=environment)
    assert "hunter2" not in repr(settings)
    assert "encoder='use'" in repr(settings)


def test_the_secret_of_the_cache_and_those_of_slack_may_lie_in_files(file: Path) -> None:
    environment = {
        f"{name}_FILE": str(file) for name in ("AGOGE_CACHE_SECRET", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET")
    }
    settings = Settings(cache="redis://h", environment=environment)
    assert settings.secret() == LONG.encode()
    assert speaks_http(settings)
    assert not speaks_http(Settings(environment={}))


@pytest.mark.parametrize("form", ["tgi+http://h:1?names=core&api_key_env=KEY", "vllm+http://h:1?api_key_env=KEY"])
async def test_an_engines_key_may_lie_in_a_file(file: Path, form: str) -> None:
    settings: Any = Settings(environment={"KEY_FILE": str(file)})
    (driver,) = (await open_drivers(Address("primary", form), {}, settings)).values()  # type: ignore[arg-type]
    assert driver._engine._headers == {"Authorization": f"Bearer {LONG}"}
    assert "hunter2" not in repr(driver)
    await driver.aclose()


@pytest.mark.parametrize("verb", [["ask", "hello"], ["chat"]])
def test_a_client_says_which_file_it_cannot_read(verb: list[str]) -> None:
    done = CliRunner().invoke(command, verb, env={"AGOGE_API_KEY_FILE": "/no/such/key"})
    assert done.exit_code == 2
    assert "AGOGE_API_KEY_FILE: /no/such/key cannot be read" in done.stderr
