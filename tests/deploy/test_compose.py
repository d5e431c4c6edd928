"""compose.yaml: valid, without default secrets, and with every setting that TGI needs to tell adapters apart.

No container engine runs these tests: they hold the file against the specification and against what our own command
line accepts, not against Docker.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from compose_spec import parse_duration

from router.backends.tgi import TgiBackend
from router.cli.serve import command as serve
from router.core.reachable import reachable
from router.policy_file import load_policies
from router.wiring.addresses import addresses
from router.wiring.backends import open_drivers
from router.wiring.settings import Settings
from tests.deploy.compose_file import ROOT, SECRETS, TEXT, Missing, interpolate, load, services, validate

SERVICES = services()


def test_it_is_a_valid_compose_file() -> None:
    validate(interpolate(TEXT, SECRETS))


@pytest.mark.parametrize(
    ("ours", "broken"),
    [
        ("healthcheck:", "healthchek:"),
        ("condition: service_healthy", "condition: service_well"),
        ("interval: 10s", "interval: 10x"),
        ("profiles: [gpu]", "profiles: {gpu: 1}"),
        ("- tgi-data:/data", "- tgi-daat:/data"),
        ("redis: { condition", "reddis: { condition"),
    ],
)
def test_the_check_can_fail(ours: str, broken: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        validate(interpolate(TEXT, SECRETS).replace(ours, broken, 1))


@pytest.mark.parametrize("secret", sorted(SECRETS))
def test_a_secret_has_no_default(secret: str) -> None:
    without = {name: value for name, value in SECRETS.items() if name != secret}
    with pytest.raises(Missing, match=f"{secret}: set it in .env"):
        interpolate(TEXT, without)


def test_no_secret_is_written_anywhere() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"KEY|SECRET|TOKEN|PASSWORD", name):
                assert value in ("", *SECRETS.values()), name  # came from the environment


def test_every_service_is_in_a_profile_and_the_gpu_only_in_its_own() -> None:
    assert {name: service["profiles"] for name, service in SERVICES.items()} == {
        "router": ["gpu"],
        "router-embedded": ["cpu"],
        "redis": ["gpu", "cpu"],
        "tgi": ["gpu"],
    }
    reserved = {
        name: service["deploy"]["resources"]["reservations"]["devices"]
        for name, service in SERVICES.items()
        if "deploy" in service
    }
    assert reserved == {"tgi": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]}


@pytest.mark.parametrize("profile", ["gpu", "cpu"])
def test_a_profile_holds_everything_it_depends_on(profile: str) -> None:
    inside = {name for name, service in SERVICES.items() if profile in service["profiles"]}
    for name in inside:
        for other, how in SERVICES[name].get("depends_on", {}).items():
            assert other in inside
            assert how == {"condition": "service_healthy"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_a_health_check_that_gives_up(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert check["retries"] >= 1
    for wait in ("interval", "timeout", "start_period"):
        if wait in check:
            parse_duration(check[wait])


def test_tgi_is_launched_so_that_adapters_act_and_stay_apart() -> None:
    tgi = SERVICES["tgi"]
    assert "--cuda-graphs 0" in " ".join(tgi["command"])
    assert any(argument.startswith("--max-concurrent-requests=") for argument in tgi["command"])
    assert "--lora-adapters" not in " ".join(tgi["command"])  # the one source is adapters.env
    assert tgi["environment"]["PREFIX_CACHING"] == "0"
    assert tgi["environment"]["API_KEY"] == SECRETS["TGI_API_KEY"]
    assert tgi["env_file"] == SERVICES["router"]["env_file"] == ["deploy/tgi/adapters.env"]
    assert tgi["image"].endswith(":3.3.7")  # the version whose sources docs/backends.md was read from


def test_router_and_tgi_read_the_blends_from_one_folder_under_one_path() -> None:
    """`publish --root /adapters` writes TGI's paths; the router finds blends.json there, and writes nothing."""
    mount = "./deploy/tgi/adapters:/adapters:ro"
    assert mount in SERVICES["tgi"]["volumes"]
    assert SERVICES["router"]["volumes"] == ["./policies:/policies:ro", "data:/app/.agoge", mount]
    assert "--blends=/adapters" in SERVICES["router"]["command"]
    assert SERVICES["router-embedded"]["volumes"] == ["./policies:/policies:ro", "data:/app/.agoge"]


def test_only_the_router_is_reachable_and_only_from_this_machine() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"router", "router-embedded"}
    for name in ("router", "router-embedded"):
        assert SERVICES[name]["ports"] == ["127.0.0.1:8080:8080"]


@pytest.mark.parametrize("name", ["router", "router-embedded", "redis"])
def test_what_answers_strangers_can_write_to_its_data_alone_and_become_nobody_else(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not service.get("cap_add")
    assert not service.get("privileged")
    writable = [mount.split(":")[1] for mount in service["volumes"] if not mount.endswith(":ro")]
    assert writable == ["/data" if name == "redis" else "/app/.agoge"]


def test_nobody_gains_privileges() -> None:
    for service in SERVICES.values():
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_redis_has_no_password_and_is_reached_by_the_router_alone() -> None:
    networks = load(interpolate(TEXT, SECRETS))["networks"]
    assert networks["store"]["internal"] is True
    assert SERVICES["redis"]["networks"] == ["store"]
    inside = {name for name, service in SERVICES.items() if "store" in service.get("networks", ())}
    assert inside == {"redis", "router", "router-embedded"}


def settings_of(name: str) -> Settings:
    """Return the settings that the service's command line makes, with its paths mapped to this tree."""
    service = SERVICES[name]
    assert service["command"][0] == "serve"
    with serve.make_context("serve", list(service["command"][1:])) as context:
        given: dict[str, Any] = context.params
    assert given["host"] == "0.0.0.0"  # noqa: S104 - inside the container's own network
    assert given["port"] == 8080
    pairs = dict(text.split("=", 1) for text in given["backend"])
    policy = given["policy"] or Path("/policies/default.yaml")
    assert given["blends"] == (Path("/adapters") if name == "router" else None)
    mounted = ROOT / "policies" / policy.relative_to("/policies")
    return Settings(policy=mounted, cache=given["cache"], backends=pairs, environment=service["environment"])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("router", {"primary": "tgi+http://tgi:80?api_key_env=TGI_API_KEY"}),
        ("router-embedded", {"embedded:": "embedded:"}),
    ],
)
def test_our_own_command_line_takes_the_command(name: str, found: dict[str, str]) -> None:
    settings = settings_of(name)
    named = {backend for policy in load_policies(settings.policy).profiles.values() for backend in policy.backends}
    assert {backend: settings.backends.get(backend, backend) for backend in named} == found
    assert settings.secret() == SECRETS["AGOGE_CACHE_SECRET"].encode()
    assert settings.cache == "redis://redis:6379/0"


async def test_the_router_opens_tgi_with_the_inventory_of_adapters_env() -> None:
    settings = settings_of("router")
    line = (ROOT / "deploy" / "tgi" / "adapters.env").read_text(encoding="utf-8").strip()
    environment = {**settings.environment, **dict([line.split("=", 1)])}
    settings = replace(settings, environment=environment)
    policies = load_policies(settings.policy)
    (backend,) = (await open_drivers(addresses(policies, settings)["primary"], policies, settings)).values()
    assert isinstance(backend, TgiBackend)
    for blend in reachable(policies.profiles["default", None]):
        assert backend._inventory.serves(blend)
    assert backend._engine._headers == {"Authorization": f"Bearer {SECRETS['TGI_API_KEY']}"}
    await backend.aclose()


def test_the_command_line_would_refuse_a_wrong_option() -> None:
    with pytest.raises(click.UsageError):
        serve.make_context("serve", ["--no-such-option"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_file_and_folder_it_names_is_there(name: str) -> None:
    service = SERVICES[name]
    for path in service.get("env_file", []):
        assert (ROOT / path).is_file()
    for mount in service.get("volumes", []):
        source = mount.split(":")[0]
        made_by_the_user = source == "./deploy/tgi/adapters"  # the blends' weights
        assert made_by_the_user or not source.startswith(".") or (ROOT / source).is_dir()
    if "build" in service:
        assert (ROOT / service["build"]["dockerfile"]).is_file()
