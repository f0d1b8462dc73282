"""`pajama up` on a warm install: from the command to the first whole answer in the terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure

TARGET_S = 15.0


def measure(folder: Path) -> list[Figure]:
    """Start, ask once, stop."""
    environment = {
        **os.environ,
        "PAJAMA_DATA_DIR": str(folder / "up"),
        "PAJAMA_WEB_PORT": "0",
        "PAJAMA_OPEN_BROWSER": "0",
    }
    pajama = [sys.executable, "-m", "pajama"]
    began = time.perf_counter()
    up = subprocess.Popen([*pajama, "up"], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert up.stdout is not None
        for line in up.stdout:
            if "Pajama is up" in line:
                break
        ready_s = time.perf_counter() - began
        asked = [*pajama, "chat", "--once", "hello", "--json"]
        answered = json.loads(subprocess.run(asked, env=environment, check=True, capture_output=True, text=True).stdout)
        first_answer_s = time.perf_counter() - began
    finally:
        up.send_signal(signal.SIGINT)
        began = time.perf_counter()
        up.wait()
    stopped_s = time.perf_counter() - began
    tokens = answered["usage"]["completion_tokens"]
    return [
        Figure("`pajama up` until it says so", ready_s, "s"),
        Figure(
            f"`pajama up` to the first answer ({tokens} tokens), with `pajama chat`'s own start",
            first_answer_s,
            "s",
            TARGET_S,
        ),
        Figure("Ctrl-C until all has stopped", stopped_s, "s", 10.0),
    ]
