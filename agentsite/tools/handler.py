"""`ctx` of a handler: what an agent's own tool may reach.

Law: usable from the loop and from a thread alike; nothing but the names in
tool.json's `env` is readable from the environment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import msgspec

from agentsite.connections.prepare import Wish
from agentsite.tools.base import ToolContext
from agentsite.tools.connections import call_connection
from agentsite.tools.results import ToolError, clean
from agentsite.tools.sandboxed import block_of, run_shell
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
        self._requests = 0
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

    async def request(
        self,
        connection: str,
        endpoint: str,
        options: Mapping[str, Any] | None = None,
        *,
        method: str = "GET",
        params: Mapping[str, Any] | None = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Call a connection under its own rules: `{status, data, …}`.

        `options` holds the keyword arguments, where a mapping is handier. What would ask a
        person is done only if tool.json has `confirm` and a person approved this call.
        Raises `ToolError`.
        """
        given = dict(options or {})
        wish = Wish(
            connection=connection,
            endpoint=endpoint,
            method=str(given.get("method", method)).upper(),
            params=given.get("params", params) or {},
            data=given.get("data", data),
            headers=given.get("headers", headers) or {},
        )
        self._requests += 1
        key = f"_{self._requests}"
        return await self._on_server(call_connection(self._context, wish, key=key))

    async def store(
        self, name: str, payload: dict[str, Any], *, if_version: int | None = None
    ) -> dict[str, Any]:
        """Put a document into a store of the agent: `{stored, key, version, previousVersion?}`.

        Raises `ToolError` that says what does not fit. `if_version` must be the newest version.
        """
        return await store_for_handler(self._context, name, payload, if_version)

    async def exec(self, command: str, timeout: float | None = None) -> dict[str, Any]:  # noqa: ASYNC109 - the sandbox ends it
        """Run a shell command in the sandbox: `{exitCode, stdout, stderr}`.

        `timeout` is seconds; `ended` tells why a command was cut short. Raises `ToolError`
        unless amodal.json says `"sandbox": {"shellExec": true}`.
        """
        if not block_of(self._context.bundle).shell_exec:
            raise ToolError('ctx.exec needs "sandbox": {"shellExec": true} in amodal.json.')
        return await self._on_server(self._run_in_place(command, timeout))

    async def _on_server(self, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        """Do it on the server's loop, which gives out places, for a thread with its own, too."""
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _run_in_place(self, command: str, seconds: float | None) -> dict[str, Any]:
        limits = self._context.limits
        patience = max(0.0, self.deadline - time.monotonic())
        place: AbstractAsyncContextManager[None] = (
            limits.sandbox(patience) if limits else nullcontext()
        )
        async with place:
            return await run_shell(self._context.bundle, command, seconds)

    def _send(self, work: Callable[[], None]) -> None:
        try:
            on_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:  # a thread without a loop
            on_loop = False
        if on_loop:
            work()
        else:
            post(self._loop, work)
