"""`ctx` of a handler: what an agent's own tool may reach.

Law: usable from the loop and from a thread alike; nothing but the names in
tool.json's `env` is readable from the environment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec

from agentsite.tools.base import ToolContext
from agentsite.tools.results import ToolError, clean
from agentsite.tools.store_access import store_for_handler
from agentsite.tools.threads import post

LOG_CHARS = 10_000
PROGRESS_BYTES = 100_000


class HandlerContext:
    """The second argument of `handle(params, ctx)`."""

    def __init__(
        self,
        context: ToolContext,
        environment: Mapping[str, str | None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._context = context
        self._environment = environment
        self._loop = loop
        self.user = context.user
        """What is known of the caller; empty for automations."""
        self.scope_id = context.scope_id
        self.session_id = context.session_id
        self.call_id = context.call_id
        """Constant over retries: usable as an idempotency key."""
        self.deadline = context.deadline
        """`time.monotonic()` seconds; at this moment the call is cancelled."""

    def env(self, name: str) -> str | None:
        """A variable that tool.json's `env` names; None when it is not set."""
        if name not in self._environment:
            raise ToolError(f'The tool may not read {name}: add it to "env" in its tool.json.')
        return self._environment[name]

    def progress(self, data: Any) -> None:
        """Show an intermediate state to the clients: any JSON value up to 100 KB."""
        try:
            encoded = msgspec.json.encode(data)
        except (TypeError, ValueError, RecursionError) as error:
            raise ToolError(f"The progress reported is not JSON: {error}") from error
        if len(encoded) > PROGRESS_BYTES:
            raise ToolError(f"A progress report has at most {PROGRESS_BYTES:,} bytes.")
        plain = msgspec.json.decode(encoded)
        self._send(lambda: self._context.progress(plain))

    emit = progress

    def log(self, message: object) -> None:
        """Write a line that clients show beside the call."""
        text = str(message)[:LOG_CHARS]
        self._send(lambda: self._context.log(text))

    def set_label(self, running: str | None = None, completed: str | None = None) -> None:
        """Replace what clients show while the call runs, or afterwards."""
        running, completed = running and clean(running), completed and clean(completed)
        self._send(lambda: self._context.set_label(running, completed))

    async def request(self, *_args: Any, **_options: Any) -> NoReturn:
        """Call a connection."""
        raise ToolError("ctx.request is not supported yet: this server has no connections.")

    async def store(
        self, name: str, payload: dict[str, Any], *, if_version: int | None = None
    ) -> dict[str, Any]:
        """Put a document into a store of the agent: `{stored, key, version, previousVersion?}`.

        Raises `ToolError` that says what does not fit. `if_version` must be the newest version.
        """
        return await store_for_handler(self._context, name, payload, if_version)

    async def exec(self, *_args: Any, **_options: Any) -> NoReturn:
        """Run a command in the sandbox."""
        raise ToolError("ctx.exec is not supported yet: this server has no sandbox.")

    def _send(self, work: Callable[[], None]) -> None:
        try:
            on_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:  # a thread without a loop
            on_loop = False
        if on_loop:
            work()
        else:
            post(self._loop, work)
