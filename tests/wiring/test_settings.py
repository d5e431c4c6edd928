"""Where the files that ship with Agoge are looked for. What a setting means is tested with what it sets."""

from __future__ import annotations

import site
import sysconfig
from pathlib import Path

import pytest

from router.wiring.settings import shipped


def test_the_working_directory_comes_first_then_the_source_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped("policies", "default.yaml") == Path(__file__).parents[2] / "policies" / "default.yaml"
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "default.yaml").touch()
    assert shipped("policies", "default.yaml").resolve() == tmp_path / "policies" / "default.yaml"


@pytest.mark.parametrize("user", [False, True])
def test_an_installed_wheel_keeps_them_in_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: bool
) -> None:
    """pip's own two places for a wheel's data: the environment's, and the user's base."""
    bases = {False: tmp_path / "environment", True: tmp_path / "user"}
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(bases[False]) if name == "data" else "")
    monkeypatch.setattr(site, "getuserbase", lambda: str(bases[True]))
    file = bases[user] / "share" / "agoge" / "policies" / "nowhere-else.yaml"
    file.parent.mkdir(parents=True)
    file.touch()
    assert shipped("policies", "nowhere-else.yaml") == file


def test_what_is_nowhere_is_named_as_it_was_asked_for() -> None:
    assert shipped("policies", "nowhere.yaml") == Path("policies/nowhere.yaml")
