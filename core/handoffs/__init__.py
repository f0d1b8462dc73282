"""Hand-offs: a Conversation that a human takes over from the bot, and gives back.

    requested ──claim──▶ claimed ──release──▶ released        (released from requested, too)

`states` moves them, `relays` is what is still to be brought to either side, `transcripts` what was said, `triggers` when
one begins by itself, `hours` when somebody is there, and `door` what asyncio asks. Knows no platform and words
nothing for people.
"""
