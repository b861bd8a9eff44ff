"""Known secrets are found by value, in whatever form they turn up."""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from agentsite.engine.events import ToolLogged
from agentsite.engine.messages import Message, TextPart, ToolCallPart
from agentsite.engine.redaction import REDACTED, Redactor, spell
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


def test_keys_that_become_alike_lose_nothing() -> None:
    value = {f"a {SECRET}": 1, f"a {quote(SECRET, safe='')}": 2, f"a {REDACTED}": 3}
    found = REDACTOR.value(value)
    assert found == {f"a {REDACTED} 2": 1, f"a {REDACTED} 3": 2, f"a {REDACTED}": 3}
    assert REDACTOR.value({SECRET: SECRET}, keys=False) == {SECRET: REDACTED}


@given(st.lists(st.text("abc", min_size=6, max_size=9), max_size=6), st.text("abc", max_size=60))
def test_it_finds_what_a_pattern_of_all_forms_finds(secrets: list[str], text: str) -> None:
    forms = sorted({f for s in secrets for f in spell(s)}, key=lambda form: (-len(form), form))
    wanted = re.sub("|".join(map(re.escape, forms)), REDACTED, text) if forms else text
    assert Redactor(secrets).text(text) == wanted


def test_many_long_secrets_are_learnt_at_once() -> None:
    """As one pattern they would hold the process up for minutes."""
    secrets = [f"{number:04}" + "&+x/ " * 800 for number in range(300)]
    logs, began = LogRedaction(), time.process_time()
    for secret in secrets:
        logs.learn_of_scope((secret,))
    assert Redactor(secrets).text(f"a {secrets[0]} b") == f"a {REDACTED} b"
    assert logs.text(f"a {secrets[299]} b {SECRET}") == f"a {REDACTED} b {SECRET}"
    assert logs.text(secrets[0]) == secrets[0], "only the last few hundred stay known"
    assert time.process_time() - began < 10


def test_secrets_of_scopes_are_for_log_lines_alone() -> None:
    logs = LogRedaction()
    logs.learn({"the server's own"})
    logs.learn_of_scope([SECRET, "short"])
    line = f"the server's own, {SECRET}, short"
    assert logs.text(line) == f"{REDACTED}, {REDACTED}, short"
    assert logs.redactor.text(line) == f"{REDACTED}, {SECRET}, short"


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
