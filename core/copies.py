"""Copies: what purged words leave behind outside of SQL, and how it goes.

Knows the reply streams in Redis and that workers keep KV and token ids of Conversations in memory. A stream that is
emptied stays for a while without an entry, since Redis then refuses what a worker, still speaking of the purged words,
would add under an older fence. Both clients of Redis fill a pipeline alike; whoever calls executes it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from core.purging import Purged
from core.redis import control_channel, reply_key


def drop_copies(pipeline: Any, prefix: str, ttl_s: int, purged: Purged, running: Collection[int] = ()) -> None:
    """Put into `pipeline` what empties the Turns' streams and makes workers forget their Conversations.

    `running` Turns have a worker that may be about to open the stream.
    """
    for turn_id, fence in purged.silenced.items():
        key = reply_key(prefix, turn_id)
        pipeline.xadd(key, {"purged": "1"}, id=f"{fence}-0", nomkstream=turn_id not in running)
        pipeline.xtrim(key, maxlen=0, approximate=False)
        pipeline.expire(key, ttl_s)
    if purged.conversation_ids:
        pipeline.publish(control_channel(prefix), json.dumps({"forget": sorted(purged.conversation_ids)}))
