"""The gateway's transport compression: one stream a connection, every message flushed whole."""

from __future__ import annotations

import zlib
from typing import Protocol


class Stream(Protocol):
    """Turns a message into what goes over the wire."""

    def pack(self, text: str) -> str | bytes:
        """The message, compressed or not."""


class Plain:
    """No compression."""

    def pack(self, text: str) -> str:
        return text


class ZlibStream:
    """`compress=zlib-stream`: every message ends with a sync flush."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj()

    def pack(self, text: str) -> bytes:
        return self._deflate.compress(text.encode()) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


class ZstdStream:
    """`compress=zstd-stream`: every message ends with a flushed block of one endless frame."""

    def __init__(self) -> None:
        import zstandard

        self._flush_block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        self._compress = zstandard.ZstdCompressor().compressobj()

    def pack(self, text: str) -> bytes:
        return self._compress.compress(text.encode()) + self._compress.flush(self._flush_block)


def stream(asked: str | None) -> Stream:
    """What the client asked for in its URL."""
    match asked:
        case "zlib-stream":
            return ZlibStream()
        case "zstd-stream":
            return ZstdStream()
        case _:
            return Plain()
