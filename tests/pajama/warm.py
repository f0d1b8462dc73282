"""A process that has imported what `pajama` needs and forks for each command: without it most of a short command is imports.

Run by itself with a file descriptor it serves; `Warm` is the other end. What a process does as it starts is tested with
processes of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_MAX_BYTES = 1 << 20


class Warm:
    """Runs commands, one at a time."""

    def __init__(self) -> None:
        from pajama.children import die_with_parent

        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - a test run that is killed leaves nothing behind
            )

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], patience_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `pajama` with these arguments to its end."""
        self._socket.settimeout(patience_s)
        asked = json.dumps([list(arguments), str(folder), dict(environment)]).encode()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            socket.send_fds(self._socket, [asked], [out.fileno(), err.fileno()])
            code = int(self._socket.recv(64))
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read().decode(), err.read().decode())

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait(10)


def serve(asking: socket.socket) -> None:
    """Fork for each command that is asked for, until nobody asks any more."""
    while True:
        said, descriptors, _, _ = socket.recv_fds(asking, _MAX_BYTES, 2)
        if not said:
            return
        arguments, folder, environment = json.loads(said)
        child = os.fork()
        if child == 0:
            _become(arguments, folder, environment, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        asking.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _become(arguments: list[str], folder: str, environment: dict[str, str], outputs: list[int]) -> None:
    """Be the command, to the end."""
    code: object = 1
    try:
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            os.dup2(nothing.fileno(), 0)
        for number, output in enumerate(outputs, start=1):
            os.dup2(output, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["pajama", *arguments]
        from pajama.cli import main

        main()
        code = 0
    except SystemExit as ended:
        code = ended.code
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
    finally:
        if sys.exc_info()[0] is not None:
            sys.excepthook(*sys.exc_info())
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0 if code is None else code if isinstance(code, int) else 1)


if __name__ == "__main__":
    import pajama.cli
    import pajama.commands.faq
    import pajama.commands.faq_gaps
    import pajama.commands.faq_measuring
    import pajama.commands.health
    import pajama.commands.privacy  # noqa: F401 - they are there for the children

    serve(socket.socket(fileno=int(sys.argv[1])))
