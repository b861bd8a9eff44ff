"""Restricted fields stay hidden where no key names them: flat keys, tables, pairs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentsite.connections.fields import Scrubbing
from agentsite.manifest.access import FieldRestriction
from tests.requirements import requirement

RESTRICTIONS = (
    FieldRestriction(entity="Contact", field="ssn", policy="never_retrieve"),
    FieldRestriction(entity="Contact", field="address.street", policy="retrieve_but_redact"),
)
SECRET, STREET = "secret-1", "secret-2"
HIDDEN: dict[str, Any] = {
    "a flat key": {"contact.ssn": SECRET, "address.street": STREET, "Address/Street": STREET},
    "a flat key in brackets": {"address[street]": STREET},
    "columns and rows": {"columns": ["name", "ssn"], "rows": [["Eve", SECRET], ["Ann", SECRET]]},
    "one row": {"columns": ["name", "ssn"], "rows": [["Eve", SECRET]]},
    "one column": {"columns": ["ssn"], "rows": [[SECRET], [SECRET]]},
    "columns with types": {
        "columns": [{"name": "name", "type": "t"}, {"name": "SSN", "type": "t"}],
        "data": [["Eve", SECRET]],
    },
    "rows deeper down": {"headers": ["id", "ssn"], "result": {"pages": [{"rows": [[1, SECRET]]}]}},
    "a schema apart": {
        "schema": {"fields": [{"name": "id"}, {"name": "ssn"}]},
        "rows": [{"f": [{"v": "1"}, {"v": SECRET}]}, {"f": [{"v": "2"}, {"v": SECRET}]}],
    },
    "rows that do not fit": {"columns": ["name", "ssn"], "rows": [["Eve", "x", SECRET], [SECRET]]},
    "as many columns as rows": {"columns": ["name", "ssn"], "values": [["E", "A"], [SECRET] * 2]},
    "columns of other lengths": {"columns": ["id", "ssn"], "values": [[1, 2, 3], [SECRET] * 3]},
    "a header row": [["name", "ssn"], ["Eve", SECRET], ["Ann", SECRET]],
    "a header row below a key": {"values": [["id", "Contact.ssn"], [1, SECRET]]},
    "a pair": [{"name": "name", "value": "Eve"}, {"name": "ssn", "value": SECRET}],
    "a pair in other words": [{"key": "SSN", "stringValue": SECRET, "id": 7}],
    "a change": {"field": "address.street", "was": STREET, "is": STREET, "at": "noon"},
    "a list of pairs": [["name", "Eve"], ["ssn", SECRET]],
    "a list of pairs, the name first": [["ssn", SECRET], ["name", "Eve"]],
    "a table in a text": {"note": json.dumps([["id", "ssn"], [1, SECRET]])},
}


def scrub(value: Any) -> tuple[Any, Scrubbing]:
    scrubbing = Scrubbing(RESTRICTIONS, frozenset({"Contact"}))
    return scrubbing.scrub(value), scrubbing


@requirement("reference.request-fields")
@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_restricted_is_hidden_in_every_shape(name: str) -> None:
    told, scrubbing = scrub(HIDDEN[name])
    assert "secret" not in json.dumps(told)
    assert scrubbing.stripped > 0
    assert scrubbing.removed <= {"Contact.ssn", "Contact.address.street"}


def test_the_rest_of_a_table_stays() -> None:
    told, scrubbing = scrub(HIDDEN["columns and rows"])
    assert told["rows"] == [["Eve", "[REDACTED]"], ["Ann", "[REDACTED]"]]
    assert scrubbing.stripped == 2
    told, scrubbing = scrub(HIDDEN["a pair"])
    assert told == [{"name": "name", "value": "Eve"}, {"name": "ssn", "value": "[REDACTED]"}]
    assert scrubbing.stripped == 1


OPEN: list[Any] = [
    {"columns": ["name", "city"], "rows": [["Eve", "Rome"]]},
    {"fields": ["name", "ssn"], "contacts": [{"name": "E", "a": 1, "b": 2}, {"name": "A", "c": 3}]},
    {"name": "ssn", "id": 7, "count": 3},
    {"key": "city", "value": "Rome"},
    [["name", "city"], ["Eve", "Rome"]],
    {"required": ["name", "ssn"], "count": 2, "message": "ssn is missing"},
]


@pytest.mark.parametrize("value", OPEN)
def test_what_is_not_restricted_stays_as_it_is(value: Any) -> None:
    told, scrubbing = scrub(value)
    assert told == value
    assert scrubbing.stripped == 0
