"""The baseline: what a bot does that puts prompts into Celery and waits for the result backend. No store, no order."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("naive", broker=os.environ["NAIVE_BROKER"], backend=os.environ["NAIVE_BACKEND"])
app.conf.update(worker_pool="threads", worker_concurrency=32, worker_hijack_root_logger=False)


@app.task(name="naive.answer")
def answer(text: str) -> str:
    """The first token, at once."""
    return "token "
