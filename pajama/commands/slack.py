"""`pajama slack`: setting the app up at Slack."""

from __future__ import annotations

import sys
from typing import Literal

from bots.slack.manifest import manifest_yaml


def manifest(mode: Literal["socket", "http"], url: str, *, oauth: bool) -> None:
    """Print the manifest, to be pasted at api.slack.com."""
    sys.stdout.write(manifest_yaml(mode, url.rstrip("/"), oauth=oauth))
