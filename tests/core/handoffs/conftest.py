"""A Workspace with a staff channel, on a migrated database."""

from __future__ import annotations

import pytest

from tests.core.conftest import Chat
from tests.core.handoffs.asking import CHANNEL, Shop


@pytest.fixture
def shop(chat: Chat) -> Shop:
    shop = Shop(chat)
    shop.set("handoff_channel", CHANNEL)
    return shop
