"""Staff see documents, correct them by the store's own rules, and replay dead letters."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from stores_app import specs
from stores_app.actions import put
from stores_app.batches import put_many
from stores_app.models import DeadLetter, Document
from stores_app.places import Origin
from stores_app.reading import read_history
from tests.operations.forms import read_form
from tests.requirements import requirement
from tests.stores_app.conftest import SPECS, Open, get_payload

TOOL = Origin("tool", "sess_1", "run_1", "tc_1", "store_orders", {"number": "<b>1</b>"})
PAGES = "/admin/stores_app"


@pytest.fixture
def served(tmp_path: Path, settings: Any, db: None) -> Any:
    """The stores of `conftest` as those of an agent `desk` that is served."""
    home = tmp_path / "desk"
    (home / "stores").mkdir(parents=True)
    (home / "amodal.json").write_text(json.dumps({"name": "desk", "version": "1.0.0"}))
    for name, spec in SPECS.items():
        failure = {"failure": {"deadLetter": True}}
        (home / "stores" / f"{name}.json").write_text(json.dumps({"name": name, **spec, **failure}))
    settings.AGENTS_DIR = tmp_path
    specs.served_agents.cache_clear()
    yield
    specs.served_agents.cache_clear()


def page(client: Client, path: str) -> str:
    answer = client.get(f"{PAGES}/{path}")
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def test_documents_are_listed_and_shown(admin_client: Client, at: Open, served: None) -> None:
    for number in range(3):
        put(at("orders"), {"number": "o-1", "state": "new", "total": number}, TOOL)
    assert "o-1" in page(admin_client, "document/")
    assert "o-1" in page(admin_client, "document/?q=acme")
    assert "o-1" not in page(admin_client, "document/?q=nobody")
    document = Document.objects.get()
    shown = page(admin_client, f"document/{document.pk}/change/")
    assert "run_1" in shown
    assert '"total": 1' in shown, "the earlier version"
    assert "o-1" not in page(admin_client, "documentversion/?q=nobody")
    assert "o-1" in page(admin_client, "documentversion/")


@requirement("admin.documents")
def test_a_payload_is_changed_by_the_stores_rules(
    admin_client: Client, at: Open, served: None
) -> None:
    place = at("orders")
    put(place, {"number": "o-1", "state": "new"}, TOOL)
    path = f"{PAGES}/document/{Document.objects.get().pk}/change/"
    shown = read_form(admin_client.get(path).content.decode())
    assert shown["payload.number"] == ["o-1"] and shown["payload.address.city"] == [""]
    typed = {"payload.state": "gone", "payload.total": "much", "payload.lines": '[{"q": 1}]'}
    wrong = {**shown, **typed}
    answer = admin_client.post(path, wrong)
    told = html.unescape(answer.content.decode())
    for problem in (
        "state: must be one of new, sent, lost", "total: must be a number",
        "lines[0].q: is not a field", "lines[0].sku: is required",
    ):  # fmt: skip
        assert problem in told, problem
    assert answer.context["adminform"].form.errors.keys() == {
        "payload.state", "payload.total", "payload.lines",
    }  # fmt: skip
    right = {**shown, "payload.state": "sent"}
    answer = admin_client.post(path, right)
    assert answer.status_code == 302
    newest, older = read_history(place, "o-1")
    assert newest is not None
    assert (newest.version, newest.payload["state"], len(older)) == (2, "sent", 1)
    assert newest.trace == {"source": "staff", "tool": "admin"}
    answer = admin_client.post(path, right)
    assert "is at version 2, not at version 1" in answer.content.decode()


def test_staff_write_what_is_shared(admin_client: Client, at: Open, served: None) -> None:
    add = f"{PAGES}/document/add/"
    assert 'value="desk/rates"' in admin_client.get(add).content.decode()
    there = admin_client.post(add, {"place": "desk/rates", "scope_id": ""})
    assert there.status_code == 302
    given = read_form(admin_client.get(there["Location"]).content.decode())
    given |= {"payload.code": ["eur"], "payload.rate": ["1.1"]}
    assert admin_client.post(there["Location"], given).status_code == 302
    assert get_payload(at("rates", "any"), "eur") == {"code": "eur", "rate": 1.1}
    unknown = {**given, "store": "nope"}
    told = admin_client.post(add, {**unknown, "place": "desk/nope"})
    assert "Select a valid choice" in told.content.decode()


@requirement("admin.documents")
def test_what_nobody_touches_stays_as_it_is(admin_client: Client, at: Open, served: None) -> None:
    whole = {
        "number": "o-1", "state": "new", "total": 1, "placed": "2026-03-06", "gift": False,
        "note": "a\r\nb ", "address": {"city": "", "floor": 2.0}, "tags": [], "customer": None,
        "lines": [{"sku": "s", "qty": 1.5}],
    }  # fmt: skip
    place = at("orders")
    put(place, whole, TOOL)
    path = f"{PAGES}/document/{Document.objects.get().pk}/change/"
    for changes in ({}, {"payload.gift": "true"}, {"payload.total": ""}, {"payload.tags": '["x"]'}):
        shown = read_form(admin_client.get(path).content.decode())
        assert admin_client.post(path, {**shown, **changes}).status_code == 302
    wanted = {**whole, "gift": True, "total": None, "tags": ["x"]}
    assert get_payload(place, "o-1") == wanted
    shown = read_form(admin_client.get(path).content.decode())
    emptied = {**shown, "payload.address.city": "", "payload.address.floor": ""}
    assert admin_client.post(path, emptied).status_code == 302
    assert get_payload(place, "o-1")["address"] is None


@requirement("admin.documents")
def test_a_document_whose_store_is_gone_is_shown_and_not_written(
    admin_client: Client, at: Open, served: None
) -> None:
    put(at("orders", agent="gone"), {"number": "o-1", "state": "new"}, TOOL)
    path = f"{PAGES}/document/{Document.objects.get().pk}/change/"
    assert '"number": "o-1"' in page(admin_client, path.removeprefix(f"{PAGES}/"))
    answer = admin_client.post(path, {"seen_version": 1})
    assert "not found" in answer.content.decode()
    assert Document.objects.get().version == 1


def test_a_deletion_keeps_the_rules(admin_client: Client, at: Open, served: None) -> None:
    put(at("customers"), {"id": "c"}, TOOL)
    put(at("orders"), {"number": "1", "state": "new", "customer": "c"}, TOOL)
    path = f"{PAGES}/document/{Document.objects.get(store='customers').pk}/delete/"
    answer = admin_client.post(path, {"post": "yes"}, follow=True)
    told = answer.content.decode()
    assert "still referred to by orders/1" in told
    assert "successfully" not in told
    order = Document.objects.get(store="orders")
    admin_client.post(f"{PAGES}/document/{order.pk}/delete/", {"post": "yes"})
    admin_client.post(path, {"post": "yes"})
    assert Document.objects.count() == 0
    assert len(read_history(at("orders"), "1")[1]) == 1


def test_dead_letters_are_replayed_and_discarded(
    admin_client: Client, at: Open, served: None
) -> None:
    place = at("orders", orders={"failure": {"deadLetter": True}})
    put_many(place, [{"number": n, "state": "new", "customer": "c"} for n in ("1", "2")], TOOL)
    first, second = DeadLetter.objects.order_by("id")
    assert "customers" in page(admin_client, "deadletter/")
    assert "run_1" in page(admin_client, f"deadletter/{first.pk}/change/")

    def act(name: str, letter: DeadLetter) -> str:
        given = {"action": name, "_selected_action": [letter.pk]}
        answer = admin_client.post(f"{PAGES}/deadletter/", given, follow=True)
        return html.unescape(answer.content.decode())

    assert 'store "customers" does not have' in act("replay", first)
    put(at("customers"), {"id": "c"}, TOOL)
    assert "is stored" in act("replay", first)
    assert "1 discarded" in act("discard", second)
    assert get_payload(place, "1")["customer"] == "c"
    assert sorted(DeadLetter.objects.values_list("status", flat=True)) == ["discarded", "replayed"]
