"""How long an operator waits for a page, with many runs behind it.

Law: pages are asked of the server as a browser asks, signed in through the form; the data is made
by `management/data`, in a database of this measurement alone.
"""

from __future__ import annotations

import asyncio
import http.client
import secrets
import time
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

from django.contrib.auth.hashers import make_password

from agentsite.management.bench.figures import Figures, quantiles
from agentsite.management.bench.report import ADMIN
from agentsite.management.bench.stack import Stack
from agentsite.management.data import long
from agentsite.management.data.making import make_runs

NAME = "bench"
RUNS = "/admin/sessions_app/run/"
SESSIONS = "/admin/sessions_app/session/"
CALLS = "/admin/sessions_app/modelcall/"
USAGE = "/admin/sessions_app/usageday/"
LONG = f"{RUNS}{long.LONG_RUN.replace('_', '_5F')}/change/"
TIMES = "created_at_from_0=2020-01-01&created_at_to_0=2099-01-01"
LISTS: dict[str, tuple[str, ...]] = {
    RUNS: (
        "", "q=case77", "q=word3", "q=tenant-0", "scope=tenant-0", "scope=tenant-360&outcome=error",
        "outcome=error", "outcome=live", "outcome=trouble", "outcome=budget_exceeded",
        "agent=agent-2", "agent=agent-2&outcome=good", "automation=nightly-report", "cost=100",
        "cost=unknown", "said=item77 please&scope=tenant-0", TIMES, "q=please 2020-01-01",
        "scope=nobody&outcome=trouble", "outcome=loop_detected", "outcome=ended&kind=own",
        "kind=copy", "kind=replay", "kind=eval", f"outcome=error&kind=own&{TIMES}",
    ),
    SESSIONS: (
        "", "q=tenant-360", "q=case77", "q=word3", "status__exact=waiting", "status__exact=idle",
        "status__exact=expired", "status__exact=archived", "status__exact=active",
        "status__exact=expired&agent=agent-1", "scope=tenant-0", "automation=nightly-report",
        "agent=agent-1", "agent=nobody", "cost=100", "said=case77",
        "updated_at_from_0=2020-01-01&updated_at_to_0=2099-01-01",
    ),
    CALLS: (
        "", "q=gpt-4.1", f"q={long.LONG_RUN}", f"q={long.LONG_SESSION}", "scope=tenant-0",
        "trouble=failed", "trouble=unpriced", "agent=agent-1", "purpose=judge",
        "provider=openai&purpose=main", TIMES,
    ),
    "/admin/sessions_app/scope/": ("", "q=tenant-1", "q=Tenant of", "q=nobody", "agent=agent-1"),
    "/admin/sessions_app/apikey/": ("", "q=shop", "role__exact=ops"),
    USAGE: (
        "", "by=day", "by=scope", "by=agent", "by=purpose", "scope=tenant-0",
        "model=openai/gpt-4.1", "by=scope&agent=agent-1",
    ),
    f"{USAGE}scope/": ("scope=tenant-0&agent=agent-0",),
    f"{USAGE}compare/": ("scope=tenant-0&scope=tenant-1&scope=tenant-360",),
    f"{USAGE}csv/": ("by=scope",),
    "/admin/memory_app/memoryentry/": (
        "", "q=word77", "q=tenant-7", "q=nowhere", "q=0123abcd", "q=run_x", "q=sess_x",
        "scope=tenant-7", "agent=agent-1", TIMES, "last_recalled_at_from_0=2020-01-01",
    ),
    "/admin/stores_app/document/": (
        "", "q=o-77", "q=tenant-7", "q=nothing", "scope=tenant-7", "scope=nobody", "agent=agent-1",
        "store=orders", "store=none", "shared=yes", "shared=no", "updated_at_from_0=2020-01-01",
    ),
    "/admin/stores_app/documentversion/": (
        "", "q=o-77", "q=tenant-7", "q=nothing", "scope=tenant-7", "agent=agent-1", "store=none",
        "deleted=yes", "deleted=no", "superseded_at_from_0=2099-01-01",
    ),
    "/admin/stores_app/deadletter/": (
        "", "q=tenant-7", "q=none", "status=open", "scope=tenant-7", "agent=agent-1", "store=none",
        "created_at_from_0=2020-01-01",
    ),
    "/admin/operations/auditentry/": (
        "", "q=ada", "q=operator-1", "q=scope.blocked", "q=run.retry", "q=subject-77", "q=nothing",
        "action=scope.blocked",
    ),
    "/admin/operations/feedback/": (
        "", "rating=down&reviewed=no", "rating=up", "reviewed=yes", "scope=tenant-7", "q=tenant-7",
        "q=run_x", "q=sess_x", TIMES,
    ),
    "/admin/operations/alert/": (
        "", "state=open", "state=closed", "kind=poison", "level=critical", "q=scope 77",
        "q=nothing",
    ),
    "/admin/operations/proposal/": (
        "", "status__exact=waiting", "status__exact=accepted", "agent=agent-1", "q=word77",
        "q=nothing",
    ),
    "/admin/operations/budget/": ("", "kind__exact=scope", "period__exact=day", "q=tenant-7"),
    "/admin/operations/priceoverride/": ("", "provider=openai", "q=gpt"),
    "/admin/operations/mcpserver/": ("", "agent=agent-1", "q=clock"),
    "/admin/operations/pinnedtool/": ("", "status__exact=waiting", "listed__exact=1", "q=now"),
    "/admin/operations/evalrun/": ("", "status__exact=done", "agent=agent-1"),
    "/admin/operations/evalresult/": ("", "status__exact=failed", "agent=agent-1", "q=weigh"),
    "/admin/automations_app/automation/": (
        "", "trigger__exact=cron", "paused__exact=1", "origin__exact=file", "q=report-7",
    ),
    "/admin/automations_app/automationrun/": (
        "", "automation__id__exact=1",
        "status__exact=failed", "status__exact=open", "cause__exact=manual",
        "cause__exact=cron", "q=arun_77", TIMES,
    ),
    "/admin/automations_app/occurrence/": (
        "", "automation__id__exact=1",
        "status__exact=missed", "status__exact=run", "due_at_from_0=2020-01-01",
    ),
    "/admin/automations_app/inbounddelivery/": (
        "", "automation__id__exact=1",
        "answer=refused", "q=sender-77", "received_at_from_0=2020-01-01",
    ),
    "/admin/automations_app/delivery/": (
        "", "automation__id__exact=1",
        "status__exact=dead", "status__exact=delivered", "kind__exact=alert", "target=slack",
        "q=del_77", TIMES,
    ),
    "/admin/django_celery_beat/periodictask/": ("",),
    "/admin/": ("",),
    "/admin/agents/": ("",),
    LONG: ("",),
}  # fmt: skip
"""Every list of the admin in its filters and searches, and the timeline of a long run."""


class Operator:
    """A browser that is signed in, with one connection."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._line = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        self._cookies: dict[str, str] = {}

    def sign_in(self, password: str) -> None:
        """Through the form."""
        self.ask("GET", "/admin/login/")
        token = self._cookies["csrftoken"]
        form = {"username": NAME, "password": password, "csrfmiddlewaretoken": token}
        self.ask("POST", "/admin/login/?next=/admin/", urlencode(form))
        if "sessionid" not in self._cookies:
            raise RuntimeError("the admin did not let the measuring operator in")

    def ask(self, method: str, path: str, body: str = "") -> tuple[float, str]:
        """The time in ms, and the page. Raises `RuntimeError` for anything but a page."""
        headers = {
            "Host": "127.0.0.1",
            "Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items()),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        began = time.perf_counter()
        self._line.request(method, path, body, headers)
        answer = self._line.getresponse()
        text = answer.read().decode()
        took = (time.perf_counter() - began) * 1000
        for cookie in answer.headers.get_all("Set-Cookie", []):
            name, _, rest = cookie.partition("=")
            self._cookies[name] = rest.partition(";")[0]
        if answer.status not in (200, 302):
            raise RuntimeError(f"{path} was answered with {answer.status}: {text[:300]}")
        return took, text


async def measure_pages(stack: Stack, figures: Figures, runs: int, events: int, asked: int) -> None:
    """Make the data, then ask for every list in its ways, a deep page, and a run's timeline.

    Each `asked` times, after once that does not count.
    """
    password = secrets.token_urlsafe(12)
    await asyncio.to_thread(_fill, stack, runs, events, password)
    await asyncio.to_thread(_measure, stack, figures, runs, password, asked)


def _fill(stack: Stack, runs: int, events: int, password: str) -> None:
    with stack.connect() as connection:
        if connection.execute("SELECT 1 FROM sessions_app_run LIMIT 1").fetchone() is None:
            make_runs(connection, runs, events, lambda _: None)
        connection.execute("DELETE FROM auth_user WHERE username = %s", [NAME])
        connection.execute(
            "INSERT INTO auth_user (username, password, is_staff, is_superuser, is_active, email,"
            " first_name, last_name, date_joined) VALUES (%s, %s, true, true, true, '', '', '',"
            " now())",
            [NAME, make_password(password)],
        )


def _measure(stack: Stack, figures: Figures, runs: int, password: str, asked: int) -> None:
    operator = Operator(stack.url)
    operator.sign_in(password)
    slowest: list[float] = []
    for path in _pages(stack):
        operator.ask("GET", path)
        waits = [operator.ask("GET", path)[0] for _ in range(asked)]
        figures.add(ADMIN, path.removeprefix("/admin/sessions_app/"), **quantiles(waits))
        slowest = max(slowest, waits, key=lambda each: sorted(each)[-2:] or [0.0])
    figures.add(ADMIN, f"slowest page, {runs:,} runs", **quantiles(slowest))


def _pages(stack: Stack) -> Iterator[str]:
    for path, queries in LISTS.items():
        for query in queries:
            yield path + (f"?{query.replace(' ', '+')}" if query else "")
    for path in _rows(stack):
        yield path


def _rows(stack: Stack) -> Iterator[str]:
    """A page in the middle of everything, and a run and a session that are there."""
    from agentsite.rows.keyset import make_place

    with stack.connect() as connection:
        half = connection.execute(
            "SELECT created_at, id, session_id FROM sessions_app_run"
            " WHERE created_at <= (SELECT min(created_at) + (max(created_at) - min(created_at)) / 2"
            "  FROM sessions_app_run) ORDER BY created_at DESC LIMIT 1"
        ).fetchone()
    if half is None:
        raise RuntimeError("no runs were made")
    moment, run_id, session_id = half
    yield f"{RUNS}?older={make_place((moment, run_id))}"
    yield f"{RUNS}{str(run_id).replace('_', '_5F')}/change/"
    yield f"{SESSIONS}{str(session_id).replace('_', '_5F')}/change/"
