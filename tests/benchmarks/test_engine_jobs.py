"""Jobs that arrive one by one: the times are a job's own, and the rate is over all of it."""

from __future__ import annotations

import random
from dataclasses import replace

from benchmarks.engine_jobs import Outcome
from benchmarks.engine_rates import arriving
from benchmarks.engine_scale import FULL


def test_arrivals_ask_for_the_rate_that_is_named() -> None:
    load = replace(FULL.loads[0], arrivals=4000)
    jobs = arriving(random.Random(1), FULL, load, rate=100.0)
    assert [job.after_s for job in jobs] == sorted(job.after_s for job in jobs)
    assert abs(sum(job.tokens for job in jobs) / jobs[-1].after_s - 100.0) < 5


def test_everybody_gets_the_same_arrivals() -> None:
    load = FULL.loads[0]
    assert arriving(random.Random(1), FULL, load, 50.0) == arriving(random.Random(1), FULL, load, 50.0)


def test_the_rate_counts_the_tokens_of_all() -> None:
    outcome = Outcome(2.0, [[0.5, 1.0], [0.1, 0.2, 0.3]])
    assert (outcome.rate, outcome.first_s) == (2.5, [0.5, 0.1])
