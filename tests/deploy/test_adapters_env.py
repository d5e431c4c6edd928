"""deploy/tgi/adapters.env says exactly what policies/tgi.yaml can reach, in the words of TGI."""

from __future__ import annotations

import re

from click.testing import CliRunner

from router.backends.tgi import TgiBackend, parse_lora_adapters
from router.cli.policy import command as policy_command
from router.core.reachable import reachable
from router.policy_file import load_policies
from tests.deploy.compose_file import ROOT, services

POLICY = ROOT / "policies" / "tgi.yaml"
FILE = ROOT / "deploy" / "tgi" / "adapters.env"
AGAIN = "run: agoge policy blends policies/tgi.yaml --lora-adapters > deploy/tgi/adapters.env"


def value() -> str:
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert len(lines) == 1
    assert lines[0].startswith("LORA_ADAPTERS=")
    return lines[0].removeprefix("LORA_ADAPTERS=")


def test_it_is_in_step_with_what_the_policy_reaches() -> None:
    policies = load_policies(POLICY)
    wanted = {blend.id for policy in policies.profiles.values() for blend in reachable(policy)}
    assert set(parse_lora_adapters(value())) == wanted, AGAIN


def test_it_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(policy_command, ["blends", str(POLICY), "--lora-adapters"])
    assert printed.exit_code == 0
    assert printed.output == FILE.read_text(encoding="utf-8"), AGAIN


def test_every_name_survives_the_grammars_it_passes_through() -> None:
    """TGI splits on `,` `=` `@`, SGLang on `:`; an env_file would expand `$` and cut at ` #`."""
    for name in parse_lora_adapters(value()):
        assert not re.search(r"[,=@:$#\s'\"]", name)
    assert not re.search(r"[$#\s'\"]", value())


def test_every_folder_lies_in_the_mounted_one_and_is_called_like_its_blend() -> None:
    assert "./deploy/tgi/adapters:/adapters:ro" in services()["tgi"]["volumes"]
    for item in value().split(","):
        name, path = item.split("=")
        assert path == f"/adapters/{name}"


def test_a_backend_with_this_inventory_serves_everything_the_policy_reaches() -> None:
    backend = TgiBackend("primary", "http://tgi:80", parse_lora_adapters(value()))
    for policy in load_policies(POLICY).profiles.values():
        for blend in reachable(policy):
            assert backend._inventory.served_name(blend) == blend.id


def test_the_engine_is_launched_on_the_base_the_policy_names() -> None:
    bases = {policy.base for policy in load_policies(POLICY).profiles.values()}
    command = services()["tgi"]["command"]
    assert {argument.removeprefix("--model-id=") for argument in command if "--model-id" in argument} == bases
