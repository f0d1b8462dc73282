"""Target: where on Slack an answer goes, as it is kept with the Turn. Knows ids; sends nothing."""

from __future__ import annotations

from core.values import Value


class Target(Value):
    """Where an answer goes: a thread of a channel or DM.

    `team` installed the app; a stream is for `asker`, who may be of another that shares the channel: `asker_team`.
    """

    channel: str
    thread: str
    team: str = ""
    asker: str = ""
    asker_team: str = ""
