"""`agoge chat` against a real server, typed at through a pipe: what it keeps, shows, stops and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.core.errors import BackendBroken
from router.core.reply import Delta, Finish
from tests.cli.talking import ended, run, start
from tests.conftest import ROOT
from tests.stage import Stage, staged
from tests.stubs import POLICY, SpeakingBackend, until

ONE = POLICY.replace("[first, second]", "[first]")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as live:
        yield live


def asked(engine: SpeakingBackend, index: int = -1) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in engine.prompts[index].messages]


async def test_the_conversation_is_kept_and_each_answer_says_who_spoke(stage: Stage) -> None:
    done = await run("chat", "--url", stage.url, typed="why is the sky blue\n\nа подробнее?\n/quit\nnot read\n")
    first, second = "core=1.0,physics=0.8 says why is the sky blue", "core=1.0,physics=0.8 says а подробнее?"
    assert (done.code, done.err) == (0, "")
    assert (
        done.out
        == f"{first}\n[core x 1.0, physics x 0.8 (physics)]\n{second}\n[core x 1.0, physics x 0.8 (physics)]\n"
    )
    assert asked(stage.backends["first"]) == [
        ("user", "why is the sky blue"),
        ("assistant", first),
        ("user", "а подробнее?"),
    ]
    assert len(stage.backends["first"].prompts) == 2


async def test_the_end_of_the_input_is_the_end(stage: Stage) -> None:
    done = await run("chat", "--url", stage.url, typed="hello")
    assert (done.code, done.out) == (0, "core=1.0 says hello\n[core x 1.0 (general)]\n")
    assert (await run("chat", "--url", stage.url)).code == 0


async def test_new_forgets_the_conversation_and_the_mode_stays(stage: Stage) -> None:
    done = await run(
        "chat", "--url", stage.url, typed="/mode sport+core\nthe sky\n/new\nthe sea\n/mode auto\nthe sky\n"
    )
    assert done.code == 0, done.err
    assert done.err == "mode sport+core\na new conversation\nmode auto\n"
    engine = stage.backends["first"]
    assert [str(prompt.blend) for prompt in engine.prompts] == [
        "core=1.0,sport=0.8",
        "core=1.0,sport=0.8",
        "core=1.0,physics=0.8",
    ]
    assert asked(engine, 1) == [("user", "the sea")]


async def test_the_mode_may_be_given_at_the_start_and_is_listed(stage: Stage) -> None:
    done = await run("chat", "--url", stage.url, "--mode", "academic", typed="/mode\nthe sky\n")
    assert done.err.startswith("mode academic; there are auto, ")
    assert "physics" in done.err
    assert "[academic x 1.0 (physics)]" in done.out


async def test_a_mode_that_nobody_has_is_refused_at_once_and_changes_nothing(stage: Stage) -> None:
    done = await run("chat", "--url", stage.url, typed="/mode alchemy\nthe sky\n/mode физика\nthe sea\n")
    assert done.code == 0
    assert "alchemy" in done.err.splitlines()[0]
    assert done.err.startswith("agoge: ")
    assert [str(prompt.blend) for prompt in stage.backends["first"].prompts] == ["core=1.0,physics=0.8"] * 2


async def test_why_explains_the_last_answer(stage: Stage) -> None:
    done = await run("chat", "--url", stage.url, typed="/why\nwhy is the sky blue\n/why\n")
    assert done.err == "agoge: nothing was answered yet\n"
    assert "rule      rule 3: best by score among the open gates: physics" in done.out


async def test_an_unknown_command_is_told_and_not_sent(stage: Stage) -> None:
    done = await run("chat", "--url", stage.url, typed="/quite\n/help\n/etc/hosts is a file about the sky\n")
    assert "there is no /quite; there are /mode NAME, /why, /new, /quit and /help" in done.err
    assert "who speaks from now on" in done.err
    assert asked(stage.backends["first"]) == [("user", "/etc/hosts is a file about the sky")]


async def test_a_refused_message_is_told_and_leaves_no_trace(stage: Stage) -> None:
    done = await run("chat", "--url", stage.url, typed="режим: алхимия\nhello\n")
    assert done.code == 0
    assert "алхимия" in done.err
    assert asked(stage.backends["first"]) == [("user", "hello")]


async def test_an_answer_that_breaks_off_stays_as_far_as_it_came(tmp_path: Path) -> None:
    engine = SpeakingBackend(fails=BackendBroken("the GPU fell off"), fails_after=2)
    async with staged(tmp_path, backends={"first": engine}, policy=ONE) as stage:
        done = await run("chat", "--url", stage.url, typed="sky\nand?\n")
    assert done.err.count("the GPU fell off") == 2
    assert asked(engine) == [("user", "sky"), ("assistant", "core=1.0,physics=0.8 says "), ("user", "and?")]


async def test_a_switch_is_confirmed_by_agoge_itself(stage: Stage) -> None:
    done = await run("chat", "--url", stage.url, typed="режим: физика\n")
    assert "[Agoge itself]" in done.out
    assert stage.backends["first"].prompts == []


async def test_ctrl_c_stops_one_answer_and_at_the_prompt_leaves(tmp_path: Path) -> None:
    engine = SpeakingBackend(hangs_after=2)
    async with staged(tmp_path, backends={"first": engine}, policy=ONE) as stage:
        process = await start("chat", "--url", stage.url)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"the sky\n")
        said = b"core=1.0,physics=0.8 says "
        assert await asyncio.wait_for(process.stdout.readexactly(len(said)), 60) == said
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.stderr.readline(), 60) == b"(stopped)\n"
        await until(lambda: engine.open_streams == 0)
        assert process.returncode is None
        engine.hangs_after = None
        process.stdin.write(b"the sea\n")
        out = await asyncio.wait_for(process.stdout.readuntil(b")]\n"), 60)
        assert out == b"\ncore=1.0,physics=0.8 says the sea\n[core x 1.0, physics x 0.8 (physics)]\n"
        assert asked(engine) == [("user", "the sky"), ("assistant", said.decode()), ("user", "the sea")]
        await asyncio.sleep(0.5)  # it waits for the next line
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 60) == 130
        done = await ended(process)
        assert "interrupted" in done.err


async def test_a_stopped_answer_without_a_word_leaves_no_trace(tmp_path: Path) -> None:
    engine = SpeakingBackend(hangs_after=0)
    async with staged(tmp_path, backends={"first": engine}, policy=ONE) as stage:
        process = await start("chat", "--url", stage.url)
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"the sky\n")
        await until(lambda: engine.open_streams == 1, 60)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.stderr.readline(), 60) == b"(stopped)\n"
        engine.hangs_after = None
        assert (await ended(process, "the sea\n")).code == 0
        assert asked(engine) == [("user", "the sea")]


async def test_on_a_terminal_there_is_a_prompt_and_ctrl_c_is_a_key(tmp_path: Path) -> None:
    engine = SpeakingBackend(hangs_after=1)
    async with staged(tmp_path, backends={"first": engine}, policy=ONE) as stage:
        main, other = pty.openpty()
        command = (sys.executable, "-m", "router.cli", "chat", "--url", stage.url)
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=other, stdout=other, stderr=other, start_new_session=True,
            preexec_fn=lambda: _own_terminal(),
        )  # fmt: skip
        os.close(other)
        seen = bytearray()
        os.set_blocking(main, False)

        def shows(text: bytes) -> bool:
            with contextlib.suppress(OSError):  # nothing there yet
                seen.extend(os.read(main, 65536))
            return text in seen

        await until(lambda: shows(b"> "), 60)
        os.write(main, b"the sky\n")
        await until(lambda: shows(b"core=1.0,physics=0.8"), 60)
        seen.clear()
        os.write(main, b"\x03")
        await until(lambda: shows(b"(stopped)") and shows(b"> "), 60)
        os.write(main, b"\x03")
        assert await asyncio.wait_for(process.wait(), 60) == 130
        os.close(main)


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


async def test_nothing_of_an_answer_steers_the_terminal(tmp_path: Path) -> None:
    engine = SpeakingBackend(events=[Delta("a\x1b[2Jb"), Finish("stop")])
    async with staged(tmp_path, backends={"first": engine}, policy=ONE) as stage:
        done = await run("chat", "--url", stage.url, typed="sky\n")
    assert done.out.startswith("a[2Jb\n")
