"""The tokenizer: byte-level BPE over the full byte alphabet, digits apart, special tokens first, and a chat template.

The template has the prefix property: a conversation rendered up to the answer, followed by the answer and the end
mark, is a prefix of the longer conversation, so a key-value cache holds from turn to turn. It holds for ids too, because
a line's end is always a token of its own: a role's line and the content after it never melt into one token.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from slimpajama.data import BadRows
from slimpajama.mixture import Mixture, row_mixture

LEARNED_BYTES = 24_000_000
END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, START, END)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterator[str], vocab_size: int, context_tokens: int) -> PreTrainedTokenizerFast:
    """Learn `vocab_size` tokens from `texts`, special tokens at 0, 1, 2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return wrap(tokenizer, context_tokens)


def wrap(tokenizer: Tokenizer, context_tokens: int) -> PreTrainedTokenizerFast:
    """`tokenizer` as transformers loads it, with the chat template and padding on the left."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=END_OF_TEXT,
        eos_token=END,
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=context_tokens,
        clean_up_tokenization_spaces=False,
    )


def balanced_texts(data: Path, bad: BadRows) -> Iterator[str]:
    """English and Chinese text to learn tokens from, half of the bytes each where both are there; text and conversations."""
    packed = sum(path.stat().st_size for path in data.rglob("*.jsonl.zst"))
    wanted = min(LEARNED_BYTES, packed * 8)  # little data need not be read again and again
    streams = [_by_language(row_mixture(data, bad, instruct=instruct)) for instruct in (False, True)]
    given, seen = {"zh": 0, "en": 0}, 0
    for language, text in itertools.chain.from_iterable(zip(*streams, strict=True)):
        size = len(text.encode(errors="replace"))
        seen += size
        if given[language] < wanted / 2:
            given[language] += size
            yield text
        if seen > 2 * wanted or sum(given.values()) >= wanted:
            return


def _by_language(rows: Mixture[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for row in rows:
        messages = row.get("messages") or ()
        text = row.get("text") or "\n".join(str(m.get("content", "")) for m in messages if isinstance(m, dict))
        if isinstance(text, str) and text:
            yield ("zh" if row.get("lang") == "zh" else "en"), text
