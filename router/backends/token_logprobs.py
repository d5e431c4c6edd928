"""The token logprobs of three dialects -> core tokens. Pure: knows bodies, no client.

All probabilities are natural logarithms in all of them. Sources: TGI 3.3 router/src/lib.rs (Details), OpenAI's
legacy completions as vLLM and SGLang write them, llama.cpp tools/server (completion_probabilities).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from router.core.errors import BackendBroken
from router.core.reply import Probe, Token

TOP = 5
"""Alternatives asked for at each place: the most that TGI gives without being told otherwise."""
_CERTAIN = 1e-3  # the logarithm of 1, and room for an engine's rounding


def tgi_tokens(backend: str, answer: Any) -> tuple[Token, ...]:
    """Read the `details` of TGI's /generate. Raises BackendBroken for anything else."""

    def read() -> tuple[Token, ...]:
        details = answer["details"]
        return tuple(
            _token(token["text"], token["logprob"], ((each["text"], each["logprob"]) for each in top))
            for token, top in zip(details["tokens"], details["top_tokens"], strict=True)
        )

    return _read(backend, read)


def completion_body(model: str, probe: Probe) -> dict[str, Any]:
    """Return the legacy completion that vLLM and SGLang answer with logprobs; `model` is who is to speak."""
    return {
        "model": model,
        "prompt": probe.text,
        "max_tokens": probe.tokens,
        "temperature": 0,
        "repetition_penalty": 1,  # the model's own generation_config.json may set another
        "logprobs": TOP,
    }


def openai_tokens(backend: str, answer: Any, *, echoed: bool = False) -> tuple[Token, ...]:
    """Read the `logprobs` of a completion. `echoed`: the prompt's tokens stand before the answer's own.

    Raises BackendBroken for anything else.
    """

    def read() -> tuple[Token, ...]:
        said = answer["choices"][0]["logprobs"]
        columns = [said["tokens"], said["token_logprobs"], said["top_logprobs"]]
        own = int(answer["usage"]["completion_tokens"]) if echoed else len(columns[0])
        columns = [column[len(column) - own :] for column in columns]
        return tuple(_token(text, logprob, top.items()) for text, logprob, top in zip(*columns, strict=True))

    return _read(backend, read)


def llama_tokens(backend: str, probabilities: Any) -> tuple[Token, ...]:
    """Read llama.cpp's list, `completion_probabilities` or `logprobs.content`. Raises BackendBroken."""

    def read() -> tuple[Token, ...]:
        return tuple(
            _token(
                token["token"],
                token["logprob"],
                ((each["token"], each["logprob"]) for each in token["top_logprobs"]),
            )
            for token in probabilities
        )

    return _read(backend, read)


def _token(text: str, logprob: float, top: Any) -> Token:
    likeliest: dict[str, float] = {}
    for other, value in top:  # two ids may read alike (parts of a letter): the likelier one stays
        likeliest[str(other)] = max(_log(value), likeliest.get(str(other), float("-inf")))
    return Token(str(text), _log(logprob), likeliest)


def _log(value: float) -> float:
    """Return the logarithm of a probability. Raises ValueError for NaN and for more than certainty."""
    if not (found := float(value)) <= _CERTAIN:
        raise ValueError(f"{found} is no log-probability")
    return found


def _read(backend: str, read: Callable[[], tuple[Token, ...]]) -> tuple[Token, ...]:
    try:
        tokens = read()
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError):
        raise BackendBroken(f"{backend}: the answer shows no token logprobs", backend=backend) from None
    if not tokens:
        raise BackendBroken(f"{backend}: the answer is empty, so it proves nothing", backend=backend)
    return tokens
