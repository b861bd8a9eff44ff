"""Cost pages: whole sums, whatever they are divided by; CSV; who may see them."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from decimal import Decimal
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils.datastructures import MultiValueDict

from agentsite.operations.models import Alert, AuditEntry, Budget, PriceOverride
from agentsite.rows.tenancy import acting_for_all
from sessions_app.costing import KEYS, SUMS, add_up, list_lines, read_question
from sessions_app.models import ModelCall, Scope
from tests.operations.forms import read_form
from tests.operations.money import cost, run_of, settle
from tests.requirements import requirement
from tests.sessions_app.test_usage import SUMS as ROW_SUMS

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "admin:sessions_app_usageday"


def browse(*groups: str) -> Client:
    """A browser of staff in these groups; of nobody's superuser without any."""
    user = User.objects.create_user(f"ada-{'-'.join(groups)}", is_staff=True)
    user.is_superuser = not groups
    user.save()
    user.groups.set(Group.objects.filter(name__in=groups))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def _calls() -> None:
    """Calls of three scopes and two agents, one of them without a known price."""
    for scope, micros in (("acme", 1_250_000), ("=cmd", 30), ("", 7)):
        settle(run_of(scope), cost(micros), cost(micros, purpose="title", model="gpt-4o-mini"))
    settle(run_of("acme", "shop"), cost(None, agent="shop", model="own", charge_micros=99))


def text(client: Client, name: str, **query: Any) -> str:
    answer = client.get(reverse(name), query)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


@requirement("runs.usage-pages", "runs.usage-sums")
@pytest.mark.usefixtures("_calls")
@pytest.mark.parametrize("by", list(KEYS))
@pytest.mark.parametrize("most", [1, 2, 50])
def test_every_division_adds_up_to_the_rows(by: str, most: int) -> None:
    question = read_question(MultiValueDict({"by": [by]}))
    lines = list_lines(question, most)
    assert len(lines) <= most + 1
    rows = ModelCall.objects.all()
    for name in SUMS:
        total = sum(line.sums[name] for line in lines)
        assert total == add_up(question).sums[name]
        if name == "cost_micros":
            assert total == sum(row.cost_micros or 0 for row in rows)
    assert sum(line.sums["calls"] for line in lines) == rows.count()
    assert sum(line.sums["unpriced"] for line in lines) == 1
    assert set(SUMS) < set(ROW_SUMS)


@requirement("runs.usage-pages")
@pytest.mark.usefixtures("_calls")
def test_the_page_shows_sums_charts_and_what_has_no_price() -> None:
    client = browse()
    whole = text(client, f"{PAGE}_changelist", by="scope")
    for shown in ("$2.500074", "desk / acme", "shop / acme", "(empty)", "Price unknown", "own: 1"):
        assert shown in whole
    data = re.search(r'data-value="([^"]*)"', whole)
    assert data is not None
    chart = json.loads(data[1].replace("&quot;", '"').replace("&#x27;", "'"))
    drawn = sum(Decimal(str(v)) for line in chart["datasets"] for v in line["data"])
    assert drawn == Decimal("2.500074")
    one = text(client, f"{PAGE}_scope", scope="acme", agent="desk")
    assert "Cost of scope acme" in one
    assert "$2.500000" in one and "$2.500074" not in one
    both = text(client, f"{PAGE}_compare", scope=["acme", "=cmd"])
    assert "$2.500060" in both
    assert "<td>$0.000060</td>" in both
    assert "Nothing was called" in text(client, f"{PAGE}_changelist", until="2001-01-01")


@requirement("runs.usage-pages")
@pytest.mark.usefixtures("_calls")
def test_the_csv_has_every_line_and_no_formula() -> None:
    answer = browse("viewers").get(reverse(f"{PAGE}_csv"), {"by": "scope"})
    assert answer["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert sum(int(row["cost_micros"]) for row in rows) == 2_500_074
    assert {row["scope_id"] for row in rows} == {"acme", "'=cmd", ""}
    assert sum(Decimal(row["cost_usd"]) for row in rows) == Decimal("2.500074")


@requirement("runs.groups")
def test_only_who_may_see_cost_does() -> None:
    for name in ("changelist", "scope", "compare", "csv"):
        assert browse(f"none-{name}").get(reverse(f"{PAGE}_{name}")).status_code == 403
    viewer = browse("viewers")
    assert viewer.get(reverse(f"{PAGE}_changelist")).status_code == 200
    assert viewer.get(reverse("admin:operations_budget_add")).status_code == 403


@requirement("runs.groups")
def test_an_operator_sets_a_budget_from_the_scopes_page_and_it_is_audited() -> None:
    scope = Scope.objects.create(agent="desk", scope_id="acme")
    settle(run_of("acme"), cost(400_000))
    operator = browse("operators")
    chosen = {"action": "budget", "_selected_action": [scope.pk]}
    answer = operator.post(reverse("admin:sessions_app_scope_changelist"), chosen)
    assert answer.status_code == 302
    form = operator.get(answer["Location"])
    assert 'value="acme"' in form.content.decode()
    fields = {
        "kind": "scope", "agent": "desk", "scope_id": "acme", "subject": "", "period": "day",
        "limit": "1.50", "soft": "0.80",
    }  # fmt: skip
    assert operator.post(answer["Location"], fields).status_code == 302
    budget = Budget.objects.get()
    shown = text(operator, "admin:operations_budget_changelist")
    for figure in ("$1.50", "$0.400000", "$1.100000"):
        assert figure in shown
    page = reverse("admin:operations_budget_change", args=[budget.pk])
    assert operator.post(page, {**fields, "limit": "0.25"}).status_code == 302
    assert "used up" in text(operator, "admin:operations_budget_changelist")
    assert operator.post(page + "?", {**fields, "period": "run"}).status_code == 200, "refused"
    delete = reverse("admin:operations_budget_delete", args=[budget.pk])
    assert operator.post(delete, {"post": "yes"}).status_code == 302
    entries = AuditEntry.objects.filter(action__startswith="budget.").order_by("number")
    told = [(each.action, each.actor, json.loads(each.details)) for each in entries]
    assert [action for action, _, _ in told] == [
        "budget.added", "budget.changed", "budget.deleted",
    ]  # fmt: skip
    assert {actor for _, actor, _ in told} == {"ada-operators"}
    assert told[0][2]["after"]["limit"] == "1.500000"
    assert (told[1][2]["before"]["limit"], told[1][2]["after"]["limit"]) == (
        "1.500000", "0.250000",
    )  # fmt: skip
    assert told[2][2]["before"]["scope_id"] == "acme"


@requirement("runs.price-overrides")
def test_prices_of_one_model_never_overlap() -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    month = dt.timedelta(days=31)
    first = PriceOverride(provider="openai", model="m", input=1, output=2, valid_from=now)
    first.valid_until = now + month
    first.full_clean()
    first.save()
    operator = browse("operators")
    fields = {
        "provider": "openai", "model": "m", "input": "3", "output": "4",
        "valid_from_0": "2026-01-10", "valid_from_1": "00:00:00",
        "valid_until_0": "", "valid_until_1": "", "note": "",
    }  # fmt: skip
    page = reverse("admin:operations_priceoverride_add")
    refused = operator.post(page, fields)
    assert refused.status_code == 200
    assert "Another price of this model is valid then" in refused.content.decode()
    assert operator.post(page, {**fields, "valid_from_0": "2026-02-01"}).status_code == 302
    assert PriceOverride.objects.count() == 2
    assert AuditEntry.objects.filter(action="priceoverride.added").count() == 1


def test_closing_an_alert_says_who_has_seen_to_it() -> None:
    alert = Alert.objects.create(kind="budget", level="critical", title="Used up.", once="x")
    operator = browse("operators")
    chosen = {"action": "close", "_selected_action": [alert.pk]}
    page = reverse("admin:operations_alert_changelist")
    assert browse("viewers").post(page, chosen).status_code in (200, 302, 403)
    alert.refresh_from_db()
    assert alert.closed_at is None
    assert operator.post(page, chosen).status_code == 302
    alert.refresh_from_db()
    assert (alert.closed_by, alert.closed_at is not None) == ("ada-operators", True)
    assert AuditEntry.objects.get(action="alert.closed").subject == str(alert.pk)


def test_blocking_a_scope_and_giving_rights_are_audited() -> None:
    scope = Scope.objects.create(agent="desk", scope_id="acme")
    admin = browse()
    chosen = {"action": "block", "_selected_action": [scope.pk]}
    admin.post(reverse("admin:sessions_app_scope_changelist"), chosen)
    entry = AuditEntry.objects.get(action="scope.blocked")
    assert json.loads(entry.details)["after"] == {"blocked": True}
    page = reverse("admin:sessions_app_scope_change", args=[scope.pk])
    admin.post(page, {"label": "Acme", "context": '{"name": "Ada"}'})
    changed = json.loads(AuditEntry.objects.get(action="scope.changed").details)
    assert changed["after"] == {"context": "(not told)", "label": "Acme"}
    assert "Ada" not in AuditEntry.objects.get(action="scope.changed").details
    user = User.objects.create_user("bo", is_staff=True)
    group = Group.objects.get(name="viewers")
    member = reverse("admin:auth_user_change", args=[user.pk])
    form = read_form(admin.get(member).content.decode())
    admin.post(member, {**form, "groups": [group.pk]})
    assert list(user.groups.all()) == [group], "rights were given"
    given = json.loads(AuditEntry.objects.get(action="user.changed").details)
    assert "viewers" in json.dumps(given["after"])


@requirement("runs.usage-sums")
@pytest.mark.usefixtures("_calls")
def test_a_call_that_comes_while_a_page_is_read_is_in_all_of_it_or_in_none() -> None:
    late = []

    def settle_meanwhile(execute: Any, sql: str, *rest: Any) -> Any:
        found = execute(sql, *rest)
        if "sessions_app_agentday" in sql and not late:
            late.append(True)
            meanwhile = Thread(target=_settle_apart)
            meanwhile.start()
            meanwhile.join(20)
        return found

    client = browse()
    with connection.execute_wrapper(settle_meanwhile):
        page = client.get(reverse(f"{PAGE}_changelist"), {"by": "agent"})
    assert late
    context = page.context_data
    cost = sum(Decimal(row["cost"].strip("$").replace(",", "")) for row in context["rows"])
    assert cost == Decimal(context["total"]["cost"].strip("$").replace(",", ""))
    assert ModelCall.objects.filter(run_id__gt="").count() == 8, "it was written meanwhile"


def _settle_apart() -> None:
    try:
        with acting_for_all("a test's own rows"):
            settle(run_of("acme"), cost(5_000_000))
    finally:
        connection.close()
