"""What targets are told: cut, parsed, filled into templates."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from automations_app.payloads import Told, compose_alert, compose_result, cut, parse_data
from tests.requirements import requirement

AT = datetime(2026, 3, 1, 9, 30, 5, 123456, tzinfo=UTC)


def compose(output: str, target: str = "webhook", **block: Any) -> dict[str, Any]:
    return compose_result(Told("daily", AT, output), block, target)


@requirement("automations.delivery-payload")
def test_a_payload_tells_of_success_with_result_and_data() -> None:
    head = {"automation": "daily", "status": "success", "timestamp": "2026-03-01T09:30:05.123Z"}
    assert compose("All well.") == {**head, "result": "All well."}
    assert compose("All well.", includeResult=False) == head
    answer = '{"total": 3, "by": {"ann": 1}}'
    data = json.loads(answer)
    assert compose(answer) == {**head, "result": answer, "data": data}
    assert compose(answer, includeResult=False) == {**head, "data": data}
    assert compose_alert(Told("daily", AT, error="It broke.")) == {
        **head, "status": "failure", "error": "It broke.",
    }  # fmt: skip


@requirement("automations.delivery-payload")
def test_data_is_the_answer_or_its_one_fenced_block() -> None:
    assert parse_data(' {"a": 1}\n') == {"a": 1}
    assert parse_data('Here:\n```json\n{"a": [1]}\n```\nDone.') == {"a": [1]}
    assert parse_data('```\n{"a": 1}\n```') == {"a": 1}
    for none in (
        "words", "[1, 2]", "7", "```json\n[1]\n```", "{broken", "```json\n{broken\n```", "",
        '```json\n{"a": 1}\n```\n```json\n{"b": 1}\n```', "[" * 100_000,
    ):  # fmt: skip
        assert parse_data(none) is None


@requirement("automations.delivery-payload")
def test_a_long_result_keeps_three_quarters_of_its_room_for_the_beginning() -> None:
    assert cut("x" * 16_384) == ("x" * 16_384, False)
    text = "a" * 12_288 + "b" * 100 + "c" * 4_096
    shown, truncated = cut(text)
    assert truncated
    assert shown == "a" * 12_288 + "\n\n… [truncated 100 chars] …\n\n" + "c" * 4_096
    payload = compose(text)
    assert (payload["result"], payload["truncated"]) == (shown, True)
    assert "truncated" not in compose(text, includeResult=False)


@requirement("automations.delivery-templates")
def test_templates_name_fields_by_dotted_paths(caplog: pytest.LogCaptureFixture) -> None:
    answer = json.dumps({"n": 2, "who": {"name": "Ann"}, "rows": [{"id": "r1"}], "a.b": "flat"})
    template = (
        "{{automation}} {{ n }} {{who.name}} {{rows.0.id}} {{a.b}} {{who}} {{data.n}} {{timestamp}}"
    )
    said = compose(answer, template=template)["message"]
    assert said == 'daily 2 Ann r1 flat {"name":"Ann"} 2 2026-03-01T09:30:05.123Z'
    told = compose("All well.", template="{{result}}!", includeResult=False)
    assert (told["message"], "result" in told) == ("All well.!", False)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            missing = compose(answer, template="{{nope}} {{who.age}} {{rows.7}} {{ n }}")
            assert missing["message"] == "{{nope}} {{who.age}} {{rows.7}} 2"
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings == [
        "a template of daily names nope, rows.7, who.age, which its result does not have"
    ]


@requirement("automations.delivery-templates")
def test_values_are_not_read_as_templates_and_mention_nobody_in_slack() -> None:
    answer = json.dumps({"name": "{{automation}} <!channel> & co"})
    assert compose(answer, template="{{name}}")["message"] == "{{automation}} <!channel> & co"
    said = compose(answer, "slack", template="<https://a.test|{{name}}>")["message"]
    assert said == "<https://a.test|{{automation}} &lt;!channel&gt; &amp; co>"
