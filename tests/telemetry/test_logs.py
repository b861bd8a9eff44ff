"""Log lines as JSON: one object a line, with ids, without secrets."""

from __future__ import annotations

import json
import logging

from agentsite.host.redaction import LogRedaction
from agentsite.telemetry.ids import carry
from agentsite.telemetry.logs import JsonLines
from tests.requirements import requirement


def line(record: logging.LogRecord) -> dict[str, object]:
    """What is printed of a record."""
    text = JsonLines().format(record)
    assert "\n" not in text
    told: dict[str, object] = json.loads(text)
    return told


def make(message: str, *args: object, exc_info: object = None) -> logging.LogRecord:
    factory = logging.getLogRecordFactory()
    return factory("agentsite.host", logging.WARNING, __file__, 1, message, args, exc_info)


@requirement("ops.logs")
async def test_a_line_names_the_work_it_is_about() -> None:
    carry(run_id="run_1", scope_id="acme")
    told = line(make("run %s was\ntaken over", "run_1"))
    assert told["message"] == "run run_1 was\ntaken over"
    assert (told["run_id"], told["scope_id"]) == ("run_1", "acme")
    assert (told["level"], told["logger"]) == ("WARNING", "agentsite.host")
    assert str(told["timestamp"]).endswith("+00:00")


@requirement("ops.logs")
def test_a_traceback_is_part_of_its_line_and_secrets_are_not() -> None:
    secrets = LogRedaction()
    secrets.learn(["hunter2-and-more"])
    try:
        raise ValueError("the key hunter2-and-more is wrong")
    except ValueError as error:
        record = make("it broke", exc_info=(ValueError, error, error.__traceback__))
    secrets.filter(record)
    told = line(record)
    assert "ValueError" in str(told["exception"])
    assert "hunter2" not in json.dumps(told)
