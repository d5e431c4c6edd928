"""`agoge decide TEXT`: the decision that the server would take, from the same functions; no engine is opened."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import click

from router.caches import open_cache
from router.channels.decisions import decide_and_explain
from router.cli.decide_text import lines, lines_explained
from router.cli.options import fail, read_settings, serving_options
from router.core.conversation import Conversation, Message
from router.core.errors import AgogeError
from router.lemmas import RussianLemmatizer
from router.service import Ask, Router
from router.wiring.app import open_scorer
from router.wiring.reload import load_rules
from router.wiring.settings import Settings


@click.command(help="Decide for one prompt and print the decision. No engine is opened, nothing is generated.")
@serving_options
@click.argument("text")
@click.option("--model", help="As in OpenAI's model field: auto, physics, physics+core, academic ...")
@click.option("--tenant", default="default", show_default=True, help="Decide as for this tenant of the policy.")
@click.option("--role", help="... in this role.")
@click.option("--explain", "explained", is_flag=True, help="Print rule, margins and nearest exemplars too.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole object of POST /v1/decisions.")
def command(
    text: str, model: str | None, tenant: str, role: str | None, explained: bool, as_json: bool, **options: Any
) -> None:
    """Decide."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.UsageError("TEXT is not UTF-8") from None
    ask = Ask(Conversation((Message("user", text),)), model, {}, tenant, role)
    try:
        told = asyncio.run(_decide(replace(read_settings(**options), cache="none:"), ask))
    except (AgogeError, OSError) as error:
        fail(error)
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    for line in (*lines(told), *(lines_explained(told) if explained else ())):
        click.echo(line)


async def _decide(settings: Settings, ask: Ask) -> dict[str, Any]:
    scorer = await open_scorer(settings)
    try:
        state = await load_rules(settings, scorer, RussianLemmatizer())
        router = Router(state, scorer, open_cache(settings.cache), settings.secret())
        told, _ = await decide_and_explain(router, ask)
        return told
    finally:
        scorer.close()
