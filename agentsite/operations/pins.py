"""Verbs on pinned tools: what a listing says is compared with what was accepted.

Law: the first version of a tool that is met is accepted, any other waits until a person says
so. Two processes that list at once agree, because the database holds one first version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from agentsite.operations.audit import record
from agentsite.operations.models import McpServer, PinnedTool

Status = PinnedTool.Status


class ToolVersion(msgspec.Struct, frozen=True):
    """A tool as a server lists it, or as it was listed."""

    name: str
    digest: str
    description: str
    parameters: dict[str, Any]
    annotations: dict[str, Any] = {}


class Met(msgspec.Struct, frozen=True):
    """What a server said of itself."""

    protocol: str
    software: str


def record_listing(
    agent: str, server: str, met: Met, tools: Sequence[ToolVersion], *, common: bool
) -> frozenset[tuple[str, str]]:
    """Note what a server lists; which (tool, digest) of it may be used.

    `common`: the listing is the same for every scope, and older versions are not listed
    any more. Synchronous: for `unit`.
    """
    with transaction.atomic():
        row, _ = McpServer.objects.update_or_create(
            agent=agent,
            name=server,
            defaults={
                "protocol": met.protocol[:40],
                "software": met.software[:300],
                "listed_at": Now(),
                "problem": "",
            },
        )
        pinned = PinnedTool.objects.filter(server=row)
        digests = [tool.digest for tool in tools]
        versions = PinnedTool.objects.bulk_create
        versions([_row(row, tool, first=True) for tool in tools], ignore_conflicts=True)
        versions([_row(row, tool, first=False) for tool in tools], ignore_conflicts=True)
        if common:
            pinned.filter(listed=True).exclude(digest__in=digests).update(listed=False)
        pinned.filter(listed=False, digest__in=digests).update(listed=True)
        accepted = pinned.filter(status=Status.ACCEPTED, digest__in=digests)
        return frozenset(accepted.values_list("tool", "digest"))


def record_problem(agent: str, server: str, problem: str) -> None:
    """Note why a server could not be reached. Synchronous: for `unit`."""
    McpServer.objects.update_or_create(
        agent=agent, name=server, defaults={"problem": problem[:2000], "problem_at": Now()}
    )


def list_accepted(agent: str) -> dict[str, tuple[ToolVersion, ...]]:
    """By server, the accepted tools of the newest listing that all scopes share.

    A server that was never listed is not among them. Synchronous: for `unit`.
    """
    listed = McpServer.objects.filter(agent=agent, listed_at__isnull=False)
    found: dict[str, list[ToolVersion]] = {
        name: [] for name in listed.values_list("name", flat=True)
    }
    rows = PinnedTool.objects.filter(
        server__agent=agent, server__name__in=found, listed=True, status=Status.ACCEPTED
    )
    for row in rows.select_related("server").order_by("tool", "pk"):
        found[row.server.name].append(_version(row))
    return {name: tuple(versions) for name, versions in found.items()}


def is_accepted(agent: str, server: str, tool: str, digest: str) -> bool:
    """Whether this version of a tool may be used now. Synchronous: for `unit`."""
    return PinnedTool.objects.filter(
        server__agent=agent, server__name=server, tool=tool, digest=digest, status=Status.ACCEPTED
    ).exists()


def read_annotations(agent: str, server: str) -> Mapping[str, Mapping[str, Any]]:
    """What the accepted, listed tools of a server say of their effects, by tool."""
    rows = PinnedTool.objects.filter(
        server__agent=agent, server__name=server, listed=True, status=Status.ACCEPTED
    )
    return {name: json.loads(text) for name, text in rows.values_list("tool", "annotations")}


def decide(versions: QuerySet[PinnedTool], status: str, staff: str) -> int:
    """Accept or refuse versions; how many that changed."""
    with transaction.atomic():
        changed = versions.exclude(status=status).select_for_update()
        keys = []
        for row in changed.select_related("server"):
            keys.append(row.pk)
            told = {"version": row.digest, "before": {"status": row.status}}
            name = f"{row.server}: {row.tool}"
            record(staff, f"tool.{status}", name, {**told, "after": {"status": status}})
        return PinnedTool.objects.filter(pk__in=keys).update(
            status=status, decided_at=Now(), decided_by=staff
        )


def _row(server: McpServer, tool: ToolVersion, *, first: bool) -> PinnedTool:
    return PinnedTool(
        server=server,
        tool=tool.name,
        digest=tool.digest,
        description=tool.description,
        parameters=json.dumps(tool.parameters, ensure_ascii=False),
        annotations=json.dumps(tool.annotations, ensure_ascii=False),
        status=Status.ACCEPTED if first else Status.WAITING,
        first=first,
    )


def _version(row: PinnedTool) -> ToolVersion:
    return ToolVersion(
        row.tool,
        row.digest,
        row.description,
        json.loads(row.parameters),
        json.loads(row.annotations),
    )
