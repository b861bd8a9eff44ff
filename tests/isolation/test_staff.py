"""The pages and actions of staff are nobody else's: read off the admin, not written down."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.contrib import admin
from django.urls import get_resolver

from tests.gatehouse import sign_in
from tests.isolation.probes import find_canary
from tests.isolation.world import AGENT, World
from tests.patterns import OPEN, PAGE, is_staff_route, routes
from tests.requirements import requirement
from tests.server import Answer, Client
from tests.servers import Server

TOKEN = "a" * 32
LOGIN = "/admin/login/"
ANYBODYS = {"admin/login/", "admin/logout/", "admin/jsi18n/", "admin", "accounts/once/<str:token>"}
"""Staff routes that lead people in, or say words of the program alone."""


def find_row(world: World, app: str, model: str) -> str:
    """The key of a row of the owner, or of any, or one that is none."""
    table = apps.get_model(app, model)._meta
    columns = {field.column for field in table.concrete_fields}
    mine = "WHERE scope_id = %s" if "scope_id" in columns else "WHERE %s <> ''"
    key = table.pk.column
    rows = world.query(f'SELECT "{key}" FROM "{table.db_table}" {mine} LIMIT 1', world.owner)  # noqa: S608 - names of our own tables
    return str(rows[0][0]) if rows else "1"


def fill(world: World, route: str) -> str:
    """The route's path, with the key of the owner's row where it takes one."""
    parts = route.split("/")
    row = "1"
    if len(parts) > 2 and (parts[1], parts[2]) in {
        (m._meta.app_label, m._meta.model_name) for m in admin.site._registry
    }:
        row = find_row(world, parts[1], parts[2])
    path = re.sub(r"\(\?P<\w+>[^)]*\)", "sessions_app", route)
    return "/" + re.sub(r"<(\w+:)?\w+>", row, path).replace("^", "").replace("$", "")


@pytest.fixture(scope="module")
def callers(world_and_server: tuple[World, Server]) -> dict[str, str]:
    """Cookies of who is not staff: nobody, and a customer with an account."""
    world, _ = world_and_server
    customer = sign_in(world.database, f"customer-{uuid.uuid4().hex}", (), staff=False)
    clerk = sign_in(world.database, f"clerk-{uuid.uuid4().hex}", ())
    return {"nobody": "x=y", "customer": customer, "clerk": clerk}


def is_refused(answer: Answer) -> bool:
    """Sent to the sign-in page, told no, or told that there is no such page."""
    if answer.status == 302:
        return answer.headers["location"].startswith(LOGIN)
    return answer.status in (401, 403, 404, 405)


def ask(server: Server, method: str, path: str, cookie: str, body: bytes | None = None) -> Answer:
    headers = {
        "Cookie": f"{cookie}; csrftoken={TOKEN}",
        "X-CSRFToken": TOKEN,
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return Client(server, "", AGENT).ask(method, path, body, headers=headers, scope_id=None)


def probe(world: World, server: Server, callers: dict[str, str]) -> Iterator[str]:
    for route in sorted(set(routes(get_resolver()))):
        if not is_staff_route(route) and route not in {*OPEN, PAGE}:
            continue
        path = fill(world, route)
        for who in ("nobody", "customer"):
            for method in ("GET", "POST"):
                answer = ask(server, method, path, callers[who], b"" if method == "POST" else None)
                where = f"{method} {path} of {who}"
                yield from find_canary(where, answer.body)
                barred = is_staff_route(route) and route not in ANYBODYS
                if barred and not is_refused(answer):
                    yield f"{where}: {answer.status} {answer.body[:120]!r}"


@requirement("scope.enumerated")
def test_no_page_of_staff_serves_anybody_else(
    world: World, server: Server, callers: dict[str, str]
) -> None:
    leaks = list(probe(world, server, callers))
    assert not leaks, "\n".join(leaks)


@requirement("scope.enumerated")
def test_no_action_of_staff_works_for_anybody_else(
    world: World, server: Server, callers: dict[str, str]
) -> None:
    """Not for staff without the right either: a clerk in no group may do nothing."""
    found: list[str] = []
    for model, page in admin.site._registry.items():
        app, name = model._meta.app_label, str(model._meta.model_name)
        row = find_row(world, app, name)
        chosen = [getattr(each, "__name__", each) for each in page.actions or ()]
        for action in [*chosen, "delete_selected"]:
            body = f"action={action}&_selected_action={row}&post=yes&index=0".encode()
            for who, cookie in callers.items():
                answer = ask(server, "POST", f"/admin/{app}/{name}/", cookie, body)
                found += find_canary(f"{action} of {name} as {who}", answer.body)
                if not is_refused(answer):
                    found.append(f"{action} of {name} as {who}: {answer.status}")
        assert find_row(world, app, name) == row, (app, name)
    assert not found, "\n".join(found)
