"""Hours: when somebody is there, as people write it: `Mon-Fri 09:00-17:30; Sat 10:00-14:00 Europe/Berlin`.

Pure. Days may be left out (every day), and so may the time zone (UTC). A span that ends before it begins goes on into the
next day. Two spans on one day are two parts; what is in none of them is closed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MAX_CHARS = 200
RIGHT = "Mon-Fri 09:00-17:00; Sat 10:00-14:00 Europe/Berlin"
"""How it is written right."""

_CLOCK = r"([01]?\d|2[0-4]):([0-5]\d)"
_PART = re.compile(rf"(?:([a-z]{{3}})(?:\s*[-–]\s*([a-z]{{3}}))?\s+)?{_CLOCK}\s*[-–]\s*{_CLOCK}", re.IGNORECASE)
_WHOLE = 24 * 60
_WEEK = 7 * _WHOLE


@dataclass(frozen=True, slots=True)
class Hours:
    """Spans of a week in minutes from Monday's midnight, where `zone` is; an end may be in the next week."""

    zone: str
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, written: str) -> Hours:
        """Read what somebody wrote. Raises ValueError."""
        text, zone = _zone_of(written.strip())
        spans = [span for part in re.split(r"\s*[;,；，]\s*", text) if part for span in _spans(part)]
        if not spans:
            raise ValueError("there are no hours")
        return cls(zone, tuple(spans))

    def open_at(self, moment: datetime) -> bool:
        """Whether somebody is there at this moment, which is aware."""
        there = moment.astimezone(ZoneInfo(self.zone))
        minute = there.weekday() * _WHOLE + there.hour * 60 + there.minute
        return any(begin <= at < end for begin, end in self.spans for at in (minute, minute + _WEEK))


def _zone_of(written: str) -> tuple[str, str]:
    """The hours, and the zone behind them. Raises ValueError."""
    text, _, last = written.rpartition(" ")
    if not last or last[0].isdigit() or not last.isascii():
        return written, "UTC"
    try:
        return text, ZoneInfo(last).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {last}") from error


def _spans(part: str) -> list[tuple[int, int]]:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f"{part} is not understood")
    begin, end = (int(match[hour]) * 60 + int(match[hour + 1]) for hour in (3, 5))
    if begin >= _WHOLE or end > _WHOLE:
        raise ValueError("a day ends at 24:00")
    if end <= begin:
        end += _WHOLE
    return [(day * _WHOLE + begin, day * _WHOLE + end) for day in _days(match[1], match[2])]


def _days(first: str | None, last: str | None) -> list[int]:
    """The days from one to another, through Sunday where need be. Raises ValueError."""
    if first is None:
        return list(range(7))
    begin = DAYS.index(first.title()) if first.title() in DAYS else None
    end = begin if last is None else DAYS.index(last.title()) if last.title() in DAYS else None
    if begin is None or end is None:
        raise ValueError(f"days are {', '.join(DAYS)}")
    return [(begin + step) % 7 for step in range((end - begin) % 7 + 1)]
