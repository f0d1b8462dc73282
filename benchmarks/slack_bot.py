"""The Slack bot as it is, with its vitals noted. `python -m benchmarks.slack_bot FILE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from benchmarks.vitals import note_vitals
from bots.slack.server import serve
from core.logs import configure
from core.settings import Settings, load_settings


async def main(settings: Settings, vitals: Path) -> None:
    """Serve until a signal comes."""
    noting = asyncio.create_task(note_vitals(vitals))
    try:
        await serve(settings)
    finally:
        noting.cancel()


if __name__ == "__main__":
    _settings = load_settings()
    configure(_settings, process="slack")
    asyncio.run(main(_settings, Path(sys.argv[1])))
