"""Discord: an AutoSharded discord.py client in a process of its own, without torch."""
