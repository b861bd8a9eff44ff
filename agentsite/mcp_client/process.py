"""A server that is a process of ours: one JSON message a line, on its input and output.

Law: the process and all that it started are gone when the block ends, however it ends; a line
has a greatest length; of our environment it sees HOME, PATH and the like, and what is configured.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from agentsite.mcp_client.endpoint import Endpoint
from agentsite.mcp_client.errors import McpError

LONGEST_MESSAGE = 16 * 1024 * 1024
"""Bytes; a picture of the size that results may hold fits several times."""
EXIT_SECONDS = 2.0
"""How long it has to end by itself when its input ends, and again when it is asked to."""
LOOK_SECONDS = 0.02
Received = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Received], MemoryObjectSendStream[SessionMessage]]


@contextlib.asynccontextmanager
async def run_server(
    endpoint: Endpoint, hear: Callable[[str], None], lose: Callable[[], None]
) -> AsyncIterator[Streams]:
    """Start the process. `hear` takes lines of its error output, `lose` is told when it ends.

    Raises OSError when it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        endpoint.command,
        *endpoint.args,
        env=get_default_environment() | dict(endpoint.env),
        cwd=endpoint.folder or None,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
        limit=LONGEST_MESSAGE,
    )
    to_session, received = anyio.create_memory_object_stream[Received](0)
    sent, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, process, to_session, lose)
        tasks.start_soon(_write, process, from_session)
        tasks.start_soon(_listen, process, hear)
        try:
            yield received, sent
        finally:
            with anyio.CancelScope(shield=True):
                sent.close()
                received.close()
                await _end(process)
            tasks.cancel_scope.cancel()


async def _read(
    process: Process, to_session: MemoryObjectSendStream[Received], lose: Callable[[], None]
) -> None:
    output = cast("asyncio.StreamReader", process.stdout)
    try:
        async with to_session:
            while line := await output.readline():
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    continue  # what some servers print when they start
                await to_session.send(SessionMessage(message))
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # the session is over
    except ValueError:
        raise McpError(
            f"it sent a message of more than {LONGEST_MESSAGE // 1_048_576} MB"
        ) from None
    finally:
        lose()


async def _write(process: Process, from_session: MemoryObjectReceiveStream[SessionMessage]) -> None:
    to_server = cast("asyncio.StreamWriter", process.stdin)
    with contextlib.suppress(ConnectionError, RuntimeError):  # it has gone: `_read` tells
        async with from_session:
            async for item in from_session:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                to_server.write(text.encode() + b"\n")
                await to_server.drain()


async def _listen(process: Process, hear: Callable[[str], None]) -> None:
    errors = cast("asyncio.StreamReader", process.stderr)
    while said := await errors.read(8192):
        for line in said.decode(errors="replace").splitlines():
            if line.strip():
                hear(line)


async def _end(process: Process) -> None:
    """Close its input, then ask, then kill; whatever it started goes with it."""
    if process.stdin is not None:
        process.stdin.close()
    if not await _is_over(process):
        _signal(process, signal.SIGTERM)
        await _is_over(process)
    _signal(process, signal.SIGKILL)
    await _is_over(process)
    # A process that left the group may hold the pipes open; nothing public lets go of them.
    transport: Any = getattr(process, "_transport", None)
    if transport is not None:
        with contextlib.suppress(PermissionError):
            transport.close()


async def _is_over(process: Process) -> bool:
    """Whether it ends in time. Not `wait()`: that waits for whoever inherited the pipes."""
    with anyio.move_on_after(EXIT_SECONDS):
        while process.returncode is None:  # noqa: ASYNC110 - there is no event for it
            await anyio.sleep(LOOK_SECONDS)
    return process.returncode is not None


def _signal(process: Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
