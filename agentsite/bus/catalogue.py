"""Every event of the bus and what it carries: the one table, for code and documentation.

Law: facts and ids, never what people or models said, but for a session's title. On the wire
each also has `appId`, `scope_id` (where it has a scope), `seq` and `timestamp`.
"""

from __future__ import annotations

from typing import get_args

import msgspec


class _Event(
    msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", tag_field="type", tag=None
):
    """What all have in common: their names in JSON."""


class SessionCreated(_Event, frozen=True, tag="session_created"):
    """A conversation has begun."""

    session_id: str
    status: str = ""


class SessionUpdated(_Event, frozen=True, tag="session_updated"):
    """Its status, title, tags or metadata changed; what is absent stayed as it was."""

    session_id: str
    status: str = ""
    title: str | None = None


class SessionDeleted(_Event, frozen=True, tag="session_deleted"):
    """A conversation and all of its events are gone."""

    session_id: str


class RunStarted(_Event, frozen=True, tag="run_started"):
    """A run of a session works; for one from the queue, when its turn has come."""

    run_id: str
    session_id: str


class RunFinished(_Event, frozen=True, tag="run_finished"):
    """A run has ended; `reason` is that of its `done`."""

    run_id: str
    session_id: str
    reason: str


class InteractionOpened(_Event, frozen=True, tag="interaction_opened"):
    """A person is asked; `kind` is `confirmation`, `ask_user` or `ask_choice`."""

    interaction_id: str
    session_id: str
    run_id: str
    kind: str


class InteractionClosed(_Event, frozen=True, tag="interaction_closed"):
    """`status`: `approved`, `denied`, `answered`, `expired` or `withdrawn`."""

    interaction_id: str
    session_id: str
    run_id: str
    status: str


class StoreUpdated(_Event, frozen=True, tag="store_updated"):
    """Documents changed; `operation` is `put`, `delete` or `batch`. `key` of a single one."""

    store_name: str
    operation: str
    key: str = ""
    count: int = 1


class MemoryUpdated(_Event, frozen=True, tag="memory_updated"):
    """An entry was added, merged into or removed: `operation` `add`, `merge` or `remove`."""

    operation: str
    entry_id: str


class AutomationTriggered(_Event, frozen=True, tag="automation_triggered"):
    """A run of an automation is wanted; `source` is `cron`, `webhook`, `manual` or `retry`."""

    name: str
    source: str
    automation_run_id: str


class AutomationCompleted(_Event, frozen=True, tag="automation_completed"):
    """A run of an automation succeeded."""

    name: str
    automation_run_id: str
    session_id: str
    duration_ms: int


class AutomationFailed(_Event, frozen=True, tag="automation_failed"):
    """A run of an automation failed; `error` is the code of why."""

    name: str
    automation_run_id: str
    session_id: str
    duration_ms: int
    error: str


class AutomationStarted(_Event, frozen=True, tag="automation_started"):
    """An automation that was paused is on again; `intervalMs` lies between its next due times."""

    name: str
    interval_ms: int = 0


class AutomationStopped(_Event, frozen=True, tag="automation_stopped"):
    """An automation was paused."""

    name: str


class ManifestChanged(_Event, frozen=True, tag="manifest_changed"):
    """An agent's new version serves from now on."""

    version: str
    hash: str


class ManifestFailed(_Event, frozen=True, tag="manifest_failed"):
    """An edit of an agent has errors, and its last good version serves on. Staff only."""

    problem: str


class FilesChanged(_Event, frozen=True, tag="files_changed"):
    """A tool wrote or deleted a file of the agent, or an accepted proposal did. Staff only."""

    path: str


class AlertRaised(_Event, frozen=True, tag="alert_raised"):
    """Operators should look at something: `kind` says what, `level` how urgent. Staff only."""

    alert_id: str
    kind: str
    level: str
    title: str


class _Delivered(_Event, frozen=True):
    automation: str
    delivery_id: str
    target_type: str
    duration_ms: int
    target_url: str = ""
    http_status: int | None = None


class DeliverySucceeded(_Delivered, frozen=True, tag="delivery_succeeded"):
    """A result or alert of an automation arrived. `targetUrl` has no path. Staff only."""


class DeliveryFailed(_Delivered, frozen=True, tag="delivery_failed", kw_only=True):
    """The last of its `attempts` failed; it is a dead letter now. Staff only."""

    error: str
    attempts: int


AnyBusEvent = (
    SessionCreated
    | SessionUpdated
    | SessionDeleted
    | RunStarted
    | RunFinished
    | InteractionOpened
    | InteractionClosed
    | StoreUpdated
    | MemoryUpdated
    | AutomationTriggered
    | AutomationCompleted
    | AutomationFailed
    | AutomationStarted
    | AutomationStopped
    | ManifestChanged
    | ManifestFailed
    | FilesChanged
    | AlertRaised
    | DeliverySucceeded
    | DeliveryFailed
)
CATALOGUE: dict[str, type[msgspec.Struct]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(AnyBusEvent)
}

encode = msgspec.json.Encoder().encode


def type_of(event: AnyBusEvent) -> str:
    """The event's name on the wire."""
    return str(event.__struct_config__.tag)


def describe(name: str) -> str:
    """The event's sentence and fields, for people."""
    kind = CATALOGUE[name]
    fields = ", ".join(f"`{each.encode_name}`" for each in msgspec.structs.fields(kind))
    return f"{fields}. {(kind.__doc__ or '').strip()}"
