"""Calls of connections on behalf of tools: `request`, HTTP tools, chains, `ctx.request`.

Law: one way out for all of them. A call that needs a person runs only in a tool call that a
person approved.
"""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from agentsite.connections.caller import Caller
from agentsite.connections.client import guarded_client
from agentsite.connections.errors import OutboundError, Refused
from agentsite.connections.prepare import Prepared, Wish, prepare
from agentsite.connections.sending import Reply, name_hosts, send
from agentsite.engine.events import FieldsScrubbed
from agentsite.manifest.bundle import Bundle
from agentsite.manifest.connections import Connection, RestSpec
from agentsite.tools.base import ToolContext, ToolError, Wanted, find_many

LEAST_SECONDS = 0.05
MARGIN_SECONDS = 0.1
"""What is left of the tool's time after the request's, to say that it took too long."""
UNAPPROVED = (
    "{method} {endpoint} needs the approval of a person, and this call has none."
    ' Make it with the tool "request", or let tool.json say "confirm": true.'
)


def rest_connections(bundle: Bundle) -> dict[str, tuple[Connection, RestSpec]]:
    """Connections that `request` can call, by name."""
    return {
        each.name: (each, each.spec)
        for each in bundle.connections
        if isinstance(each.spec, RestSpec)
    }


def prepare_wish(bundle: Bundle, wish: Wish, caller: Caller) -> Prepared:
    """Check and compose a call. Raises `Refused`."""
    found = rest_connections(bundle).get(wish.connection)
    if found is None:
        known = ", ".join(sorted(rest_connections(bundle))) or "none"
        raise Refused(f'There is no connection "{wish.connection}". Connections: {known}')
    return prepare(*found, wish, caller)


def find_question(bundle: Bundle, wish: Wish, caller: Caller) -> Wanted | None:
    """What a person is to be asked about a call; None where nobody is, or where it will fail."""
    try:
        prepared = prepare_wish(bundle, wish, caller)
    except Refused:
        return None
    if prepared.decision.tier != "confirm" or find_many(prepared.data):
        return None
    shown: dict[str, Any] = {"path": prepared.route.path, "query": dict(prepared.query)}
    if prepared.data is not None:
        shown["data"] = prepared.data
    return Wanted(
        reason=prepared.decision.reason,
        connection=wish.connection,
        endpoint=prepared.route.path,
        method=wish.method,
        params=shown,
        escalated=prepared.decision.escalated,
    )


async def call_connection(context: ToolContext, wish: Wish, key: str = "") -> dict[str, Any]:
    """Make a call: `{status, data, …}`. Raises `ToolError` with a sentence for the model.

    `key` tells several calls of one tool call apart.
    """
    try:
        prepared = prepare_wish(context.bundle, wish, context.caller)
        if prepared.decision.tier == "confirm":
            _require_approval(prepared, wish, context)
        async with _take_place(context, wish.connection):
            reply = await send(
                *rest_connections(context.bundle)[wish.connection],
                prepared,
                context.caller,
                client=guarded_client(),
                credential=context.open_credential,
                seconds=max(LEAST_SECONDS, context.deadline - time.monotonic() - MARGIN_SECONDS),
                key=f"{context.call_id}{key}",
            )
    except OutboundError as error:
        raise ToolError(str(error), transient=error.transient) from None
    if reply.stripped:
        endpoint = f"{wish.method} {prepared.route.path}"
        context.emit(FieldsScrubbed(wish.connection, endpoint, reply.stripped))
    return _describe(reply, prepared)


def find_host(bundle: Bundle, connection: str) -> str | None:
    """The host of a connection; None where there is no such one, or its address is none."""
    found = rest_connections(bundle).get(connection)
    try:
        return next(iter(name_hosts(found[1]))).host if found else None
    except OutboundError:
        return None


def find_host_rate(bundle: Bundle, connection: str) -> tuple[int, float] | None:
    """How often calls to it may begin: so many in so many seconds."""
    found = rest_connections(bundle).get(connection)
    rate = found[1].rate_limit if found else None
    return (rate.calls, rate.seconds) if rate else None


def _take_place(context: ToolContext, connection: str) -> AbstractAsyncContextManager[None]:
    """A place among the calls to the host, for a call that has none there yet."""
    host = find_host(context.bundle, connection)
    if context.limits is None or host is None or host == context.host:
        return nullcontext()
    patience = max(LEAST_SECONDS, context.deadline - time.monotonic())
    rate = find_host_rate(context.bundle, connection)
    return context.limits.reach(context.agent, host, rate, patience)


def _require_approval(prepared: Prepared, wish: Wish, context: ToolContext) -> None:
    if many := find_many(prepared.data):
        raise Refused(many)
    if not context.approved:
        raise Refused(UNAPPROVED.format(method=wish.method, endpoint=prepared.route.path))


def _describe(reply: Reply, prepared: Prepared) -> dict[str, Any]:
    told: dict[str, Any] = {"status": reply.status, "data": reply.data}
    if reply.stripped:
        told["fields_stripped"] = reply.stripped
        told["restricted_fields"] = list(reply.removed)
        lookups = [
            f"{each.restricted_field}: {each.alternative_endpoint} {each.description}".strip()
            for each in prepared.rules.access.alternative_lookups
            if each.restricted_field in reply.removed
        ]
        if lookups:
            told["alternatives"] = lookups
    if reply.hidden:
        told["rows_hidden"] = reply.hidden
    if reply.labels:
        told["rows"] = ", ".join(reply.labels)
    return told
