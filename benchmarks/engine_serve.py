"""`transformers serve` over HTTP: a process of its own, its continuous batching on, on the very same weights.

It is asked for streamed completions of text, of a tokenizer with a word a token. Needs openai, of the extra `bench`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.engine_jobs import Job, Outcome, until
from benchmarks.engine_peers import PAGE
from pajama.ports import free_port

_START_S = 120
_GREEDY = json.dumps({"do_sample": False, "eos_token_id": -1, "pad_token_id": 0})


def missing() -> str | None:
    """Which package it lacks here; None where it can be measured."""
    return "openai" if importlib.util.find_spec("openai") is None else None


def save(model: PreTrainedModel, folder: Path) -> None:
    """Save the model with a tokenizer whose words are `0`, `1`, …"""
    words = Tokenizer(WordLevel({str(i): i for i in range(model.config.vocab_size)}, unk_token="0"))
    words.pre_tokenizer = WhitespaceSplit()
    words.decoder = decoders.Fuse()
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=words)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


class Serve:
    """A client of it, with a thread a request."""

    name = "transformers serve, over HTTP"

    def __init__(self, url: str, folder: Path, client: httpx2.Client) -> None:
        self._url, self._folder, self._client = url, folder, client

    @classmethod
    @contextmanager
    def of(cls, model: PreTrainedModel, folder: Path, batch: int, tokens: int) -> Iterator[Serve]:
        """A server for `batch` jobs of `tokens` tokens each, which listens."""
        path, port = folder / "served", free_port()
        if not path.exists():
            save(model, path)
        blocks = batch * (-(-tokens // PAGE) + 1)
        command = [
            *(sys.executable, "-m", "transformers.cli.transformers", "serve", str(path), "--host", "127.0.0.1"),
            *(
                "--port",
                str(port),
                "--continuous-batching",
                "--cb-block-size",
                str(PAGE),
                "--cb-num-blocks",
                str(blocks),
            ),
            *("--cb-max-batch-tokens", "512", "--device", "cpu", "--dtype", str(model.dtype).removeprefix("torch.")),
            *("--log-level", "error"),
        ]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(torch.get_num_threads())}
        quiet = subprocess.DEVNULL
        limits = httpx2.Limits(max_connections=None)
        with (
            subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet) as process,
            httpx2.Client(timeout=600, limits=limits, trust_env=False) as client,
        ):
            try:
                url = f"http://127.0.0.1:{port}"
                _await(client, url, process)
                yield cls(url, path, client)
            finally:
                process.terminate()

    def answer(self, jobs: Sequence[Job]) -> Outcome:
        """Answer all of them."""
        began, times = time.perf_counter(), list[list[float]]()
        threads = []
        for job in jobs:
            until(began + job.after_s)
            times.append([])
            threads.append(threading.Thread(target=self._ask, args=(job, began + job.after_s, times[-1])))
            threads[-1].start()
        for thread in threads:
            thread.join()
        outcome = Outcome(time.perf_counter() - began, times)
        if [len(its) for its in times] != [job.tokens for job in jobs]:
            raise RuntimeError("`transformers serve` has not made as many tokens as were asked for.")
        return outcome

    def _ask(self, job: Job, began: float, at_s: list[float]) -> None:
        asked = {
            "model": str(self._folder),
            "prompt": " ".join(map(str, job.token_ids)),
            "max_tokens": job.tokens,
            "stream": True,
            "generation_config": _GREEDY,
        }
        with self._client.stream("POST", f"{self._url}/v1/completions", json=asked) as answer:
            for line in answer.iter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk, now = json.loads(line.removeprefix("data: ")), time.perf_counter() - began
                if chunk.get("error"):
                    raise RuntimeError(f"`transformers serve` fails: {chunk['error']}")
                if usage := chunk.get("usage"):  # the last; a chunk may have had several tokens
                    at_s.extend([now] * (usage["completion_tokens"] - len(at_s)))
                elif chunk["choices"][0]["text"]:
                    at_s.append(now)


def _await(client: httpx2.Client, url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until it listens and has the model."""
    ends = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < ends:
        try:
            if client.get(f"{url}/health").is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise RuntimeError("`transformers serve` does not start.")
