"""`manage.py syncconnections`: surfaces brought in line with the APIs' OpenAPI documents."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentsite.connections.caller import Caller
from agentsite.connections.client import GuardedClient, Outbound
from agentsite.connections.credentials import has_no_credentials
from agentsite.connections.errors import OutboundError, Refused
from agentsite.connections.openapi import Operation, find_drift, merge, read_document
from agentsite.connections.prepare import Wish, prepare
from agentsite.connections.sending import send
from agentsite.connections.targets import parse_target
from agentsite.management.commands.validate import choose_folders
from agentsite.manifest.connections import Connection, RestSpec
from agentsite.manifest.env import read_environ
from agentsite.manifest.loader import load
from agentsite.manifest.problems import ManifestError

LARGEST_DOCUMENT = 20_000_000
SECONDS = 30.0


class Command(BaseCommand):
    """Writes `surface.md`; with --check it only compares, with --test it tries credentials."""

    help = "Import the OpenAPI documents of connections (specUrl) into their surface.md."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """The folder, and what to do."""
        parser.add_argument("folder", nargs="?", type=Path, help="folder with an amodal.json")
        parser.add_argument(
            "--check", action="store_true", help="write nothing; exit with 1 where they differ"
        )
        parser.add_argument(
            "--test", action="store_true", help="call each testPath with its credentials"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Go through all connections of each agent."""
        sound = True
        for folder in choose_folders(options["folder"]):
            try:
                bundle = load(folder, read_environ())
            except ManifestError as error:
                raise CommandError(f"{folder} cannot be loaded:\n{error}") from error
            for connection in bundle.connections:
                if isinstance(connection.spec, RestSpec):
                    place = folder / "connections" / connection.name / "surface.md"
                    sound &= self.sync(connection, connection.spec, place, **_pick(options))
        if not sound:
            raise CommandError("Not everything is as it should be.")

    def sync(
        self, connection: Connection, spec: RestSpec, place: Path, *, check: bool, test: bool
    ) -> bool:
        """Bring one connection in line; returns whether it was, or is now."""
        if test:
            return self.try_out(connection, spec)
        if spec.spec_url is None:
            self.stdout.write(f"{connection.name}: no specUrl")
            return True
        try:
            operations = asyncio.run(_fetch(spec.spec_url))
        except OutboundError as error:
            self.stdout.write(self.style.ERROR(f"{connection.name}: {error}"))
            return False
        drift = find_drift(connection.surface, operations)
        for sign, keys in (("+", drift.added), ("-", drift.gone)):
            for key in keys:
                self.stdout.write(f"{connection.name}: {sign} {key}")
        if not drift:
            self.stdout.write(f"{connection.name}: {len(operations)} endpoints, as told")
            return True
        if check:
            return False
        if not place.parent.is_dir():
            self.stdout.write(self.style.ERROR(f"{connection.name}: belongs to a package"))
            return False
        place.write_text(merge(connection.surface, operations, spec.filter), encoding="utf-8")
        self.stdout.write(self.style.SUCCESS(f"{connection.name}: surface.md written"))
        return True

    def try_out(self, connection: Connection, spec: RestSpec) -> bool:
        """Call the testPath of a connection; returns whether it answers well."""
        if spec.test_path is None:
            self.stdout.write(f"{connection.name}: no testPath")
            return True
        try:
            status = asyncio.run(_call_test_path(connection, spec, spec.test_path))
        except OutboundError as error:
            self.stdout.write(self.style.ERROR(f"{connection.name}: {error}"))
            return False
        self.stdout.write(f"{connection.name}: status {status}")
        return status < 400


def _pick(options: dict[str, Any]) -> dict[str, bool]:
    return {"check": options["check"], "test": options["test"]}


async def _fetch(url: str) -> tuple[Operation, ...]:
    client = GuardedClient()
    try:
        named = frozenset((parse_target(url).origin,))
        answer = await client.send(
            Outbound(url=url, named=named, seconds=SECONDS, max_bytes=LARGEST_DOCUMENT)
        )
    finally:
        await client.close()
    if answer.status != 200:
        raise Refused(f"specUrl answered with status {answer.status}.")
    return read_document(answer.body)


async def _call_test_path(connection: Connection, spec: RestSpec, path: str) -> int:
    client = GuardedClient()
    caller = Caller(read_only=True)
    prepared = prepare(connection, spec, Wish(connection.name, "GET", path), caller)
    try:
        reply = await send(
            connection,
            spec,
            prepared,
            caller,
            client=client,
            credential=has_no_credentials,
            seconds=SECONDS,
            key=f"test-{time.time_ns()}",
        )
    finally:
        await client.close()
    return reply.status
