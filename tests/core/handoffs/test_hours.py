"""When somebody is there, as people write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.handoffs.hours import DAYS, RIGHT, Hours

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "moment", "there"),
    [
        ("Mon-Fri 09:00-17:00", MONDAY + timedelta(hours=9), True),
        ("Mon-Fri 09:00-17:00", MONDAY + timedelta(hours=17), False),
        ("mon-fri 9:00-17:00", MONDAY + timedelta(days=5, hours=10), False),
        ("09:00-17:00", MONDAY + timedelta(days=6, hours=10), True),
        ("Mon 09:00-12:00, Mon 13:00-17:00", MONDAY + timedelta(hours=12, minutes=30), False),
        ("Mon 09:00-12:00; Mon 13:00-17:00", MONDAY + timedelta(hours=13), True),
        ("Sat-Mon 10:00-11:00", MONDAY + timedelta(hours=10), True),
        ("Sun 22:00-06:00", MONDAY + timedelta(hours=5), True),
        ("Sun 22:00-06:00", MONDAY + timedelta(hours=6), False),
        ("Sun 00:00-24:00", MONDAY, False),
        ("Mon 09:00-17:00 Asia/Shanghai", MONDAY + timedelta(hours=2), True),
        ("Mon 09:00-17:00 Asia/Shanghai", MONDAY + timedelta(hours=10), False),
        ("Mon 09:00-17:00 America/New_York", MONDAY + timedelta(hours=21), True),
        (RIGHT, MONDAY + timedelta(days=5, hours=9, minutes=30), True),
    ],
)
def test_hours_are_open_when_they_say(written: str, moment: datetime, there: bool) -> None:
    assert Hours.parse(written).open_at(moment) is there


def test_summer_time_is_that_of_the_zone() -> None:
    hours = Hours.parse("09:00-17:00 Europe/Berlin")
    assert not hours.open_at(datetime(2026, 1, 5, 7, 30, tzinfo=UTC))
    assert hours.open_at(datetime(2026, 7, 6, 7, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    "written",
    ["", " ", "always", "Mon", "Mon 9-17", "Mon 09:00-25:00", "Mon 24:00-01:00", "Mon 09:60-10:00", "Foo 09:00-10:00",
     "Mon-Foo 09:00-10:00", "Mon 09:00-10:00 Atlantis", "Mon 09:00-10:00 ../../etc/passwd", ";"],
)  # fmt: skip
def test_what_is_not_understood_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Hours.parse(written)


@given(st.text(max_size=60))
def test_anything_is_either_hours_or_refused(written: str) -> None:
    try:
        hours = Hours.parse(written)
    except ValueError:
        return
    assert hours.open_at(MONDAY) in (True, False)


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 1439), st.integers(1, 1439), st.integers(0, 7 * 1440 - 1))
def test_a_span_is_open_exactly_within_it(first: int, last: int, begin: int, length: int, at: int) -> None:
    end = (begin + length) % 1440
    written = f"{DAYS[first]}-{DAYS[last]} {begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"
    days = {(first + step) % 7 for step in range((last - first) % 7 + 1)}
    within = any((at - day * 1440 - begin) % (7 * 1440) < length for day in days)
    assert Hours.parse(written).open_at(MONDAY + timedelta(minutes=at)) is within
