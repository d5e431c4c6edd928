"""What vLLM says with a composite equals what peft says when it sums the adapters while it runs: word for word.

Both in float32, greedy, on the ten fixed prompts of each blend. A difference is shown with both texts and never
waved through; near ties (the likeliest two tokens 0.005 nats apart, at the narrowest) are decided alike because
the log probabilities agree to 1e-4.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.ten_prompts import Case, blend_of, cases, count
from blends.language import asked
from blends.manifest import read_manifest
from router.backends.vllm import VllmBackend
from router.core.reply import Probe
from tests.engines.conftest import Say
from tests.engines.vllm_server import VllmServer
from tests.live import ROOT, Agoge

CASES = cases()
NEAR = 1e-3
"""Nats. Measured: 9e-5, over every token of thirty answers."""

Answers = Mapping[str, Mapping[str, str]]


@pytest.fixture(scope="module")
def answers(router: Agoge, say: Say) -> Answers:
    """Blend -> prompt -> what vLLM answered through the router, four at a time."""

    def ask(pair: tuple[str, str]) -> str:
        name, prompt = pair
        said = router.say(name, prompt)
        assert said.status_code == 200, said.text
        weights = ",".join(f"{adapter}={weight}" for adapter, weight in sorted(CASES[name].weights.items()))
        assert said.headers["x-agoge-adapters"] == weights
        return str(said.json()["choices"][0]["message"]["content"]).strip()

    say("thirty answers of vLLM through the router (one to three minutes)")
    pairs = [(name, prompt) for name, case in CASES.items() for prompt in case.prompts]
    with ThreadPoolExecutor(4) as pool:
        said = dict(zip(pairs, pool.map(ask, pairs), strict=True))
    return {name: {prompt: said[name, prompt] for prompt in case.prompts} for name, case in CASES.items()}


@pytest.fixture(scope="module")
def summed(base: Path, say: Say) -> Any:
    """peft with the four adapters as they are, not composed: the reference."""
    from blends.runtime import Runtime

    say("peft loads the same base and sums the adapters while it runs (a minute or two)")
    runtime = Runtime.load(base)
    for name in ("core", "physics", "sport", "academic"):
        runtime.add(name, ROOT / "policies" / "adapters" / name)
    return runtime


@pytest.mark.parametrize("name", CASES)
def test_vllm_says_word_for_word_what_the_runtime_sum_says(
    answers: Answers, summed: Any, name: str, say: Say, figure: Say
) -> None:
    case = CASES[name]
    spoken = dict(zip(case.prompts, summed.answers(case.prompts, case.weights, 80), strict=True))
    differ = {
        prompt: (answers[name][prompt], text) for prompt, text in spoken.items() if answers[name][prompt] != text
    }
    equal = f"{len(spoken) - len(differ)} of {len(spoken)}"
    figure(f"{name}: {equal} greedy answers equal peft's runtime sum word for word")
    assert not differ


@pytest.mark.parametrize("name", ["core+physics", "core+sport"])
def test_log_probabilities_agree_and_those_of_the_core_alone_do_not(
    vllm: VllmServer, built: Path, summed: Any, name: str, figure: Say
) -> None:
    import asyncio

    manifest, case = read_manifest(built), CASES[name]
    text = asked(summed.tokenizer, case.prompts[0])

    async def probed() -> list[tuple[str, float]]:
        driver = VllmBackend("vllm", vllm.url, published=manifest.published)
        try:
            await driver.inventory()
            tokens = await driver.probe(Probe(text, 16, blend_of(case.weights, manifest)))
            return [(token.text, token.logprob) for token in tokens]
        finally:
            await driver.aclose()

    told = asyncio.run(probed())
    reference = summed.continued(text, case.weights, 16)
    assert tuple(token for token, _ in told) == reference.tokens
    apart = max(abs(mine - theirs) for (_, mine), theirs in zip(told, reference.logprobs, strict=True))
    alone = summed.continued(text, {"core": 1.0}, 16)
    control = max(abs(mine - theirs) for (_, mine), theirs in zip(told, alone.logprobs, strict=False))
    figure(f"{name}: log probabilities within {apart:.0e} of the runtime sum, {control:.1f} from the core alone")
    assert apart <= NEAR
    assert control > 100 * NEAR


@pytest.mark.parametrize("name", CASES)
def test_both_voices_are_heard_and_in_isolation_none_of_the_core(answers: Answers, name: str, figure: Say) -> None:
    case: Case = CASES[name]
    heard = count(case, answers[name])
    figure(f"{name}: {heard}")
    if name == "academic":
        assert heard.trace == 0, answers[name]
        assert heard.domain >= 9, answers[name]
    else:
        assert heard.both >= 9, answers[name]
