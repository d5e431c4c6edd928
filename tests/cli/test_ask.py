"""`agoge ask` against a real server: the answer as it comes, who and why, refusals, Ctrl-C, exit codes."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from bench.ports import free_port
from router.cli.speech import Speech
from router.core.errors import BackendBroken
from router.core.reply import Delta, Finish
from tests.cli.talking import ended, run, start
from tests.stage import Stage, staged
from tests.stubs import SpeakingBackend, until

KEYS = "keys:\n  sk-right: { tenant: default }\n"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


async def test_the_answer_alone_is_printed(stage: Stage) -> None:
    done = await run("ask", "why is the sky blue", "--url", stage.url)
    assert (done.code, done.out, done.err) == (0, "core=1.0,physics=0.8 says why is the sky blue\n", "")


async def test_the_mode_the_length_and_a_prompt_on_standard_input_reach_the_server(stage: Stage) -> None:
    done = await run(
        *("ask", "-", "--mode", "academic", "--max-tokens", "7", "--url", f"{stage.url}/v1/"),
        typed="небо\nи море\n",
    )
    assert (done.code, done.out) == (0, "academic=1.0 says небо\nи море\n")
    assert stage.backends["first"].prompts[0].parameters["max_tokens"] == 7


async def test_why_explains_after_the_answer(stage: Stage) -> None:
    done = await run("ask", "why is the sky blue", "--why", "--url", stage.url)
    answer, _, why = done.out.partition("\n\n")
    assert done.code == 0, done.err
    assert answer == "core=1.0,physics=0.8 says why is the sky blue"
    assert "adapters  core x 1.0, physics x 0.8" in why
    assert "rule      rule 3: best by score among the open gates: physics" in why
    assert "why is the sky blue" in why.split("nearest")[1]
    again = await run("ask", "why is the sky blue", "--why", "--url", stage.url)  # out of the cache: no exemplars
    assert again.code == 0, again.err
    assert "rule      rule 3" in again.out


async def test_json_is_the_server_s_object_and_why_joins_it(stage: Stage) -> None:
    done = await run("ask", "why is the sky blue", "--json", "--why", "--url", stage.url)
    told = json.loads(done.out)
    assert told["choices"][0]["message"]["content"] == "core=1.0,physics=0.8 says why is the sky blue"
    assert told["agoge"]["adapters"] == {"core": 1.0, "physics": 0.8}
    assert told["explanation"]["explanation"]["rule"] == "best_scores"
    assert told["explanation"]["decision_id"] == told["agoge"]["decision_id"]
    refused = await run("ask", "hello", "--mode", "nobody", "--json", "--url", stage.url)
    assert refused.code == 1
    assert json.loads(refused.out)["error"]["code"] == "model_not_found"


async def test_a_refusal_is_one_line_and_code_1(stage: Stage) -> None:
    done = await run("ask", "режим: алхимия", "--url", stage.url)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("agoge: ")
    assert "алхимия" in done.err
    assert done.err.count("\n") == 1


async def test_an_answer_that_breaks_off_is_code_1_and_shows_what_came(tmp_path: Path) -> None:
    engine = SpeakingBackend(fails=BackendBroken("the GPU fell off"), fails_after=2)
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        done = await run("ask", "sky", "--url", stage.url)
    assert (done.code, done.out) == (1, "core=1.0,physics=0.8 says \n")
    assert "the GPU fell off" in done.err


async def test_ctrl_c_ends_it_with_130_and_frees_the_engine(tmp_path: Path) -> None:
    engine = SpeakingBackend(hangs_after=1)
    async with staged(tmp_path, backends={"first": engine}, policy=_one_backend()) as stage:
        process = await start("ask", "sky", "--url", stage.url)
        await until(lambda: engine.open_streams == 1, 60)
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.read(4), 60) == b"core"
        process.send_signal(signal.SIGINT)
        done = await ended(process)
        assert done.code == 130
        assert "interrupted" in done.err
        await until(lambda: engine.open_streams == 0)


async def test_a_key_comes_from_the_environment_alone(tmp_path: Path) -> None:
    async with staged(tmp_path, keys=KEYS) as stage:
        without = await run("ask", "sky", "--url", stage.url)
        assert without.code == 1
        assert "set AGOGE_API_KEY" in without.err
        wrong = await run("ask", "sky", "--url", stage.url, AGOGE_API_KEY="sk-wrong")
        assert wrong.code == 1
        assert "sk-wrong" not in wrong.err + wrong.out
        assert (await run("ask", "sky", "--url", stage.url, AGOGE_API_KEY="sk-right")).code == 0
        assert (await run("ask", "sky", AGOGE_API_KEY="sk-right", AGOGE_ASK_URL=stage.url)).code == 0


async def test_nobody_there_and_somebody_else_are_told(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    nobody = await run("ask", "sky", "--url", url)
    assert nobody.code == 1
    assert f"nobody answers at {url}" in nobody.err
    assert "agoge serve" in nobody.err

    async def page(request: web.Request) -> web.Response:
        if "moved" in str(request.url):
            return web.Response(status=302, headers={"location": url})
        return web.Response(text="data: hello\n\n" if "odd" in str(request.url) else "<html>", status=200)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    other = f"http://127.0.0.1:{runner.addresses[0][1]}"
    for place, extra, says in (
        (other, (), "broke the answer off"),
        (f"{other}/odd", (), "does not speak as Agoge does"),
        (other, ("--json",), "does not speak as Agoge does"),
        (f"{other}/moved", (), "answers with status 302 and not as Agoge does"),
    ):
        done = await run("ask", "sky", "--url", place, *extra)
        assert done.code == 1
        assert says in done.err
    await runner.cleanup()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("sky", "--url", "localhost:8080"), "is no address; it looks like http://127.0.0.1:8080"),
        (("  ",), "TEXT is empty"),
        (("sky", "--max-tokens", "0"), "--max-tokens"),
        ((), "Missing argument 'TEXT'"),
    ],
)
async def test_wrong_usage_is_code_2(arguments: tuple[str, ...], says: str) -> None:
    done = await run("ask", *arguments)
    assert done.code == 2
    assert says in done.err


async def test_what_would_steer_the_terminal_is_not_printed(tmp_path: Path) -> None:
    said = [
        Delta("a\x1b[31mred\x1b]0;title\x07 \u009b1m\r\n\tb"),
        Delta("\ud83d"),
        Delta("\ude80"),
        Finish("stop"),
    ]
    engine = SpeakingBackend(events=said)
    async with staged(tmp_path, backends={"first": engine}, policy=_one_backend()) as stage:
        done = await run("ask", "sky", "--url", stage.url)
    assert done.out == "a[31mred]0;title 1m\n\tb🚀\n"


def test_half_a_character_waits_for_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    speech = Speech()
    for piece in ("go \ud83d", "\ude80", "", "!", "\ud83d"):
        speech.say(piece)
    assert capsys.readouterr().out == "go 🚀!"
    speech.end()
    assert capsys.readouterr().out == "\ufffd\n"
    assert speech.text == "go 🚀!\ufffd"


def _one_backend() -> str:
    from tests.stubs import POLICY

    return POLICY.replace("[first, second]", "[first]")
