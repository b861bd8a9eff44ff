"""`responseShaping`: path, pick, rename, template, in this order."""

from __future__ import annotations

from typing import Any

import pytest

from agentsite.tools.shaping import shape

ORDER = {
    "id": 7,
    "owner": {"name": "Ann", "mail": "a@b.c"},
    "a.b": 1,
    "lines": [{"n": 1}, {"n": 2}],
}


@pytest.mark.parametrize(
    ("shaping", "expected"),
    [
        ({}, ORDER),
        ({"path": "owner.name"}, "Ann"),
        ({"path": "lines.1.n"}, 2),
        ({"path": "a.b"}, 1),
        ({"path": "owner.phone"}, None),
        ({"pick": ["id", "owner.name", "gone"]}, {"id": 7, "owner": {"name": "Ann"}}),
        ({"path": "lines", "pick": ["n"], "rename": {"n": "no"}}, [{"no": 1}, {"no": 2}]),
        (
            {"pick": ["id", "owner.name", "owner.mail"], "rename": {"owner.name": "name"}},
            {"id": 7, "owner": {"mail": "a@b.c"}, "name": "Ann"},
        ),
        (
            {"pick": ["id", "owner.name"], "rename": {"owner.name": "owner"}},
            {"id": 7, "owner": "Ann"},
        ),
        (
            {"pick": ["id", "lines"], "rename": {"id": "lines", "lines": "id"}},
            {"lines": 7, "id": ORDER["lines"]},
        ),
        (
            {"template": "{{ id }} of {{owner.name}}{{gone}}: {{lines}}"},
            '7 of Ann: [{"n": 1}, {"n": 2}]',
        ),
        ({"path": "lines", "rename": {"n": "no"}, "template": "#{{no}}"}, "#1\n#2"),
        ({"path": "owner.name", "template": "x"}, "Ann"),
    ],
)
def test_a_value_is_shaped(shaping: dict[str, Any], expected: Any) -> None:
    assert shape(ORDER, **shaping) == expected


def test_the_value_itself_stays_as_it_is() -> None:
    value = {"a": {"b": 1, "c": 2}}
    shape(value, pick=["a.b"], rename={"a.b": "x"})
    assert value == {"a": {"b": 1, "c": 2}}
