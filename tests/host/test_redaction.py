"""Known secrets are found by value, in whatever form they turn up."""

from __future__ import annotations

import base64
import json
import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsite.engine.events import ToolLogged
from agentsite.engine.messages import Message, TextPart, ToolCallPart
from agentsite.engine.redaction import REDACTED, Redactor
from agentsite.host.redaction import LogRedaction

SECRET = 'sk-live "4/2+x'
REDACTOR = Redactor({SECRET, "short"})


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"key={SECRET}!",
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    ],
)
def test_a_secret_is_replaced_in_every_form(text: str) -> None:
    redacted = REDACTOR.text(text)
    assert REDACTED in redacted
    assert SECRET not in redacted


def test_an_ordinary_short_word_stays() -> None:
    assert REDACTOR.text("a short word") == "a short word"


@given(before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_a_secret_inside_longer_base64_is_replaced(before: bytes, after: bytes) -> None:
    text = base64.b64encode(before + SECRET.encode() + after).decode()
    redacted = REDACTOR.text(text)
    assert REDACTED in redacted
    left = redacted.split(REDACTED)
    assert all(len(piece) <= len(text) - len(SECRET) for piece in left)


def test_nested_values_and_keys_are_cleaned_and_others_kept() -> None:
    value = {"a": [{"b": f"x {SECRET}"}], SECRET: 1, "n": 3}
    assert REDACTOR.value(value) == {"a": [{"b": f"x {REDACTED}"}], REDACTED: 1, "n": 3}


def test_events_and_messages_keep_their_types() -> None:
    event = REDACTOR.struct(ToolLogged("tc_1", "t", f"said {SECRET}"))
    assert event == ToolLogged("tc_1", "t", f"said {REDACTED}")
    call = ToolCallPart("tc_1", "t", {"k": SECRET})
    message = Message("assistant", (TextPart("hi"), call))
    cleaned = REDACTOR.struct(message)
    assert cleaned.tool_calls[0].arguments == {"k": REDACTED}
    assert SECRET not in json.dumps(repr(cleaned))


def test_what_holds_no_secret_is_the_same_object() -> None:
    message = Message("user", (TextPart("hello"),))
    assert REDACTOR.struct(message) is message


def test_log_lines_and_tracebacks_are_cleaned() -> None:
    logs = LogRedaction()
    logs.learn({SECRET})
    try:
        raise ValueError(f"refused {SECRET}")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "p", 1, "with %s", (SECRET,), info)
    assert logs.filter(record)
    line = logging.Formatter().format(record)
    assert SECRET not in line
    assert REDACTED in line
