"""What every test stands on: one embedded Postgres per test run, and no network but loopback."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator

import pytest
from django.db import connections

from agentsite.embedded import attach


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
    """Point Django at that server, whatever the environment says; one database per worker."""
    place = {"HOST": postgres, "PORT": "", "USER": "postgres", "PASSWORD": "", "NAME": "postgres"}
    connections["default"].settings_dict.update(place)


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


def pytest_configure() -> None:
    """Put the hook in place; audit hooks cannot be taken away again, as is right here."""
    sys.addaudithook(forbid_foreign_addresses)
