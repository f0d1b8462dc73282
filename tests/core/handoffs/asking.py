"""People who need a human, and humans, on the repository functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from core import intake, workspaces
from core.handoffs import relays, states, views
from core.handoffs.models import Relay
from core.handoffs.relays import Taken
from core.handoffs.views import HandoffView
from core.intake import PassedOn, Received
from core.models import Turn
from core.values import HandoffRequest, Person, Place, Staff
from tests.core.conftest import MANY, Chat

CHANNEL = "staff-room"


def staff(name: str, platform: str = "discord") -> Staff:
    return Staff.model_validate({"platform": platform, "person": Person(id=name, display_name=name.title())})


@dataclass
class Shop:
    """One Workspace, with a clock that tests turn."""

    chat: Chat
    workspace: str = "w"
    platform: str = "discord"

    def place(self, conversation: str = "c") -> Place:
        values = {"platform": self.platform, "workspace": self.workspace, "conversation": conversation}
        return Place.model_validate(values)

    def set(self, name: str, value: object) -> None:
        with self.chat.database.write() as session:
            workspaces.change(session, self.platform, self.workspace, name, value, now=self.chat.now)

    def request(
        self, conversation: str = "c", words: str = "", person: str = "p", event_id: str = "", **more: Any
    ) -> states.Requested:
        self.chat.later(0.001)
        asked = HandoffRequest(
            place=self.place(conversation),
            person=Person(id=person, display_name=person.title()),
            event_id=event_id or f"ask-{self.chat.now.timestamp()}",
            **more,
        )
        with self.chat.database.write() as session:
            return states.request(session, asked, words, self.chat.now)

    def say(self, event_id: str, conversation: str = "c", person: str = "p") -> Received | PassedOn:
        self.chat.later(0.001)
        message = self.chat.message(event_id, workspace=self.workspace, conversation=conversation, person=person)
        named = Person(id=person, display_name=person.title())
        message = message.model_copy(update={"place": self.place(conversation), "person": named})
        with self.chat.database.write() as session:
            return intake.receive(session, message, message.text, MANY, self.chat.now)

    def claim(self, handoff_id: int, name: str = "bo", conversation: str = "c") -> states.Claimed:
        self.chat.later(0.001)
        with self.chat.database.write() as session:
            return states.claim(session, self.place(conversation), handoff_id, staff(name), self.chat.now)

    def reply(
        self, handoff_id: int, words: str, event_id: str = "", conversation: str = "c", platform: str = "discord"
    ) -> PassedOn:
        self.chat.later(0.001)
        event_id = event_id or f"reply-{self.chat.now.timestamp()}"
        who, place = staff("bo", platform), self.place(conversation)
        with self.chat.database.write() as session:
            return states.staff_says(session, place, handoff_id, who, event_id, words, self.chat.now)

    def release(self, handoff_id: int, conversation: str = "c") -> bool:
        self.chat.later(0.001)
        with self.chat.database.write() as session:
            return states.release(session, self.place(conversation), handoff_id, staff("bo"), self.chat.now)

    def claimed(self, conversation: str = "c") -> int:
        """A hand-off that Bo has."""
        handoff_id = self.request(conversation).handoff_id
        self.claim(handoff_id, conversation=conversation)
        return handoff_id

    def view(self, handoff_id: int) -> HandoffView:
        with self.chat.database.read() as session:
            return views.handoff_view(session, handoff_id)

    def turns(self) -> list[Turn]:
        with self.chat.database.read() as session:
            return list(session.scalars(select(Turn).order_by(Turn.id)))

    def take(self, most: int = 100) -> list[Taken]:
        with self.chat.database.write() as session:
            return relays.take(session, self.platform, most, self.chat.now)

    def bring(self, taken: Taken, *external_ids: str) -> None:
        """Bring something, in so many messages."""
        with self.chat.database.write() as session:
            relays.note(session, taken, external_ids)
            relays.sent(session, taken)

    def bring_all(self) -> list[Taken]:
        """Bring everything that waits, each as one message named by its id."""
        brought = []
        while due := self.take():
            for taken in due:
                ids = taken.external_ids or (f"m{taken.relay_id}",)
                self.bring(taken, *(ids if taken.words or taken.kind != "words" else ()))
            brought += due
        return brought

    def relays(self) -> list[Relay]:
        with self.chat.database.read() as session:
            return list(session.scalars(select(Relay).order_by(Relay.id)))
