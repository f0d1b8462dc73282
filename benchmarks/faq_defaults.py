"""`python -m benchmarks.faq_defaults --data DIR`: the sureness of collections that were never calibrated.

Makes many collections of different sizes from the TRAINING parts of BANKING77, CLINC150 and HWU64, some labels left out
as what is not covered, asks them the rest of the training parts, and writes core/faq/defaults.json. Validation and test
parts are not read.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import structlog

from benchmarks.faq_data import Asked, Part, Remembering, question_of, rows
from core.faq.calibration import MODES, Mode, Trials, elsewhere_trials, fitted
from core.faq.embedding import Embedder
from core.faq.evaluation import Labelled, ask_all, trials_by_mode
from core.faq.index import CollectionIndex
from workers.embedding import PACKAGED, SentenceEmbedder

DEFAULTS = Path(__file__).parents[1] / "core" / "faq" / "defaults.json"
SETS = ("banking77", "clinc150", "hwu64")
PHRASINGS = (1, 2, 3, 5, 10, 20)
_COVERED, _UNCOVERED = 400, 200


def main() -> None:
    """Learn the defaults and write them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faq_defaults", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77.jsonl.zst and others")
    parser.add_argument("--cache", type=Path, default=Path("build/faq"), help="where vectors are kept")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    embedder = Remembering(SentenceEmbedder(PACKAGED), given.cache)
    found: dict[Mode, list[Trials]] = defaultdict(list)
    for number, collection in enumerate(_collections(given.data)):
        for chosen in (embedder, None):
            for trained in (True, False):
                for mode, trials in _tried(collection, chosen, trained=trained):
                    found[mode].append(trials)
        sys.stderr.write(f"collection {number + 1} is done\n")
    defaults = {mode: fitted(Trials.joined(found[mode]), "held_out", 0.02, 0.2).model_dump() for mode in MODES}
    DEFAULTS.write_text(json.dumps(defaults, indent=2) + "\n", encoding="utf-8")


def _collections(folder: Path) -> Iterator[Part]:
    """Collections with one to twenty phrasings an entry, three quarters of the labels covered."""
    chance = random.Random(5)
    for name in SETS:
        by_label: dict[str, list[str]] = defaultdict(list)
        for row in rows(folder, name):
            if row["split"] == "train" and row["label"] != "oos":
                by_label[row["label"]].append(question_of(row["text"]))
        for phrasings in PHRASINGS:
            labels = sorted(by_label)
            chance.shuffle(labels)
            covered, others = labels[: 3 * len(labels) // 4], labels[3 * len(labels) // 4 :]
            texts = {label: chance.sample(by_label[label], len(by_label[label])) for label in labels}
            train = [Asked(text, label) for label in covered for text in texts[label][:phrasings]]
            rest = [Asked(text, label) for label in covered for text in texts[label][phrasings:]]
            out = [Asked(text, None) for label in others for text in texts[label]]
            test = chance.sample(rest, min(_COVERED, len(rest))) + chance.sample(out, min(_UNCOVERED, len(out)))
            yield Part(tuple(train), tuple(test))


def _tried(collection: Part, embedder: Embedder | None, *, trained: bool) -> list[tuple[Mode, Trials]]:
    index = CollectionIndex(0, embedder)
    index.load(collection.entries(), trained=trained)
    questions = [Labelled(question_of(asked.text), asked.label or "") for asked in collection.test]
    asked = ask_all(index, questions)
    if trained and index.snapshot.classifier is None:
        return []
    far = elsewhere_trials(index)
    return [(mode, trials.with_far(far[mode])) for mode, trials in trials_by_mode(asked).items()]


if __name__ == "__main__":
    main()
