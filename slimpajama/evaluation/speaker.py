"""A model that answers: messages → texts in batches, and which of several answers it finds likeliest.

Works with any causal language model of `transformers` whose tokenizer has a chat template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from slimpajama.checkpoints import context_tokens, load_model, load_tokenizer
from slimpajama.data import plain_ids
from slimpajama.errors import SlimPajamaError
from slimpajama.evaluation.held_out import Messages
from slimpajama.memory import memory_explained

BATCH_TOKENS = 8192
BATCH_ROWS = 32

Done = Callable[[int], None]
"""Told how many more are answered."""


class Speaker:
    """A checkpoint, ready to be asked."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        if not tokenizer.chat_template:
            raise SlimPajamaError("The checkpoint's tokenizer has no chat template, so nothing can be asked of it.")
        self.model, self.tokenizer = model.eval(), tokenizer
        self.context = context_tokens(model.config)
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._ends = {"eos_token_id": model.generation_config.eos_token_id, "pad_token_id": padding}
        model.generation_config = GenerationConfig(**self._ends)  # its sampling would be mixed into what is asked for

    @classmethod
    def load(cls, name: str, device: str = "cpu") -> Speaker:
        """The checkpoint of this name or folder: in float32 on a CPU, in bf16 elsewhere. Raises SlimPajamaError."""
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        with memory_explained(f"There is too little memory on {device} for {name}."):
            tokenizer, model = load_tokenizer(name), load_model(name, dtype=dtype)
            return cls(model.to(device), tokenizer)

    def prompt_ids(self, messages: Messages) -> list[int]:
        """Token ids of `messages`, up to where the answer begins."""
        ids: list[int] = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        return ids

    def answers(self, asked: Sequence[Messages], tokens: int, done: Done | None = None, **sampling: Any) -> list[str]:
        """An answer of at most `tokens` tokens to each, greedy unless `sampling` (of GenerationConfig) says otherwise.

        Empty where the prompt leaves no room for it in the model's context.
        """
        settings = GenerationConfig(**{"do_sample": False, "max_new_tokens": tokens, **sampling, **self._ends})
        prompts = {i: self.prompt_ids(messages) for i, messages in enumerate(asked)}
        said = dict.fromkeys(prompts, "")
        fitting = {i: ids for i, ids in prompts.items() if len(ids) + tokens <= self.context}
        for rows in _batches(fitting, tokens):
            said |= zip(rows, self._generate([fitting[i] for i in rows], settings), strict=True)
            if done is not None:
                done(len(rows))
        if done is not None:
            done(len(prompts) - len(fitting))
        return [said[i] for i in range(len(asked))]

    def fits(self, messages: Messages, tokens: int) -> bool:
        """Whether an answer of `tokens` tokens has room behind the prompt."""
        return len(self.prompt_ids(messages)) + tokens <= self.context

    @torch.inference_mode()
    def _generate(self, prompts: list[list[int]], settings: GenerationConfig) -> list[str]:
        width = max(map(len, prompts))
        padding = settings.pad_token_id
        ids = torch.tensor([[padding] * (width - len(each)) + each for each in prompts], device=self.model.device)
        mask = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in prompts], device=ids.device)
        made = self.model.generate(ids, attention_mask=mask, generation_config=settings)[:, width:]
        return [text.strip() for text in self.tokenizer.batch_decode(made, skip_special_tokens=True)]

    @torch.inference_mode()
    def likeliest(self, messages: Messages, answers: Sequence[str]) -> int:
        """Which of `answers`, each with its end mark, has the highest probability as the whole answer."""
        prompt = self.prompt_ids(messages)
        endings = [[*plain_ids(self.tokenizer, answer), self.tokenizer.eos_token_id] for answer in answers]
        width = max(map(len, endings))
        rows = [prompt + ending + [0] * (width - len(ending)) for ending in endings]
        ids = torch.tensor(rows, device=self.model.device)  # (answers, prompt + width); what is behind changes nothing
        logits = self.model(input_ids=ids, use_cache=False, logits_to_keep=width + 1).logits[:, :-1].float()
        told = ids[:, len(prompt) :]
        chances = logits.log_softmax(-1).gather(-1, told[..., None]).squeeze(-1)  # (answers, width)
        counted = torch.tensor([[i < len(ending) for i in range(width)] for ending in endings], device=ids.device)
        return int((chances * counted).sum(-1).argmax())


def _batches(prompts: dict[int, list[int]], tokens: int) -> Iterator[list[int]]:
    """Indices of prompts of about the same length: few of the long ones at a time, many of the short."""
    rows: list[int] = []
    for i in sorted(prompts, key=lambda i: len(prompts[i]), reverse=True):
        longest = len(prompts[rows[0]]) + tokens if rows else 0
        if rows and (len(rows) == BATCH_ROWS or (len(rows) + 1) * longest > BATCH_TOKENS):
            yield rows
            rows = []
        rows.append(i)
    if rows:
        yield rows
