"""A row of every table that staff see, with enough in it that its pages have something to show.

Law: whoever registers a page in the admin adds its row here; a test fails otherwise.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from agentsite.operations.audit import record
from agentsite.operations.models import (
    Alert,
    AuditEntry,
    Budget,
    EvalResult,
    EvalRun,
    Feedback,
    McpServer,
    PinnedTool,
    PriceOverride,
    Proposal,
)
from automations_app.models import (
    Automation,
    AutomationRun,
    Delivery,
    InboundDelivery,
    Occurrence,
)
from memory_app.models import MemoryEntry
from sessions_app.api_keys import ApiKey, issue_key
from sessions_app.models import ModelCall, Run, Session, UsageDay
from sessions_app.scopes import Scope
from sessions_app.usage import rebuild
from stores_app.actions import delete, put
from stores_app.batches import put_many
from stores_app.models import DeadLetter, Document, DocumentVersion
from stores_app.places import Origin
from stores_app.specs import open_for_staff
from tests.sessions_app.rows import make_run, make_session
from tests.stores_app.conftest import SPECS

AGENT, SCOPE = "desk", "acme"
LONG = "Averyverylongwordthatfitsnophone" * 6
NUMBERS = itertools.count(1)
TOOL = Origin("tool", "sess_1", "run_1", "tc_1", "store_orders", {"number": "<b>1</b>"})


def build_agent(folder: Path) -> Path:
    """The agent whose rows these are, below `folder`; returns `folder`."""
    home = folder / AGENT
    (home / "stores").mkdir(parents=True)
    (home / "amodal.json").write_text(json.dumps({"name": AGENT, "version": "1.0.0"}))
    (home / "skills" / "weigh").mkdir(parents=True)
    (home / "skills" / "weigh" / "SKILL.md").write_text(
        "---\nname: weigh\ndescription: Weigh parcels\n---\nUse the scale.\n"
    )
    (home / "knowledge").mkdir()
    (home / "knowledge" / "returns.md").write_text("# Returns\nWithin thirty days.\n")
    for name, spec in SPECS.items():
        whole = {"name": name, **spec, "failure": {"deadLetter": True}}
        (home / "stores" / f"{name}.json").write_text(json.dumps(whole))
    return folder


def _session() -> Session:
    return make_session(scope_id=SCOPE, title=f"Parcels {LONG}")


def _run() -> Run:
    return make_run(_session(), words=f"Where is it? {LONG}")


def _model_call() -> ModelCall:
    return ModelCall.objects.get(run_id=_run().pk)


def _usage_day() -> UsageDay:
    _run()
    rebuild()
    return UsageDay.objects.latest("pk")


def _key() -> ApiKey:
    key = ApiKey(name="Front desk", agents=[AGENT], scopes=["acme:*"])
    issue_key(key)
    return key


def _scope() -> Scope:
    return Scope.objects.create(agent=AGENT, scope_id=SCOPE, label="Acme")


def _memory() -> MemoryEntry:
    return MemoryEntry.objects.create(
        id=f"{next(NUMBERS):032x}", agent=AGENT, scope_id=SCOPE, content=f"Likes tea. {LONG}"
    )


def _document() -> Document:
    place = open_for_staff(AGENT, SCOPE, "orders")
    number = f"o-{next(NUMBERS)}"
    for total in (1, 2):
        payload = {"number": number, "state": "new", "total": total, "tags": ["a"], "note": LONG}
        put(place, {**payload, "address": {"city": "Oslo"}}, TOOL)
    return Document.objects.get(key=number)


def _version() -> DocumentVersion:
    row = _document()
    delete(open_for_staff(AGENT, SCOPE, "orders"), row.key)
    return DocumentVersion.objects.filter(key=row.key).latest("pk")


def _letter() -> DeadLetter:
    place = open_for_staff(AGENT, SCOPE, "orders")
    put_many(place, [{"number": f"d-{next(NUMBERS)}", "state": "new", "customer": "no"}], TOOL)
    letter = DeadLetter.objects.latest("pk")
    items = [{"number": "o", "state": "new"}]
    DeadLetter.objects.filter(pk=letter.pk).update(items=items)
    return letter


def _automation(**columns: Any) -> Automation:
    told = {"title": "Nightly", "prompt": LONG, "trigger": "cron", "schedule": "0 9 * * *"}
    return Automation.objects.create(
        agent=AGENT, name=f"nightly-{next(NUMBERS)}", **{**told, **columns}
    )


def _automation_run() -> AutomationRun:
    run = _run()
    return AutomationRun.objects.create(
        id=f"arun_{next(NUMBERS)}", automation=_automation(), scope_id=SCOPE, cause="cron",
        status="failed", session_id=run.session_id, run_id=run.pk, output=LONG, error=LONG,
    )  # fmt: skip


def _occurrence() -> Occurrence:
    return Occurrence.objects.create(
        automation=_automation(), due_at=timezone.now(), reason="late", claimed_by="a host"
    )


def _inbound() -> InboundDelivery:
    return InboundDelivery.objects.create(
        automation=_automation(trigger="webhook", webhook_auth=None),
        scope_id=SCOPE, sender_id=LONG, headers={"x-long": LONG}, answer={"ok": True},
        answer_status=200,
    )  # fmt: skip


def _delivery() -> Delivery:
    run = _automation_run()
    return Delivery.objects.create(
        id=f"del_{next(NUMBERS)}", automation_run=run, automation=run.automation, scope_id=SCOPE,
        target_type="webhook", target={"url": f"https://example.com/{LONG}"},
        payload={"text": LONG}, status="dead", problem=LONG,
    )  # fmt: skip


def _feedback() -> Feedback:
    run = _run()
    return Feedback.objects.create(
        agent=AGENT, scope_id=SCOPE, session_id=run.session_id, run_id=run.pk,
        message_id=f"msg_{next(NUMBERS)}", rating="down", comment=LONG, query="?", response=LONG,
    )  # fmt: skip


def _budget() -> Budget:
    return Budget.objects.create(kind="agent", subject=AGENT, period="day", limit=5)


def _price() -> PriceOverride:
    return PriceOverride.objects.create(
        provider="openai", model="m", input=1, output=2, valid_from=timezone.now()
    )


def _alert() -> Alert:
    return Alert.objects.create(
        kind="budget", level="critical", agent=AGENT, scope_id=SCOPE, title=f"Used up {LONG}"[:300],
        details={"run": "run_1"}, once=str(next(NUMBERS)),
    )  # fmt: skip


def _entry() -> AuditEntry:
    record("ada", "scope.blocked", LONG, {"after": {"blocked": True}})
    return AuditEntry.objects.latest("number")


def _server() -> McpServer:
    row = McpServer.objects.create(
        agent=AGENT, name=f"clock-{next(NUMBERS)}", protocol="1", problem=LONG
    )
    _version_of(row, "accepted", "Tells the time.", first=True)
    _version_of(row, "waiting", f"Tells the time anywhere. {LONG}")
    return row


def _version_of(server: McpServer, status: str, told: str, *, first: bool = False) -> PinnedTool:
    return PinnedTool.objects.create(
        server=server, tool="now", digest=f"{next(NUMBERS):064}", description=told,
        status=status, first=first,
    )  # fmt: skip


def _pinned() -> PinnedTool:
    return _server().tools.get(status="waiting")


def _proposal() -> Proposal:
    return Proposal.objects.create(
        id=f"prop_{next(NUMBERS)}", agent=AGENT, scope_id=SCOPE, session_id="sess_1",
        title=f"Returns {next(NUMBERS)}", reasoning="Asked often.", content=f"Thirty days. {LONG}",
    )  # fmt: skip


def _eval_run() -> EvalRun:
    return EvalRun.objects.create(
        id=f"evr_{next(NUMBERS)}", agent=AGENT, status="done", evals=["weigh"],
        model_names=["openai/gpt"], passed=1, requested_by="ada",
    )  # fmt: skip


def _eval_result() -> EvalResult:
    return EvalResult.objects.create(
        eval_run=_eval_run(), agent=AGENT, name="weigh", title="Weighs", model="openai/gpt",
        status="failed", query=LONG, response=LONG,
    )  # fmt: skip


def _interval() -> IntervalSchedule:
    return IntervalSchedule.objects.create(every=next(NUMBERS) + 100, period="minutes")


def _task() -> PeriodicTask:
    return PeriodicTask.objects.create(
        name=f"Somebody's {next(NUMBERS)}", task="a.task", interval=_interval()
    )


def _user() -> User:
    return User.objects.create_user(f"member-{next(NUMBERS)}", is_staff=True)


ROWS: dict[type[Model], Callable[[], Model]] = {
    Session: _session,
    Run: _run,
    ModelCall: _model_call,
    UsageDay: _usage_day,
    ApiKey: _key,
    Scope: _scope,
    MemoryEntry: _memory,
    Document: _document,
    DocumentVersion: _version,
    DeadLetter: _letter,
    Automation: _automation,
    AutomationRun: _automation_run,
    Occurrence: _occurrence,
    InboundDelivery: _inbound,
    Delivery: _delivery,
    Feedback: _feedback,
    Budget: _budget,
    PriceOverride: _price,
    Alert: _alert,
    AuditEntry: _entry,
    McpServer: _server,
    PinnedTool: _pinned,
    Proposal: _proposal,
    EvalRun: _eval_run,
    EvalResult: _eval_result,
    PeriodicTask: _task,
    IntervalSchedule: _interval,
    CrontabSchedule: lambda: CrontabSchedule.objects.create(minute="7"),
    ClockedSchedule: lambda: ClockedSchedule.objects.create(
        clocked_time=dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    ),
    SolarSchedule: lambda: SolarSchedule.objects.create(event="sunset", latitude=59, longitude=10),
    User: _user,
    Group: lambda: Group.objects.create(name=f"Group {next(NUMBERS)}"),
}


def registered() -> dict[type[Model], Any]:
    """Every table that has pages in the admin, with its pages."""
    return dict(admin.site._registry)
