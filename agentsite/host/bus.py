"""The event bus as streams: rows become events of django-eventstream's listeners.

Law: one reader per process follows the table and feeds the library's listener manager; a
stream reads rows only to catch up, and holds no connection while it waits. Its queue is
bounded (the library's ten): who does not keep up reads on from the table.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from django.conf import settings
from django.db import Error as DatabaseError
from django_eventstream.eventrequest import EventRequest
from django_eventstream.eventstream import get_events
from django_eventstream.views import Listener, get_listener_manager

from agentsite.bus import reading
from agentsite.bus.models import BusEvent
from agentsite.bus.reading import Told
from agentsite.engine.transcript import timestamp
from agentsite.host.bus_storage import SCOPE, STAFF, BusItem, may_hear, scope_channel, to_event
from agentsite.host.clock import now_ms
from agentsite.host.wire import KEEPALIVE
from agentsite.rows.tenancy import act_for_all, acting_for_all
from agentsite.rows.units import unit

logger = logging.getLogger(__name__)

STEP = 500
PAUSE_SECONDS = 0.02
"""Between two looks at the table: changes that come in a crowd are read together."""
RETRY_SECONDS = 1.0


class Bus:
    """This process's reader of the bus."""

    def __init__(self) -> None:
        self.closed = False
        self.streams: set[BusStream] = set()
        self._seq: int | None = None
        """Last number that was fed; None while nobody listens."""
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something was committed, here or elsewhere."""
        if self.streams:
            self._wake.set()

    def close(self) -> None:
        """End all streams; their readers go on at another process."""
        self.closed = True
        for stream in self.streams:
            stream.wake()

    async def attend(self) -> None:
        """See to it that what is numbered from now on is fed; before a stream reads rows."""
        if self._seq is None:
            with acting_for_all("numbers of the bus are everybody's"):
                newest = await unit(reading.newest)
            if self._seq is None:
                self._seq = newest

    async def feed_for_ever(self) -> None:
        """Feed the listeners whenever something was committed."""
        act_for_all("one reader feeds the listeners of every scope")
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._feed()
            except DatabaseError as error:
                logger.warning("the event bus could not be read, trying again: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _feed(self) -> None:
        while self.streams and self._seq is not None:
            found = await unit(_number_and_read, self._seq)
            for told in found:
                self._seq = told.seq
                _give(told)
            if len(found) < STEP:
                return
        if not self.streams:
            self._seq = None


def _number_and_read(after: int) -> list[Told]:
    reading.number()
    return reading.read(after, STEP, None)


def _give(told: Told) -> None:
    """Hand an event to all who may see it."""
    manager = get_listener_manager()
    channels = {STAFF}
    if told.audience == BusEvent.Audience.SCOPE:
        channels.add(scope_channel(told.scope_id))
    elif told.audience == BusEvent.Audience.EVERYONE:
        channels.update(name for name in manager.listeners_by_channel if name.startswith(SCOPE))
    for channel in channels:
        manager.add_to_queues(channel, to_event(channel, told))


class BusStream:
    """One reader's place on the bus."""

    def __init__(
        self,
        bus: Bus,
        channel: str,
        after: int | None,
        keepalive: float,
        agents: tuple[str, ...] = (),
    ) -> None:
        """`agents`: those of which the reader may hear; empty: all."""
        self._bus = bus
        self._channel = channel
        self._seq = after
        self._keepalive = keepalive
        self._agents = agents
        self._listener = Listener()
        self._listener.channels = {channel}
        self._listener.assign_loop()
        get_listener_manager().add_listener(self._listener)
        bus.streams.add(self)

    def close(self) -> None:
        """Safe before the first frame, and more than once."""
        if self in self._bus.streams:
            self._bus.streams.discard(self)
            get_listener_manager().remove_listener(self._listener)

    def wake(self) -> None:
        """Look whether the bus was closed."""
        self._listener.aevent.set()

    async def frames(self) -> AsyncIterator[bytes]:
        """What follows the reader's number, or this moment; keepalive comments in between."""
        try:
            await self._bus.attend()
            async for data in self._catch_up(opening=True):
                yield data
            begun = last_sent = time.monotonic()
            ends = begun + settings.STREAM_SECONDS  # who comes back is checked again
            while not self._bus.closed and time.monotonic() < ends:
                look_at = min(last_sent + self._keepalive, ends)
                items, overflow = await self._wait(look_at - time.monotonic())
                sent = False
                if overflow:
                    async for data in self._catch_up():
                        sent = True
                        yield data
                elif data := self._encode(items):
                    sent = True
                    yield data
                if not sent and time.monotonic() - last_sent >= self._keepalive:
                    sent = True
                    yield KEEPALIVE
                if sent:
                    last_sent = time.monotonic()
        finally:
            self.close()

    async def _wait(self, seconds: float) -> tuple[list[BusItem], bool]:
        """Events that were queued, and whether there was no room for more."""
        listener = self._listener
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await listener.aevent.wait()
        except TimeoutError:
            return [], False
        with get_listener_manager().lock:
            listener.aevent.clear()
            items = listener.channel_items.get(self._channel, [])
            overflow = listener.overflow
            listener.channel_items, listener.overflow = {}, False
        return items, overflow

    async def _catch_up(self, *, opening: bool = False) -> AsyncIterator[bytes]:
        """Read rows until there are no more; the first answer says where the reader stands."""
        request = EventRequest()
        request.channels, request.user = {self._channel}, self._channel
        request.is_next = request.is_recover = False
        more = True
        while more:
            if self._seq is not None:
                request.channel_last_ids = {self._channel: self._seq}
            with acting_for_all(
                "numbers of the bus are everybody's; its rows are read as the scope"
            ):
                found = await unit(get_events, request)
            stands_at = int(found.channel_last_ids[self._channel])
            more = bool(found.channel_more)
            if self._channel in found.channel_reset:
                self._seq = stands_at
                yield _tell_place("stream-reset", stands_at)
            elif opening:
                self._seq = stands_at if self._seq is None else self._seq
                yield _tell_place("stream-open", self._seq)
            opening = False
            if data := self._encode(found.channel_items[self._channel]):
                yield data

    def _encode(self, items: list[BusItem]) -> bytes:
        frames = []
        for item in items:
            seq = int(item.id or 0)
            if self._seq is None or seq > self._seq:  # else the table has told it already
                self._seq = seq
                wanted = not self._agents or item.agent in self._agents
                if wanted and may_hear(self._channel, item):
                    frames.append(_frame(seq, item.type, str(item.data)))
        return "".join(frames).encode()


def _tell_place(name: str, seq: int) -> bytes:
    """Where a stream begins, so that who comes back before the first event misses nothing."""
    at = timestamp(now_ms())
    return _frame(seq, name, f'{{"type":"{name}","seq":{seq},"timestamp":"{at}"}}').encode()


def _frame(seq: int, name: str, line: str) -> str:
    """In the order that all our streams have; the names and the JSON are our own."""
    return f"id: {seq}\nevent: {name}\ndata: {line}\n\n"
