"""A server that checks its callers, shared by the tests of a worker.

Law: it believes nothing it has read before (AUTH_CACHE_SECONDS=0), so that a revocation shows at
once. Tests keep to scopes of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet

from sessions_app.api_keys import SHOWN, fingerprint
from tests.issuer import AUDIENCE, ISSUER, SECRET, Issuer
from tests.server import Answer, Client
from tests.servers import ROOT, Server, fresh_database

SIGN = "k" * 50
SEAL = Fernet.generate_key().decode()


def write_agents(folder: Path) -> Path:
    scoped = {"scope": {"requireScope": True}, "memory": {"enabled": True, "editableBy": "admin"}}
    for name, more in {"strict": scoped, "free": {}}.items():
        (folder / name / "scripts").mkdir(parents=True)
        (folder / name / "scripts" / "all.json").write_text('{"replies": [{"text": "Well."}]}')
        config = {"name": name, "version": "1.0.0", **more}
        (folder / name / "amodal.json").write_text(json.dumps(config))
    (folder / "free" / ".amodal").mkdir()
    known = {"filed": {"FILED_KEY": "a-value-from-the-file"}}
    (folder / "free" / ".amodal" / "scopes.json").write_text(json.dumps(known))
    return folder


def sign_in(
    database: str,
    name: str,
    groups: tuple[str, ...],
    *,
    staff: bool = True,
    superuser: bool = False,
) -> str:
    """A session cookie of an account that is made for it; servers sign with SIGN."""
    program = (
        "import sys, json; from django.contrib.auth.models import User, Group;"
        "from django.contrib.auth import SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY;"
        "from django.contrib.sessions.backends.db import SessionStore;"
        f"u = User.objects.create_user({name!r}, is_staff={staff}, is_superuser={superuser});"
        f"u.groups.set(Group.objects.get_or_create(name=g)[0] for g in {groups!r});"
        "s = SessionStore(); s[SESSION_KEY] = str(u.pk);"
        "s[BACKEND_SESSION_KEY] = 'django.contrib.auth.backends.ModelBackend';"
        "s[HASH_SESSION_KEY] = u.get_session_auth_hash(); s.save(); print(s.session_key)"
    )
    said = subprocess.run(
        [sys.executable, ROOT / "manage.py", "shell", "--no-imports", "-c", program],
        env={**os.environ, "DATABASE_URL": database, "SECRET_KEY": SIGN},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return f"sessionid={said.stdout.split()[-1]}"


@dataclass
class Gate:
    """The server, the database behind it, and who signs tokens."""

    server: Server
    database: str
    issuer: Issuer
    made: list[str] = field(default_factory=list)

    def ask(
        self, method: str, path: str, body: Any = None, bearer: str | None = None, **headers: str
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if bearer is not None:
            sent["Authorization"] = f"Bearer {bearer}"
        client = Client(self.server, "", "free")
        return client.ask(method, path, body, headers=sent, scope_id=None)

    def chat(self, bearer: str | None = None, **body: Any) -> Answer:
        headers = {"X_Scope_Id": body.pop("header")} if "header" in body else {}
        return self.ask(
            "POST", "/chat", {"message": "x", "agentId": "free", **body}, bearer, **headers
        )

    def change(self, sql: str, *values: Any) -> int:
        with psycopg.connect(self.database, autocommit=True) as rows:
            return rows.execute(sql.encode(), values).rowcount

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as rows:
            return rows.execute(sql.encode(), values).fetchall()

    def sign_in(
        self, name: str, groups: tuple[str, ...], *, staff: bool = True, superuser: bool = False
    ) -> str:
        """A session cookie of an account that is made for it."""
        return sign_in(self.database, name, groups, staff=staff, superuser=superuser)

    def key(self, **facts: Any) -> str:
        """A key with these columns, made as the database would see it."""
        text = f"ak_{uuid.uuid4().hex}"
        row = {"name": "test", "role": "user", "agents": [], "scopes": [], "tokens": 0, **facts}
        row |= {"prefix": text[:SHOWN], "key_hash": fingerprint(text), "created_by": ""}
        values = [json.dumps(v) if isinstance(v, list) else v for v in row.values()]
        names, places = ", ".join(row), ", ".join(["%s"] * len(row))
        sql = f"INSERT INTO sessions_app_apikey ({names}) VALUES ({places})"  # noqa: S608 - ours
        self.change(sql, *values)
        return text


@pytest.fixture(scope="session")
def gate(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("callers")
    issuer = Issuer()
    issuer.add("first")
    with fresh_database(postgres) as url:
        server = Server(
            url,
            folder / "data",
            AGENTS_DIR=str(write_agents(folder / "agents")),
            AGENT_AUTH="key,jwt",
            AUTH_CACHE_SECONDS="0",
            AGENT_SECRET_KEYS=SEAL,
            SECRET_KEY=SIGN,
            AGENT_JWT_SECRET=SECRET,
            AGENT_JWT_JWKS_URL=issuer.url,
            AGENT_JWT_ISSUER=ISSUER,
            AGENT_JWT_AUDIENCE=AUDIENCE,
        )
        try:
            yield Gate(server.wait_ready(), url, issuer)
        finally:
            server.close()
            issuer.close()
        assert " ERROR " not in server.log


def wait_for(holds: Any, seconds: float = 10) -> None:
    """Until it holds; the server writes it a moment after its answer."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
