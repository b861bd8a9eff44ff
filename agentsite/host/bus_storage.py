"""What django-eventstream reads: our bus table as its storage, our callers as its channels.

Law: a channel is one audience: the callers of a scope, or staff. A channel's name comes from
who is calling, never from what a request says. What goes out on it is held against the event's
own row once more. Synchronous: for `unit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django_eventstream.channelmanager import ChannelManagerBase
from django_eventstream.event import Event
from django_eventstream.storage import EventDoesNotExist, StorageBase

from agentsite.bus import reading
from agentsite.bus.models import BusEvent
from agentsite.bus.reading import Told

STAFF = "staff"
SCOPE = "scope:"


def scope_channel(scope_id: str) -> str:
    """The channel of a scope's callers."""
    return SCOPE + scope_id


def scope_of(channel: str) -> str | None:
    """The scope whose events a channel carries; None for staff, who see all."""
    return None if channel == STAFF else channel.removeprefix(SCOPE)


@dataclass
class BusItem(Event):  # type: ignore[misc]  # the library has no types
    """The library's value of an event, and whose it is; `data` is a line of JSON."""

    agent: str = ""
    audience: str = ""
    scope_id: str = ""


def to_event(channel: str, told: Told) -> BusItem:
    """An event for a channel."""
    return BusItem(
        channel, told.type, told.data, told.seq, told.agent, told.audience, told.scope_id
    )


def may_hear(channel: str, item: BusItem) -> bool:
    """Whether an event is for a channel, by what stands on its row."""
    scope_id = scope_of(channel)
    if scope_id is None or item.audience == BusEvent.Audience.EVERYONE:
        return True
    return item.audience == BusEvent.Audience.SCOPE and item.scope_id == scope_id


class BusStorage(StorageBase):  # type: ignore[misc]  # the library has no types
    """`EVENTSTREAM_STORAGE_CLASS`: rows are written by the changes themselves."""

    def get_events(self, channel: str, last_id: int, limit: int = 100) -> list[Event]:
        """What follows a number. Raises `EventDoesNotExist` when some of that is gone."""
        reading.number()
        if not reading.is_kept(last_id):
            text = f"what followed event {last_id} is no longer there"
            raise EventDoesNotExist(text, reading.newest())
        return [to_event(channel, each) for each in reading.read(last_id, limit, scope_of(channel))]

    def get_current_id(self, channel: str) -> int:
        """The newest number, whoever may see that event."""
        reading.number()
        return reading.newest()


class BusChannels(ChannelManagerBase):  # type: ignore[misc]  # the library has no types
    """`EVENTSTREAM_CHANNELMANAGER_CLASS`: its users are the channels they were let into."""

    def get_channels_for_request(self, request: HttpRequest, view_kwargs: dict[str, Any]) -> Any:
        """None by itself: `host.bus` names the channel of a caller it has checked."""
        return set()

    def can_read_channel(self, user: Any, channel: str) -> bool:
        """Whether a stream's owner (the channel it was made for) may read this one."""
        return bool(user == channel)

    def is_channel_reliable(self, channel: str) -> bool:
        """Every event has a number and can be read again."""
        return True
