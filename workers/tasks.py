"""The Celery task: a wake-up becomes a call. What is answered is decided in SQL, how in `answering`."""

from __future__ import annotations

from celery import Celery

from core.queue import ANSWER_TASK
from workers.answering import Answering


def register(app: Celery, answering: Answering) -> None:
    """Give `app` the task that wake-ups name. The Turn's id is a hint that this worker does not need."""

    def answer(turn_id: int | None = None, passed_on: int = 0) -> None:
        answering.answer_next(turn_id, passed_on)

    app.task(name=ANSWER_TASK, ignore_result=True)(answer)
