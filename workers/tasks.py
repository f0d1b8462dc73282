"""The Celery task: a wake-up becomes a call. What is answered is decided in SQL, how in `answering`."""

from __future__ import annotations

from celery import Celery

from core.queue import ANSWER_TASK
from workers.answering import Answering


def register(app: Celery, answering: Answering) -> None:
    """Give `app` the task that wake-ups name. Its argument is a hint that this worker does not need."""

    def answer(turn_id: int | None = None) -> None:
        answering.answer_next()

    app.task(name=ANSWER_TASK, ignore_result=True)(answer)
