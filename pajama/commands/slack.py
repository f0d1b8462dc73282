"""`pajama slack`: setting the app up at Slack."""

from __future__ import annotations

import json
from typing import Literal

from bots.slack.manifest import manifest as make_manifest
from pajama.console import out


def manifest(mode: Literal["socket", "http"], url: str) -> None:
    """Print the manifest, to be pasted at api.slack.com."""
    out.print(json.dumps(make_manifest(mode, url), indent=2, ensure_ascii=False), markup=False, soft_wrap=True)
