"""Sends a prepared call and gives back what the caller may see of the answer.

Law: nothing is sent that the rules do not allow; nothing comes back before restricted
fields and foreign rows are out. Where the answer cannot be read, it is withheld.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from agentsite.connections.access import ORDER, decide, explain
from agentsite.connections.caller import Caller
from agentsite.connections.client import GuardedClient, Inbound, Outbound
from agentsite.connections.credentials import Credential, resolve
from agentsite.connections.errors import Refused
from agentsite.connections.fieldnames import fold_base
from agentsite.connections.fields import begin_scrubbing, refuse_probing
from agentsite.connections.headers import fold_header
from agentsite.connections.injection import check_path
from agentsite.connections.prepare import Prepared
from agentsite.connections.routes import fold, read_path
from agentsite.connections.rows import RowFiltering
from agentsite.connections.targets import Origin, Target, parse_target
from agentsite.engine.redaction import Redactor
from agentsite.manifest.connections import Connection, RestSpec

LARGEST_ANSWER = 5_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as the caller may see it."""

    status: int
    data: Any
    stripped: int = 0
    """Fields taken out or blacked out."""
    removed: tuple[str, ...] = ()
    """Their names, as `Entity.field`."""
    hidden: int = 0
    """Rows of others."""
    labels: tuple[str, ...] = ()
    """What the rows that are shown are: "your deals"."""


def name_hosts(spec: RestSpec) -> frozenset[Origin]:
    """The hosts that a connection's file names."""
    return frozenset((parse_target(spec.base_url.replace("{", "").replace("}", "")).origin,))


async def send(
    connection: Connection,
    spec: RestSpec,
    prepared: Prepared,
    caller: Caller,
    *,
    client: GuardedClient,
    credential: Credential,
    seconds: float,
    key: str,
) -> Reply:
    """Send what was prepared, if the rules do not refuse it; `key` makes a repetition known.

    Whoever calls has the approval of a person where the decision's tier is `confirm`.
    Raises `OutboundError`; its text may be shown.
    """
    if prepared.decision.tier in ("review", "never"):
        raise Refused(explain(prepared.decision))
    refuse_probing(prepared, caller)
    rows = RowFiltering(prepared, caller)
    scrubbing = begin_scrubbing(prepared, caller)
    credentials = await resolve(connection.name, spec, credential)
    own = {fold_header(name) for name in credentials.headers}
    headers = {k: v for k, v in prepared.headers.items() if fold_header(k) not in own}
    if prepared.method in ("POST", "PATCH"):
        headers["idempotency-key"] = key
    answer = await client.send(
        Outbound(
            url=prepared.url,
            method=prepared.method,
            headers={"accept": "application/json", **headers, **credentials.headers},
            body=prepared.body,
            named=name_hosts(spec),
            seconds=seconds,
            max_bytes=LARGEST_ANSWER,
            check=lambda target: _check_hop(target, prepared, caller),
        )
    )
    data, is_json = _read(answer)
    if not is_json and answer.body and (rows.scoped or scrubbing.restrictions):
        raise Refused(
            "The answer is not JSON, so what the caller may not see could not be taken out of it."
        )
    data = scrubbing.scrub(rows.filter(data)) if is_json else data
    return Reply(
        answer.status,
        Redactor(credentials.secrets).value(data),
        scrubbing.stripped,
        tuple(sorted(scrubbing.removed)),
        rows.hidden,
        tuple(sorted(rows.labels)),
    )


def _check_hop(target: Target, prepared: Prepared, caller: Caller) -> None:
    """A redirect within the connection obeys the same rules; one that leaves it goes bare."""
    first = parse_target(prepared.url)
    if target.origin != first.origin:
        return
    segments = [part for part in target.path.split("/") if part]
    base = prepared.rules.base
    if tuple(fold(part) for part in segments[: len(base)]) != base:
        raise Refused("The server redirects out of the connection's base address.")
    route = read_path("/" + "/".join(segments[len(base) :]))
    check_path(route, prepared.in_base, prepared.injected, prepared.templates, base)
    query = [(name, value) for name, value in target.url.query.items()]
    for name, value in query:
        if fold_base(name) in prepared.injected.reserved and value not in set(
            prepared.injected.query.values()
        ):
            raise Refused("The server redirects to the data of another scope.")
    again = decide(prepared.rules, prepared.method, route, dict(query), prepared.data, caller)
    if ORDER.index(again.tier) > ORDER.index(prepared.decision.tier):
        raise Refused(explain(again))
    known = set(map(id, prepared.decision.rules))
    if prepared.rules.access.row_scoping and {id(rule) for rule in again.rules} - known:
        raise Refused("The server redirects to an endpoint that returns other rows.")


def _read(answer: Inbound) -> tuple[Any, bool]:
    """The body as a value, and whether it is JSON."""
    if not answer.body:
        return None, True
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        text = answer.body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return f"[binary answer: {kind or 'unknown type'}, {len(answer.body):,} bytes]", False
    try:
        return json.loads(text), True
    except (ValueError, RecursionError):
        return text, False
