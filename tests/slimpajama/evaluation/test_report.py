"""Everything is measured on held-out data, beside baselines that answer without a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slimpajama.errors import DataError
from slimpajama.evaluation import baselines, held_out
from slimpajama.evaluation.held_out import Choice, Intents
from slimpajama.evaluation.report import evaluate
from slimpajama.evaluation.speaker import Speaker
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM

Write = Callable[[Path, list[Any]], Path]
STORY = "The cat sat by the door. The dog ran home at night! Nobody saw the old bird."
ENTRIES = (
    "Answer the visitor from the numbered passages.\n\n[1] Are dogs allowed? No, only cats.\n[2] Is there WiFi? It is."
)


def row(system: str, question: str, answer: str, **more: Any) -> dict[str, Any]:
    said = zip(("system", "user", "assistant"), (system, question, answer), strict=True)
    return {"messages": [{"role": role, "content": text} for role, text in said if text], **more}


@pytest.fixture
def held_out_data(tmp_path: Path, write_rows: Write) -> Path:
    for language in ("en", "zh"):
        write_rows(tmp_path / "pretrain" / f"heldout-{language}.jsonl.zst", [{"text": STORY}])
    rows = [
        row(f"Answer from the passage only.\n\nPassage: {STORY}", "Where did the dog run?", "Home", refs=["Home"]),
        row(ENTRIES, "Is there WiFi?", "It is."),
        row(ENTRIES, "Who owns Pajama?", "Sorry, the passages do not say."),
    ]
    for name in held_out.GROUNDED:
        write_rows(tmp_path / "sft" / "heldout" / f"grounded-{name}.test.jsonl.zst", rows)
    for name in held_out.TRANSLATED:
        path = tmp_path / "sft" / "heldout" / f"translate-tatoeba_{name}.test.jsonl.zst"
        write_rows(path, [row("", "Translate into Chinese: Hello!", "你好！")])
    for name in held_out.INTENTS:
        texts = [("what is the time", "time_now"), ("wake me at six", "alarm"), ("how cold is it", "weather")]
        told = [{"text": text, "label": label, "split": s} for text, label in texts for s in ("train", "train", "test")]
        write_rows(tmp_path / "bench" / f"{name}.jsonl.zst", [*told, {"text": "x", "label": "oos", "split": "test"}])
    return tmp_path


def test_every_figure_stands_beside_its_baselines(
    held_out_data: Path, model: SlimPajamaForCausalLM, tokenizer: Any
) -> None:
    told: list[tuple[str, int, int]] = []
    speaker = Speaker(model, tokenizer)
    report = evaluate(speaker, "tiny", held_out_data, None, lambda *progress: told.append(progress))
    found = {(each.task, each.measured): each for each in report.figures}
    assert found["grounded dstc9", "F1 %"].rows == 2
    assert found["grounded dstc9", "answered, but unanswerable %"].rows == 1
    assert found["grounded dstc9", "answered, but unanswerable %"].baselines == {"BM25": 0, "first": 100}
    assert found["grounded dstc9", "exact %"].baselines == {"BM25": 50, "first": 0}
    assert found["intent clinc150", "accuracy of 8 %"].baselines == {"TF-IDF": 100}
    assert found["translate en→zh", "chrF2"].baselines == {"first": pytest.approx(0)}
    assert len(report.talk) == len(set(held_out.prompts())) == 40
    assert len(report.table()) == 2 + len(report.figures)
    assert {task for task, done, total in told if done == total} >= {each.task for each in report.figures}
    assert report.as_json()["figures"][0]["task"] == "text en"


def test_a_limit_takes_rows_from_all_over(tmp_path: Path, write_rows: Write) -> None:
    rows = [row("", f"Translate into Chinese: {i}", "x") for i in range(10)]
    write_rows(tmp_path / "sft" / "heldout" / "translate-tatoeba_en_zh.test.jsonl.zst", rows)
    found = held_out.translations(tmp_path, "en_zh", 3)
    assert [baselines.untranslated(each.messages) for each in found] == ["0", "3", "6"]


def test_a_held_out_file_with_a_bad_row_is_refused(tmp_path: Path, write_rows: Write) -> None:
    path = write_rows(tmp_path / "sft" / "heldout" / "grounded-dstc9.test.jsonl.zst", ["no object"])
    with pytest.raises(DataError, match=f"{path.name}:1 cannot be measured on: not an object"):
        held_out.grounded(tmp_path, "dstc9")
    with pytest.raises(DataError, match="cannot be read"):
        held_out.grounded(tmp_path, "xquad_en")


def test_a_baseline_quotes_sentences_or_the_answers_of_entries() -> None:
    story = row(f"Answer.\n\nPassage: {STORY}", "What did the dog do at night?", "")["messages"]
    assert baselines.passages(story)[1] == "The dog ran home at night!"
    assert baselines.best(story) == "The dog ran home at night!"
    assert baselines.first(story) == "The cat sat by the door."
    faq = row(ENTRIES, "Is there WiFi?", "")["messages"]
    assert (baselines.best(faq), baselines.first(faq)) == ("It is.", "No, only cats.")
    chinese = row("只根据资料回答问题。\n\n资料：猫在门口。狗回家了。", "狗去哪了？", "")["messages"]
    assert baselines.best(chinese) == "狗回家了。"


def test_a_classifier_chooses_only_among_the_labels_given() -> None:
    texts, labels = ["wake me"] * 2 + ["how cold"] * 2, ["alarm"] * 2 + ["weather"] * 2
    choices = [Choice("wake me", ("weather", "unseen"), 0), Choice("wake me", ("weather", "alarm"), 1)]
    assert baselines.classified(Intents(choices, texts, labels)) == [0, 1]
