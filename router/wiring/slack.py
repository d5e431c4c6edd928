"""Settings -> the Slack channel, when its secrets are in the environment. Opens no connection by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi import FastAPI

from router.caches import open_claims
from router.core.errors import Refused
from router.keys_file import load_keys
from router.service import Router
from router.wiring.settings import Settings, SettingsInvalid

if TYPE_CHECKING:
    from router.channels.slack.app import SlackChannel

TOKEN, SECRET, APP = "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN"
KEY, URL = "AGOGE_SLACK_KEY", "SLACK_API_URL"


def speaks_http(settings: Settings) -> bool:
    """Say whether Slack's events shall be served over HTTP. Raises SettingsInvalid where half of it is set."""
    given = {name: settings.given(name) for name in (TOKEN, SECRET, APP)}
    if given[SECRET] and not given[TOKEN]:
        raise SettingsInvalid(f"{SECRET} is set, but {TOKEN} is not; Slack needs both over HTTP (docs/slack.md)")
    if given[TOKEN] and not given[SECRET] and not given[APP]:
        raise SettingsInvalid(
            f"{TOKEN} is set, but neither {SECRET} (for HTTP) nor {APP} (for `agoge slack`) is; see docs/slack.md"
        )
    return bool(given[SECRET])


def open_slack(settings: Settings, router: Router) -> SlackChannel:
    """Return the channel; called inside a running event loop. Without a store of outcomes no thumbs are shown.

    Raises SettingsInvalid when a setting is missing or wrong.
    """
    given = settings.environment
    token = settings.given(TOKEN)
    if not token:
        raise SettingsInvalid(f"{TOKEN} is not set; it begins with xoxb- and stands under OAuth & Permissions")
    if given.get("SLACK_CLIENT_ID") and given.get("SLACK_CLIENT_SECRET"):  # Bolt would look for many workspaces
        raise SettingsInvalid(
            "unset SLACK_CLIENT_ID and SLACK_CLIENT_SECRET: they are for apps of many workspaces"
        )
    try:
        from router.channels.slack.app import WEB_API, Credentials, SlackChannel
    except ImportError as error:
        raise SettingsInvalid(
            f"{TOKEN} is set, but {error.name} is missing; install agoge-router[slack]"
        ) from None
    caller = _caller(settings, router)
    signing, app = settings.given(SECRET) or "", settings.given(APP) or ""
    credentials = Credentials(token, signing, app, given.get(URL) or WEB_API)
    return SlackChannel(router, credentials, caller, claims=open_claims(settings.cache, "slack"))


def mount_slack(app: FastAPI, settings: Settings, router: Router) -> SlackChannel:
    """Serve Slack's events under /slack of `app`, and return the channel, which wants to be closed."""
    channel = open_slack(settings, router)
    from router.channels.slack.routes import slack_routes

    app.include_router(slack_routes(channel))
    return channel


def _caller(settings: Settings, router: Router) -> Callable[[], tuple[str, str | None]]:
    """Return who Slack's people are: the owner of AGOGE_SLACK_KEY under a keys file, else the default."""
    if settings.keys is None:
        return lambda: ("default", None)
    try:
        caller = load_keys(settings.keys, router.state.policies).identify(settings.given(KEY))
    except Refused as error:
        raise SettingsInvalid(
            f"a keys file is in force, so {KEY} must hold one of its keys: Slack's people are its tenant and role "
            f"({error.message})"
        ) from None
    return lambda: caller
