"""The web process: uvicorn on a socket that it inherits.

Law: SIGTERM gives open answers their grace, SIGINT two seconds. The signals are not repeated
after uvicorn's own shutdown, as it would do, because our clean-up comes after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn
from django.conf import settings
from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries
from django.urls import get_resolver

GRACE_IN_TERMINAL = 2
"""Seconds that open answers get after Ctrl-C."""
SWITCH_SECONDS = 0.0005
"""How long a thread may keep the event loop from going on (Python's default is 5 ms)."""
MEMORY_OPTIONS = ((-3, 1024 * 1024), (-8, 2))
"""glibc: what is larger than a megabyte goes back to the system at once (M_MMAP_THRESHOLD), and
all threads share two heaps (M_ARENA_MAX). Memory stays what it was after large messages."""
COLLECT_AFTER = (10_000, 5, 5)
"""Thresholds of the garbage collector: deltas are many, and none of them is part of a cycle."""

LET_GO = (close_caches, close_old_connections)
"""Django's own receivers of `request_finished`."""


class Server(uvicorn.Server):
    """uvicorn, saying when it is ready and telling the application when the end begins."""

    ready: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the views, which the first request would wait for; start; say so on the pipe."""
        get_resolver().url_patterns  # noqa: B018 - a property that imports
        await super().startup(sockets)
        settle_down()
        if self.started and self.ready is not None:
            os.write(self.ready, b"1")
            os.close(self.ready)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the application first: it ends its streams instead of being waited for."""
        from agentsite.asgi import application

        application.announce_stop(self.config.timeout_graceful_shutdown or 0)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal starts the stop; Ctrl-C shortens the grace."""
        if sig == signal.SIGINT:
            self.config.timeout_graceful_shutdown = GRACE_IN_TERMINAL
        self.should_exit = True


def settle_down() -> None:
    """Set Python up for many small pieces of work, once everything is loaded.

    What is loaded stays for ever: frozen, it is not looked through again by each collection,
    which would stop all streams for a tenth of a second. Django's receivers of `request_started`
    are synchronous, which costs each request a thread for as long as it streams; without DEBUG
    and with a pool they have nothing to do.
    """
    if not settings.DEBUG:
        request_started.disconnect(reset_queries)
        request_started.disconnect(close_old_connections)
    for receiver in LET_GO:
        request_finished.disconnect(receiver)
    request_finished.connect(let_go)
    with contextlib.suppress(AttributeError, OSError):  # another C library has other ways
        c_library = ctypes.CDLL(None)
        for option, value in MEMORY_OPTIONS:
            c_library.mallopt(option, value)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*COLLECT_AFTER)
    gc.collect()
    gc.freeze()


def let_go(**signal: Any) -> None:
    """Give back what a request has left on its thread; none of the event loop's leaves anything."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        for receiver in LET_GO:
            receiver(**signal)


def serve(listening: socket.socket, ready: int | None) -> int:
    """Serve until a signal; 0 after an orderly end, 1 when the application did not start."""
    config = uvicorn.Config(
        "agentsite.asgi:application",
        loop="uvloop", http="httptools", ws="none", lifespan="on",
        timeout_graceful_shutdown=settings.SHUTDOWN_GRACE_SECONDS,
        proxy_headers=settings.TRUST_PROXY, server_header=False,
        log_config=None, access_log=False,
    )  # fmt: skip
    server = Server(config)
    server.ready = ready
    server.run([listening])
    return 0 if server.started else 1
