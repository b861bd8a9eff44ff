"""What no row has room for is refused where it is read: in a file, in the form."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agentsite.manifest.automations import AutomationSpec
from tests.requirements import requirement

TARGET = {"type": "webhook", "url": "https://a.example/in"}


@requirement("automations.files")
@pytest.mark.parametrize(
    "keys",
    [
        {"scope": "s" * 201},
        {"schedule": f"{','.join(['0'] * 120)} * * * *"},
        {"scope": "a\0b"},
        {"prompt": "a\0b"},
        {"title": "\0"},
        {"delivery": {"targets": [TARGET], "template": "\0"}},
        {"delivery": {"targets": [{**TARGET, "secret": "\0"}]}},
        {"failureAlert": {"targets": [{"type": "email", "to": ["a\0@example.com"]}]}},
    ],
)
def test_a_file_says_nothing_that_no_row_can_hold(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="characters"):
        AutomationSpec(**{"title": "T", "prompt": "P", **keys})


@requirement("automations.files")
@pytest.mark.parametrize(
    "keys",
    [
        {"retries": 11},
        {"failureAlert": {"targets": [TARGET], "after": 1_001}},
        {"failureAlert": {"targets": [TARGET], "cooldownMinutes": 525_601}},
        {"failureAlert": {"targets": [TARGET], "cooldownMinutes": float("inf")}},
        {"webhookAuth": {"secret": "s", "type": "stripe", "tolerance": 86_401}},
    ],
)
def test_numbers_have_an_end(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="less than or equal to"):
        AutomationSpec(**{"title": "T", "prompt": "P", **keys})


@requirement("automations.files")
def test_a_file_may_fill_what_there_is() -> None:
    minutes = ",".join(["0"] * 96)
    spec = AutomationSpec(title="T", prompt="P", schedule=f"{minutes} * * * *", scope="s" * 200)
    assert spec.kind == "cron"
