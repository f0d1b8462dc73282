"""Pajama in a terminal: the conversation of whoever sits at this machine."""

from bots.terminal.chat import ask_once, chat

__all__ = ["ask_once", "chat"]
