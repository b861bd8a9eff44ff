"""What every test stands on: one embedded Postgres per test run, and no network but loopback."""

from __future__ import annotations

import gc
import ipaddress
import sys
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connections

from agentsite.embedded import attach
from agentsite.rows.units import close_pools
from tests.templates import provide_template

OTHERS = "SELECT application_name, state, left(query, 200) FROM pg_stat_activity WHERE datname = %s"
"""Who is connected to a database: application, state and last statement of each."""


@pytest.fixture(scope="session")
def postgres(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The socket folder of a server that the workers of this run share, stopped after the last."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        folder = folder.parent
    attachment = attach(folder / "postgres")
    yield str(attachment.host)
    attachment.release()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, postgres: str
) -> None:
    """Point Django at that server, whatever the environment says; one database per worker.

    It is a copy of the one that was migrated for this run: migrating takes longer than many tests.
    """
    place = {"HOST": postgres, "PORT": "", "USER": "postgres", "PASSWORD": "", "NAME": "postgres"}
    given = connections["default"].settings_dict
    given.update(place)
    given["TEST"]["TEMPLATE"] = provide_template(postgres)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, postgres: str) -> Iterator[None]:
    """Wait until servers that were just stopped have let go of the database, and name who has not.

    Postgres itself waits five seconds, and on a busy machine a stopped process takes longer.
    """
    yield
    close_pools()
    gc.collect()  # connections of threads that have ended
    name = connections["default"].settings_dict["NAME"]
    with psycopg.connect(host=postgres, user="postgres", dbname="postgres") as connection:
        connection.autocommit = True
        for _ in range(600):
            others = connection.execute(OTHERS, [name]).fetchall()
            if not others:
                return
            connection.execute("SELECT pg_sleep(0.1)")
    raise AssertionError(f"Somebody is still at {name}: {others}")


def forbid_foreign_addresses(event: str, args: tuple[object, ...]) -> None:
    """An audit hook: a test that reaches beyond this machine fails by saying so."""
    if event == "socket.connect":
        address = args[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if isinstance(host, str) and not is_local(host):
        raise RuntimeError(f"A test tried to reach {host}; only this machine may be reached.")


def is_local(host: str) -> bool:
    """Whether `host` names this machine (or any address of it, to listen on)."""
    if host in {"", "localhost"} or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sessions", type=int, help="how many sessions call 100 tools each")
    parser.addoption("--broker", help="the address of a broker to try besides pgmq and Redis")
    parser.addoption("--whole-clock", action="store_true", help="every minute of three years")
    parser.addoption("--mutants", default="2", help="how many scope filters to remove, or `all`")


def pytest_collection_finish() -> None:
    """Look through all that was imported once, not with each collection of garbage to come."""
    gc.collect()
    gc.freeze()


def pytest_configure() -> None:
    """Put the hook in place; audit hooks cannot be taken away again, as is right here."""
    sys.addaudithook(forbid_foreign_addresses)
