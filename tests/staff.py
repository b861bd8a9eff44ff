"""Members of staff at the admin of a real server, as a browser signs in and posts forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
from django.contrib.auth.hashers import make_password

from tests.lab import Lab

PASSWORD = "staff-at-work-0123"


def make_staff(lab: Lab, name: str, *permissions: str, superuser: bool = False) -> None:
    """An account with these permissions (`app.codename`), or with all."""
    lab.change(
        "INSERT INTO auth_user (username, password, is_staff, is_superuser, is_active, email,"
        " first_name, last_name, date_joined) VALUES (%s, %s, true, %s, true, '', '', '', now())"
        " ON CONFLICT DO NOTHING",
        name,
        make_password(PASSWORD),
        superuser,
    )
    for permission in permissions:
        app, _, codename = permission.partition(".")
        lab.change(
            "INSERT INTO auth_user_user_permissions (user_id, permission_id)"
            " SELECT u.id, p.id FROM auth_user u, auth_permission p JOIN django_content_type c"
            " ON c.id = p.content_type_id WHERE u.username = %s AND c.app_label = %s"
            " AND p.codename = %s ON CONFLICT DO NOTHING",
            name,
            app,
            codename,
        )


@dataclass
class Page:
    """An answer of the admin."""

    status: int
    url: str
    text: str


class Staff:
    """Somebody who is signed in."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self.url = http, url
        self._cookies: dict[str, str] = {}

    async def sign_in(self, name: str) -> Staff:
        """Through the form."""
        await self._ask("GET", "/admin/login/")
        await self.post("/admin/login/?next=/admin/", username=name, password=PASSWORD)
        assert "sessionid" in self._cookies
        return self

    async def get(self, path: str) -> Page:
        """A page."""
        return await self._ask("GET", path)

    async def post(self, path: str, **form: Any) -> Page:
        """A form, with the token of the page."""
        token = self._cookies.get("csrftoken", "")
        return await self._ask("POST", path, {**form, "csrfmiddlewaretoken": token})

    async def post_pairs(self, path: str, pairs: list[tuple[str, str]]) -> Page:
        """The same where fields have several values."""
        token = self._cookies.get("csrftoken", "")
        return await self._ask("POST", path, [*pairs, ("csrfmiddlewaretoken", token)])

    async def _ask(self, method: str, path: str, form: Any = None) -> Page:
        cookie = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers = {"Cookie": cookie} if cookie else {}
        async with self._http.request(
            method, f"{self.url}{path}", data=form, headers=headers, allow_redirects=False
        ) as answer:
            self._cookies |= {name: morsel.value for name, morsel in answer.cookies.items()}
            return Page(answer.status, answer.headers.get("Location", ""), await answer.text())


def quote(row: str) -> str:
    """An id as addresses of the admin have it."""
    return row.replace("_", "_5F")


def run_path(run_id: str, *more: str) -> str:
    """The address of a run's page, or of what may be done there."""
    return "/".join(("/admin/sessions_app/run", quote(run_id), *(more or ("change",)), ""))
