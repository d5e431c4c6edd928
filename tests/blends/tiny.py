"""A Llama of two layers and width 16 with a word-level tokenizer, and random adapters for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

TEXT = "system user assistant <|im_start|> <|im_end|> why is what how the sky run fast blue far light go on"
WORDS = TEXT.split()
TEMPLATE = (
    "{% for m in messages %}<|im_start|> {{ m.role }} {{ m.content }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)


def tokenizer() -> Any:
    """One token per word of WORDS, "?" for any other."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate([*WORDS, "?"])}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("<|im_start|>", "isolated"), pre_tokenizers.Split("<|im_end|>", "isolated"),
         pre_tokenizers.WhitespaceSplit()]
    )  # fmt: skip
    made = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|im_end|>", unk_token="?")
    made.chat_template = TEMPLATE
    return made


def model(kind: str = "llama") -> Any:
    """A seeded random model in float32, frozen; `kind` is any model type with Llama's settings."""
    torch = pytest.importorskip("torch", reason="training is an extra: pip install -e '.[train]'")
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=len(WORDS) + 1, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=4, max_position_embeddings=64,
        initializer_range=0.5, bos_token_id=None, eos_token_id=WORDS.index("<|im_end|>"),
        pad_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    made.requires_grad_(False)
    return made.eval()


def adapter(
    folder: Path, seed: int, rank: int = 2, alpha: int = 6, targets: Sequence[str] = ("q_proj", "v_proj")
) -> Path:
    """Write a random PEFT adapter for `model()`, strong enough to change what it says; return its folder."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(targets), init_lora_weights=False, task_type="CAUSAL_LM"
    )
    base = model()
    torch.manual_seed(seed)
    get_peft_model(base, config).save_pretrained(str(folder))
    return folder
