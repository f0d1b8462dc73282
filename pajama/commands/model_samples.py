"""`pajama model samples`: what a checkpoint makes of thirty texts by the recipes, unpicked, with a fixed seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby

from core import recipes
from pajama.commands.model_evaluation import cell, speaker_of
from pajama.console import out, print_json

TOKENS = 60
WRITTEN = (
    "今天天气很好，适合户外活动，你可以去公园散步。",
    "Once upon a time there was a king who had",
    "The little girl opened the door and",
    "The city council said on Monday that",
    "从前有一个小男孩，",
    "做这道菜需要准备",
    "The river runs through",
    "Last night I could not sleep, because",
    "学习编程的时候，",
    "The first computers were",
)
TRANSLATED = (
    "I love you.", "Where is the station?", "He is a good student.", "It is raining today.", "What time is it?",
    "我喜欢猫。", "你叫什么名字？", "她昨天没有来。", "我想喝水。", "这本书很有意思。",
)  # fmt: skip
UNDERSTOOD: tuple[tuple[str, dict[str, str]], ...] = (
    ("I want to send ten dollars to my brother", {"labels": "transfer, balance, lost card, weather"}),
    ("my card was stolen yesterday", {"labels": "transfer, balance, lost card, weather"}),
    ("will it rain tomorrow", {"labels": "transfer, balance, lost card, weather"}),
    ("how much money do I have", {"labels": "transfer, balance, lost card, weather"}),
    ("wake me up at seven", {"labels": "alarm, music, restaurant, none of these"}),
    ("play something slow", {"labels": "alarm, music, restaurant, none of these"}),
    ("book a table for two", {"labels": "alarm, music, restaurant, none of these"}),
    ("Ann met Bob in Paris on 4 May 2021.", {"task": "extract"}),
    ("The cat sat by the door all day. When the girl came home, it jumped up and ran to her.", {"task": "summarise"}),
    ("小明每天早上六点起床，先跑步半小时，然后吃早饭，七点半去学校。", {"task": "summarise"}),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A text, how it was put, and what the checkpoint said."""

    recipe: str
    text: str
    arguments: dict[str, str]
    answer: str


def samples(checkpoint: str, seed: int, *, as_json: bool) -> None:
    """Print what the checkpoint says to each."""
    import torch

    speaker = speaker_of(checkpoint)
    found = []
    for name, text, arguments in asked():
        torch.manual_seed(seed)  # each by itself, so that one more changes no other
        messages = [{"role": "user", "content": put(name, text, arguments)}]
        [answer] = speaker.answers([messages], TOKENS, do_sample=True, temperature=0.7, top_p=0.9)
        found.append(Sample(name, text, arguments, answer))
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        for line in table(found):
            out.print(line, markup=False)


def asked() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Recipe, text and arguments of each."""
    yield from (("write", text, {}) for text in WRITTEN)
    yield from (("translate", text, {}) for text in TRANSLATED)
    yield from (("understand", text, arguments) for text, arguments in UNDERSTOOD)


def put(name: str, text: str, arguments: dict[str, str]) -> str:
    """The text as the recipe puts it to the model."""
    recipe = recipes.load(name)
    return recipe.render_user(text=text, message=text, persona="", language="en", arguments=arguments)


def table(found: list[Sample]) -> Iterator[str]:
    """Lines of Markdown, a table for each recipe."""
    for name, samples_of in groupby(found, lambda each: each.recipe):
        yield f"\n| {name} | answer |\n|---|---|"
        for each in samples_of:
            given = "".join(f" ({option}: {value})" for option, value in each.arguments.items())
            yield f"| {each.text}{given} | {cell(each.answer)} |"
