"""Deliveries with the runs they start and the events that tell of them: one statement.

Law: a delivery whose id was here before is not written, and nothing that would follow from it is;
its runs are made out all the same, because only the statement tells which one that is.
Synchronous, where all scopes are acted for. Alone it is a transaction of its own, of one round
trip: on a busy server each further one waits for its turn to go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from agentsite.bus.catalogue import AutomationTriggered, encode, type_of
from agentsite.bus.writing import INTO_BUS
from agentsite.host.clock import new_id
from agentsite.rows.secrets import Sealed
from agentsite.rows.together import fetch
from automations_app import outcomes, starting
from automations_app.events import show_event
from automations_app.models import Automation, AutomationRun
from sessions_app.scopes import read_sealed_of


class Incoming(NamedTuple):
    """A webhook to be stored: its sender is believed, its payload read."""

    automation: Automation
    scope_id: str
    sender_id: str | None
    headers: dict[str, str]
    body: bytes
    event: Any
    shown: str | None
    """The event as prompts of a scope without credentials show it."""
    answer_status: int | None
    """What was answered already."""
    replay_of: int | None = None
    sealed: Sequence[Sealed] | None = None
    """The credentials of its one partition; None when they were not read."""


class Booked(NamedTuple):
    """A delivery that is stored, and its queued runs: one for each partition."""

    inbound_id: int
    runs: tuple[str, ...]


class _Run(NamedTuple):
    place: int
    """Of its delivery."""
    id: str
    scope_id: str
    event: str | None
    """As its scope may show it, where that is not what others are shown."""
    told: str
    """The bus event's data."""


CAUSE, QUEUED = AutomationRun.Cause.WEBHOOK.value, AutomationRun.Status.QUEUED.value
KIND = type_of(AutomationTriggered("", CAUSE, ""))
BOOK = f"""
WITH given AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('automations_app_inbounddelivery', 'id')) AS id, t.*
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::bytea[],
        %s::smallint[], %s::bigint[], %s::text[])
        WITH ORDINALITY
        AS t(automation_id, agent, scope_id, sender_id, headers, body, answer_status, replay_of_id,
            shown, place)
), stored AS (
    INSERT INTO automations_app_inbounddelivery
        (id, automation_id, scope_id, sender_id, headers, body, answer_status, replay_of_id)
    SELECT id, automation_id, scope_id, sender_id, headers, body, answer_status, replay_of_id
    FROM given ORDER BY automation_id, sender_id
    ON CONFLICT (automation_id, sender_id) DO NOTHING RETURNING id
), wanted AS (
    SELECT r.place, r.id, r.scope_id, r.told, coalesce(r.event, given.shown) AS event,
        given.automation_id, given.agent, given.id AS inbound_id
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])
        AS r(place, id, scope_id, event, told)
    JOIN given ON given.place = r.place JOIN stored ON stored.id = given.id
), begun AS (
    INSERT INTO automations_app_automationrun
        (id, automation_id, scope_id, cause, inbound_id, requested_by, request_key, request_hash,
        event, tries, status, claimed_until, session_id, run_id, output, summary, error,
        last_tool_call)
    SELECT id, automation_id, scope_id, '{CAUSE}', inbound_id, %s, '', '',
        event, 1, '{QUEUED}',
        now() + %s::float8 * interval '1 second', '', '', '', '', '', ''
    FROM wanted ORDER BY place
), told AS (
    {INTO_BUS} SELECT 'scope', agent, scope_id, '{KIND}', told
    FROM wanted ORDER BY place
)
SELECT given.place, given.id FROM given JOIN stored ON stored.id = given.id
"""  # noqa: S608 - names of our own
# In order of the unique key: two processes that store the same ones wait for each other in turn.


def book(
    incoming: Sequence[Incoming],
    requested_by: str = "",
    claimed: float | None = outcomes.START_SECONDS,
) -> list[Booked | None]:
    """Store at least one delivery, each with a queued run for each of its partitions; in order.

    None stands for one whose id was here before. For `claimed` seconds the runs are the caller's
    to start; with None they are anybody's. Raises `BadEvent`, and Django's database errors.
    """
    runs = _plan_runs(incoming)
    columns = zip(*(_row(each) for each in incoming), strict=True)
    run_columns = zip(*runs, strict=True) if runs else ((),) * len(_Run._fields)
    given = [*map(list, columns), *map(list, run_columns), requested_by[:200], claimed]
    ids = dict(fetch(BOOK, given))
    begun: dict[int, list[str]] = {}
    for run in runs:
        begun.setdefault(run.place, []).append(run.id)
    return [
        Booked(ids[place], tuple(begun.get(place, ()))) if place in ids else None
        for place in range(1, len(incoming) + 1)
    ]


def _row(each: Incoming) -> tuple[Any, ...]:
    return (
        each.automation.pk,
        each.automation.agent,
        each.scope_id,
        each.sender_id,
        msgspec.json.encode(each.headers).decode(),
        each.body,
        each.answer_status,
        each.replay_of,
        each.shown,
    )


def _plan_runs(incoming: Sequence[Incoming]) -> list[_Run]:
    """The runs, with their events as their own scopes may show them. Raises `BadEvent`."""
    automations = {each.automation.pk: each.automation for each in incoming}
    partitions = {key: starting.partitions_of(each) for key, each in automations.items()}
    sealed = _find_sealed(incoming, partitions)
    runs: list[_Run] = []
    for place, each in enumerate(incoming, 1):
        agent, name = each.automation.agent, each.automation.name
        for scope_id in partitions[each.automation.pk]:
            secrets = sealed.get((agent, scope_id))
            event = show_event(each.event, secrets) if secrets else None
            run_id = new_id("arun")
            told = encode(AutomationTriggered(name, CAUSE, run_id)).decode()
            changed = None if event == each.shown else event  # one text serves many scopes
            runs.append(_Run(place, run_id, scope_id, changed, told))
    return runs


def _find_sealed(
    incoming: Sequence[Incoming], partitions: Mapping[int, Sequence[str]]
) -> dict[tuple[str, str], Sequence[Sealed]]:
    """By agent and scope, the credentials that events must not show."""
    found: dict[tuple[str, str], Sequence[Sealed]] = {}
    unread: list[tuple[str, str]] = []
    for each in incoming:
        if each.shown is None:
            continue
        places = [(each.automation.agent, scope) for scope in partitions[each.automation.pk]]
        if each.sealed is None:
            unread += places
        else:
            found |= dict.fromkeys(places, each.sealed)
    return {**found, **read_sealed_of(unread)}
