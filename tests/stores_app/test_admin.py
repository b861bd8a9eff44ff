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


def test_a_payload_is_changed_by_the_stores_rules(
    admin_client: Client, at: Open, served: None
) -> None:
    place = at("orders")
    put(place, {"number": "o-1", "state": "new"}, TOOL)
    path = f"{PAGES}/document/{Document.objects.get().pk}/change/"
    wrong = {"number": "o-1", "state": "gone", "colour": 1}
    answer = admin_client.post(path, {"payload": json.dumps(wrong), "seen_version": 1})
    told = html.unescape(answer.content.decode())
    assert "state: must be one of new, sent, lost" in told
    assert "colour: is not a field" in told
    right = {"number": "o-1", "state": "sent"}
    answer = admin_client.post(path, {"payload": json.dumps(right), "seen_version": 1})
    assert answer.status_code == 302
    newest, older = read_history(place, "o-1")
    assert newest is not None
    assert (newest.version, newest.payload["state"], len(older)) == (2, "sent", 1)
    assert newest.trace == {"source": "staff", "tool": "admin"}
    answer = admin_client.post(path, {"payload": json.dumps(right), "seen_version": 1})
    assert "is at version 2, not at version 1" in answer.content.decode()


def test_staff_write_what_is_shared(admin_client: Client, at: Open, served: None) -> None:
    new = {"agent": "desk", "scope_id": "", "store": "rates"}
    given = {**new, "payload": '{"code": "eur", "rate": 1.1}'}
    assert admin_client.post(f"{PAGES}/document/add/", given).status_code == 302
    assert get_payload(at("rates", "any"), "eur") == {"code": "eur", "rate": 1.1}
    unknown = {**given, "store": "nope"}
    told = admin_client.post(f"{PAGES}/document/add/", unknown).content.decode()
    assert "not found" in told


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
