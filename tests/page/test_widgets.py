"""Every widget type shows all of its data, whatever shape the data have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.page.fake_api import FakeApi

ENTITY = {
    "mac": "aa:bb:cc:01",
    "manufacturer": "Acme Sensors",
    "protocols": ["wifi", "ble"],
    "zone": "z4",
    "zone_name": "Loading dock",
    "suspicion_score": 72,
    "score_factors": {"new_here": 40},
    "tag_status": "unknown",
    "dwell_time_minutes": 35,
    "signal_strength_dbm": -61,
    "owner": "nobody yet",
}
OTHER = {**ENTITY, "mac": "aa:bb:cc:02", "suspicion_score": 12, "tag_status": "trusted"}
WIDGETS: dict[str, list[dict[str, Any]]] = {
    "data-table": [
        {
            "columns": ["Rank", "Customer"],
            "rows": [["1", "Globex"], ["2", "Initech", "extra cell"]],
        },
        {
            "columns": [{"key": "name", "label": "Name"}, {"key": "total", "label": "Total"}],
            "rows": [{"name": "Wayne", "total": 12, "note": "unlisted key"}, {"name": "Stark"}],
            "title": "By name",
            "sortable": True,
            "source": "ledger",
        },
    ],
    "info-card": [
        {
            "title": "Globex Corp",
            "subtitle": "Customer",
            "description": "Pays late.",
            "fields": [{"label": "Open", "value": "$90", "since": "May"}],
            "tags": ["vip"],
            "status": "warning",
            "actions": [{"label": "Remind them", "message": "Send Globex a reminder"}],
            "region": "north",
        }
    ],
    "metric": [
        {
            "label": "Revenue",
            "value": 267840,
            "unit": "USD",
            "trend": "up",
            "description": "March",
            "previous_value": 250000,
            "target": 300000,
        }
    ],
    "timeline": [
        {
            "label": "What happened",
            "events": [
                {"timestamp": "2026-03-01T09:00:00Z", "label": "Order placed", "type": "order"},
                {
                    "timestamp": "soon",
                    "label": "Delayed",
                    "severity": "high",
                    "device": "scanner",
                    "carrier": "UPX",
                },
            ],
        }
    ],
    "status-board": [
        {
            "title": "Services",
            "items": [
                {
                    "id": "svc-1",
                    "label": "Checkout",
                    "severity": "critical",
                    "status": "down",
                    "description": "No answer",
                    "updated_at": "2026-03-01T09:00:00Z",
                    "team": "payments",
                }
            ],
        }
    ],
    "score-breakdown": [
        {
            "label": "Churn risk",
            "total_score": 70,
            "max_score": 100,
            "factors": [
                {"name": "Tickets", "value": 40, "max": 50, "description": "Nine open", "weight": 2}
            ],
        }
    ],
    "alert-card": [
        {
            "id": "al-7",
            "type": "intrusion",
            "zone": "Vault",
            "severity": "critical",
            "description": "Door open",
            "involved_devices": ["cam-3"],
            "protocols_involved": ["zigbee"],
            "detected_at": "2026-03-01T09:00:00Z",
            "shift": "night",
        }
    ],
    "entity-card": [
        ENTITY,
        {
            "title": "Order 7",
            "subtitle": "Globex",
            "fields": [{"label": "Total", "value": "$90"}],
            "tags": ["rush"],
            "status": "ok",
        },
    ],
    "entity-list": [
        {"title": "Nearby", "devices": [ENTITY, OTHER], "sort": "suspicion_score", "max_display": 1}
    ],
    "comparison": [{"title": "Which one", "items": [ENTITY, OTHER], "highlight_differences": True}],
    "scope-map": [
        {
            "label": "Ground floor",
            "highlight_zones": ["z4"],
            "highlight_devices": ["cam-3"],
            "show_all_devices": True,
            "floor": 2,
        }
    ],
    "credential-input": [
        {
            "connection_name": "stripe",
            "app_id": "app-1",
            "fields": [{"name": "key", "label": "API key", "type": "password", "hint": "sk"}],
        }
    ],
    "document-preview": [
        {
            "preview_id": "p1",
            "resource_type": "kb_document",
            "title": "Refund policy",
            "body": "Within **30** days.",
            "category": "policies",
            "action": "update",
            "proposal_id": "prop-9",
            "author": "agent",
        }
    ],
    "no-such-widget": [{"anything": {"nested": ["goes", 5]}, "rows": [{"a": 1}, {"b": "two"}]}],
}
WRONG_FORM = {
    "data-table": {"columns": "not a list", "rows": {"what": "is this"}},
    "timeline": {"events": ["just text", {"label": "mixed"}]},
    "metric": {"value": {"deep": "value"}, "label": ["a", "b"]},
    "score-breakdown": {"total_score": "many", "factors": [{"name": "Odd", "value": "lots"}]},
    "status-board": {"items": None, "title": "Empty board"},
    "entity-card": {"protocols": "wifi only", "suspicion_score": "high-ish"},
}
SHOWN_OTHERWISE = {
    "vip": "vip",
    "up": "rising",
    "2026-03-01T09:00:00Z": "1 Mar 2026",
    "password": "",
    "Within **30** days.": "within 30 days.",
}
INTERNAL = {
    "p1",
    "suspicion_score",
    "Send Globex a reminder",
}  # ids, sort key, what an action sends


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def show(api: FakeApi, page: Page, *widgets: tuple[str, Any]) -> list[Locator]:
    """Open a stored session with these widgets; their details unfolded."""
    blocks = [{"type": "widget", "widgetType": kind, "data": data} for kind, data in widgets]
    message = {"id": "m1", "type": "assistant_text", "text": "", "contentBlocks": blocks}
    session = api.session([message])
    page.goto(f"{api.url}?session={session.id}")
    expect(page.locator("[data-widget]")).to_have_count(len(widgets))
    for more in page.locator("[data-widget] details > summary").all():
        more.click()
    return page.locator("[data-widget]").all()


def test_nothing_is_dropped(api: FakeApi, page: Page) -> None:
    widgets = [(kind, data) for kind, several in WIDGETS.items() for data in several]
    for (_, data), shown in zip(widgets, show(api, page, *widgets), strict=True):
        words = shown.inner_text().lower().replace(",", "")
        for leaf in leaves(data):
            expected = SHOWN_OTHERWISE.get(leaf, leaf).replace("_", " ").lower().replace(",", "")
            assert leaf in INTERNAL or expected in words, f"{leaf!r} is missing in {words!r}"


def test_data_of_the_wrong_form_are_shown_all_the_same(api: FakeApi, page: Page) -> None:
    for data, shown in zip(WRONG_FORM.values(), show(api, page, *WRONG_FORM.items()), strict=True):
        words = shown.inner_text()
        for leaf in leaves(data):
            assert leaf in words, f"{leaf!r} is missing in {words!r}"


def test_a_card_action_sends_its_message(api: FakeApi, page: Page) -> None:
    [card] = show(api, page, ("info-card", WIDGETS["info-card"][0]))
    card.get_by_role("button", name="Remind them").click()
    mine = page.locator('#transcript > [data-type="user"]')
    expect(mine).to_contain_text("Send Globex a reminder")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    assert api.sent("POST", "/chat/stream")[0]["message"] == "Send Globex a reminder"


def test_a_table_sorts(api: FakeApi, page: Page) -> None:
    [table] = show(api, page, ("data-table", WIDGETS["data-table"][1]))
    table.get_by_role("button", name="Name").click()
    expect(table.locator("tbody tr").first).to_contain_text("Stark")
    expect(table.locator("th").first).to_have_attribute("aria-sort", "ascending")


def test_credentials_go_to_their_route_alone(api: FakeApi, page: Page) -> None:
    [form] = show(api, page, ("credential-input", WIDGETS["credential-input"][0]))
    form.get_by_label("API key").fill("sk-secret")
    api.refuse("POST", "/widget-actions", 404, "not_found", "There is no such route.")
    form.get_by_role("button", name="Save").click()
    expect(form).to_contain_text("This server does not take this action")
    form.get_by_role("button", name="Save").click()
    expect(form).to_contain_text("Saved.")
    expect(form.get_by_label("API key")).to_have_value("")
    sent = api.sent("POST", "/widget-actions")[1]
    assert sent["action"] == "credential_saved"
    assert sent["values"] == {"key": "sk-secret"}
    assert api.sent("POST", "/chat/stream") == []
