"""What a server asks of the database on a scope's behalf, read from the database's own log.

How to: `with fresh_database(postgres) as address: log_statements(address)`, then start a
`Server(address, folder, …)`; `Statements(address)` tells what it sent for a scope since `mark()`.
Law: nothing of the program takes part in the counting.
"""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

LINE = re.compile(r"\S+ \S+ \S+ \[(\d+)\] (?:LOG:  (?:statement|execute [^:]*)|DETAIL): (.*)")
BEGINS = re.compile(r"BEGIN.*SET LOCAL agentsite\.scope = 's:(.*)'$")
ENTERS = re.compile(rf" ?Parameters: \$1 = '{settings.DATABASE_TENANT_ROLE}', \$2 = 's:(.*)'$")
"""The same in a pipeline: the values of the statement that names role and scope."""


def log_statements(address: str) -> None:
    """Have every connection made to this database from now on log what it is asked."""
    name = conninfo_to_dict(address)["dbname"]
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE \"{name}\" SET log_statement = 'all'".encode())


class Statements:
    """The log of the server that a database is on; scopes have to be a test's own."""

    def __init__(self, address: str) -> None:
        with psycopg.connect(address) as asking:
            # Whatever it is called and wherever it lies: it is where the server writes.
            self._file = Path(f"/proc/{asking.info.backend_pid}/fd/2").readlink()

    def mark(self) -> int:
        """Where the log ends now."""
        return self._file.stat().st_size

    def of_scope(self, scope_id: str, since: int) -> list[str]:
        """What was sent in transactions of a scope, in order, from BEGIN to COMMIT."""
        with self._file.open("rb") as log:
            log.seek(since)
            lines = log.read().decode(errors="replace").splitlines()
        inside: set[str] = set()
        found = []
        for line in lines:
            match = LINE.match(line)
            if match is None:
                continue
            pid, words = match.groups()
            begun = BEGINS.match(words) or ENTERS.match(words)
            if begun is not None and begun[1] == scope_id:
                inside.add(pid)
            if pid in inside and not words.lstrip().startswith("Parameters: "):
                found.append(words)
            if words in ("COMMIT", "ROLLBACK"):
                inside.discard(pid)
        return found
