"""`manage.py chat`: streaming, tools, widgets, questions, lost connections, Ctrl-C."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rich.console import Console

from agentsite.management.terminal.client import ChatClient
from agentsite.management.terminal.conversation import LASTED_SECONDS, Conversation
from agentsite.management.terminal.screen import Screen
from tests.commands.fake_host import SESSION, FakeHost, Played, done, init, serve, text

TABLE = {
    "type": "data-table",
    "widget_type": "data-table",
    "data": {"columns": ["Rank", "Customer"], "rows": [["1", "Globex"]], "title": "Top"},
}
ASKED = {
    "interactionId": "int_1",
    "action": "issue a refund",
    "connection_name": "stripe",
    "details": {"amount": 12},
}


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with serve(FakeHost()) as running:
        yield running


class Talk:
    """A conversation whose screen can be read and whose user is a list of answers."""

    def __init__(self, host: FakeHost, *answers: str, file: io.StringIO | None = None) -> None:
        self.file = file or io.StringIO()
        self.asked: list[str] = []
        self.pauses: list[float] = []
        self._answers = list(answers)
        screen = Screen(Console(file=self.file, width=100, highlight=False))
        self.client = ChatClient(host.url, scope="acme")
        self.conversation = Conversation(self.client, screen, self.answer, pause=self.pauses.append)

    def answer(self, question: str) -> str:
        self.asked.append(question)
        if not self._answers:
            raise EOFError
        return self._answers.pop(0)

    def send(self, message: str) -> str:
        try:
            return self.conversation.send(message)
        finally:
            self.client.close()

    @property
    def shown(self) -> str:
        return self.file.getvalue()


def test_text_tools_and_widget_are_shown(host: FakeHost) -> None:
    call = {"id": "tc_1", "name": "look_up", "args": {"number": 1042}}
    result = {"id": "tc_1", "name": "look_up", "status": "success", "duration_ms": 7}
    host.streams = [
        Played(
            [
                init(),
                text(2, "Let me "),
                text(3, "look."),
                (4, "tool_call_start", call),
                (5, "tool_call_result", result),
                (6, "widget", TABLE),
                text(7, "Globex \x1b[31mleads."),
                done(8),
            ]
        )
    ]
    talk = Talk(host)
    assert talk.send("Who leads?") == "model_stop"
    assert host.asked("/chat/stream") == [{"message": "Who leads?", "scope_id": "acme"}]
    lines = talk.shown.splitlines()
    assert lines[:3] == ["Let me look.", "→ look_up(number=1042)", "✓ look_up (7 ms)"]
    assert "[data-table] Top" in lines
    assert any("Rank" in line and "Customer" in line for line in lines)
    assert any("Globex" in line and "1" in line for line in lines)
    assert "Globex [31mleads." in lines
    assert lines[-1] == "1,234 tokens · $0.0388"
    assert "\x1b" not in talk.shown


def test_failed_tool_and_error_are_shown(host: FakeHost) -> None:
    result = {"id": "t", "name": "pay", "status": "error", "error": "card declined"}
    host.streams = [
        Played([init(), (2, "tool_call_result", result), (3, "error", {"message": "the end"})]),
        Played([done(4, "error")]),
    ]
    talk = Talk(host)
    assert talk.send("x") == "error"
    assert "✗ pay: card declined" in talk.shown
    assert "error: the end" in talk.shown
    assert "ended: error" in talk.shown


@pytest.mark.parametrize("broken", [True, False])
def test_dropped_connection_goes_on_behind_the_last_number(host: FakeHost, broken: bool) -> None:
    host.streams = [
        Played([init(), text(2, "one ")], broken),
        Played([text(3, "two ")], broken),
        Played([text(4, "three"), done(5)]),
    ]
    talk = Talk(host)
    assert talk.send("count") == "model_stop"
    assert talk.shown.startswith("one two three\n")
    follows = host.asked(f"/sessions/{SESSION}/events")
    assert [query["after"] for query in follows] == ["2", "3"]
    assert follows[0]["scope_id"] == "acme"
    assert talk.pauses == []


def test_a_silent_stream_that_the_server_ends_in_time_is_no_lost_connection(
    host: FakeHost,
) -> None:
    many = [Played([], broken=False) for _ in range(9)]
    host.streams = [Played([init()]), *many, Played([text(2, "done"), done(3)])]
    talk, moments = Talk(host), itertools.count(0, int(LASTED_SECONDS))
    screen = talk.conversation.screen
    talk.conversation = Conversation(
        talk.client, screen, talk.answer, pause=talk.pauses.append, clock=lambda: next(moments)
    )
    assert talk.send("x") == "model_stop"
    assert talk.pauses == []
    assert talk.shown.startswith("done\n")


def test_server_that_stays_away_is_given_up(host: FakeHost) -> None:
    host.streams = [Played([init()]), *(Played([], broken=True) for _ in range(9))]
    talk = Talk(host)
    assert talk.send("x") == "lost"
    assert len(talk.pauses) == 5
    assert "the run goes on without us" in talk.shown


def test_resumed_run_says_what_counts(host: FakeHost) -> None:
    resumed = (3, "run_resumed", {"attempt": 2, "discardFrom": 1})
    host.streams = [Played([init(), text(2, "half"), resumed, text(4, "whole"), done(5)])]
    talk = Talk(host)
    talk.send("x")
    assert "half\nthe server took the run up again; what follows replaces the above\nwhole" in (
        talk.shown
    )


@pytest.mark.parametrize(("typed", "approved"), [("y", True), ("YES", True), ("", False)])
def test_confirmation_is_asked_and_answered(host: FakeHost, typed: str, approved: bool) -> None:
    host.streams = [
        Played([init(), (2, "confirmation_required", ASKED), text(3, "As you wish."), done(4)])
    ]
    talk = Talk(host, typed)
    assert talk.send("refund it") == "model_stop"
    assert talk.asked == ["Approve? [y/N] "]
    assert "The agent wants to: issue a refund" in talk.shown
    assert "connection_name: stripe" in talk.shown
    assert host.asked("/ask-user-response") == [
        {
            "sessionId": SESSION,
            "interactionId": "int_1",
            "approved": approved,
            "scope_id": "acme",
        }
    ]


def test_late_answer_follows_the_parked_run(host: FakeHost) -> None:
    parked = Played(
        [init(), (2, "confirmation_required", ASKED), done(None, "awaiting_confirmation")]
    )
    host.streams = [parked, Played([text(3, "Done."), done(4)])]
    talk = Talk(host, "y")
    assert talk.send("refund it") == "model_stop"
    assert host.asked(f"/sessions/{SESSION}/events")[0]["after"] == "2"


def test_nobody_to_answer_leaves_the_run_parked(host: FakeHost) -> None:
    parked = Played(
        [init(), (2, "confirmation_required", ASKED), done(None, "awaiting_confirmation")]
    )
    host.streams = [parked]
    talk = Talk(host)
    assert talk.send("refund it") == "awaiting_confirmation"
    assert "nobody is here to answer" in talk.shown
    assert host.asked("/ask-user-response") == []


def test_choices_and_questions_are_answered(host: FakeHost) -> None:
    options = [{"label": "Red", "value": "r"}, {"label": "Blue", "value": "b"}]
    choice = {"ask_id": "int_2", "question": "Colour?", "options": options, "multi": True}
    questions = {"ask_id": "int_3", "questions": [{"id": "q1", "question": "Name?"}]}
    host.streams = [
        Played([init(), (2, "ask_choice", choice), (3, "ask_user", questions), done(4)])
    ]
    talk = Talk(host, "1, 2", "Dana")
    talk.send("x")
    answers = [body["answers"] for body in host.asked("/ask-user-response")]
    assert answers == [{"Colour?": "r, b"}, {"q1": "Dana"}]


class Interrupting(io.StringIO):
    """A screen at which the user presses Ctrl-C when a word appears."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word: str | None = word

    def write(self, written: str) -> int:
        count = super().write(written)
        if self.word and self.word in written:
            self.word = None
            raise KeyboardInterrupt
        return count


def test_ctrl_c_interrupts_the_run_and_waits_for_its_end(host: FakeHost) -> None:
    host.streams = [
        Played([init(), text(2, "slowly"), text(3, "never seen")]),
        Played([done(3, "user_abort")]),
    ]
    talk = Talk(host, file=Interrupting("slowly"))
    assert talk.send("x") == "user_abort"
    assert [r[:2] for r in host.requests] == [
        ("POST", "/chat/stream"),
        ("POST", f"/sessions/{SESSION}/interrupt"),
        ("GET", f"/sessions/{SESSION}/events"),
    ]
    assert "never seen" not in talk.shown
    assert "ended: user_abort" in talk.shown


def test_refusal_shows_the_servers_words(host: FakeHost) -> None:
    error = {"error": {"code": "session_busy", "message": "Another run is live."}}
    host.refusals["/chat/stream"] = (409, error)
    talk = Talk(host)
    assert talk.send("x") == "refused"
    assert "refused: Another run is live." in talk.shown


WIDGETS: list[tuple[str, Any, list[str]]] = [
    ("info-card", {"title": "T", "fields": [{"label": "L", "value": "V"}]}, ["T", "L", "V"]),
    ("metric", {"label": "Load", "value": 3, "trend": "up"}, ["Load", "value", "3", "trend"]),
    ("status-board", {"items": [{"id": "a", "severity": "low"}]}, ["severity", "low"]),
    (
        "data-table",
        {"columns": [{"key": "a", "label": "A!"}], "rows": [{"a": True}]},
        ["A!", "yes"],
    ),
    ("something-new", {"x": {"deep": [1, 2]}}, ["something-new", "deep: 1, 2"]),
    ("odd", ["a", "b"], ["a, b"]),
]


@pytest.mark.parametrize(("widget", "data", "parts"), WIDGETS, ids=[w[0] for w in WIDGETS])
def test_every_widget_is_readable(host: FakeHost, widget: str, data: Any, parts: list[str]) -> None:
    frame = (2, "widget", {"type": widget, "widget_type": widget, "data": data})
    host.streams = [Played([init(), frame, done(3)])]
    talk = Talk(host)
    talk.send("x")
    assert all(part in talk.shown for part in parts)


def test_command_sends_one_message(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    host.streams = [Played([init(), text(2, "Hello."), done(3)])]
    call_command("chat", "good", "morning", url=host.url, session="sess_old")
    assert host.asked("/chat/stream") == [{"message": "good morning", "sessionId": "sess_old"}]
    assert "Hello." in capsys.readouterr().out


def test_command_shows_its_key_with_every_request(
    host: FakeHost, settings: Any, type_lines: Callable[[str], None]
) -> None:
    settings.AGENTSITE_KEY = "ak_of_the_environment"
    asking = [init(), (2, "confirmation_required", ASKED), text(3, "Done."), done(4)]
    options: list[tuple[dict[str, str], str]] = [
        ({"key": "ak_mine"}, "ak_mine"),
        ({}, "ak_of_the_environment"),
    ]
    for given, shown in options:
        host.credentials.clear()
        host.streams = [Played(asking)]
        type_lines("refund it\ny\n")
        call_command("chat", url=host.url, **given)
        assert host.credentials == {f"Bearer {shown}"}
    assert len(host.asked("/ask-user-response")) == 2


def test_command_reads_messages_until_the_input_ends(
    host: FakeHost,
    capsys: pytest.CaptureFixture[str],
    type_lines: Callable[[str], None],
) -> None:
    host.streams = [Played([init(n), text(n + 1, f"Answer {n}."), done(n + 2)]) for n in (1, 4)]
    type_lines("first\n\nsecond\n")
    call_command("chat", url=host.url)
    assert [body.get("sessionId") for body in host.asked("/chat/stream")] == [None, SESSION]
    shown = capsys.readouterr().out
    assert "Answer 1." in shown
    assert f"--session {SESSION}" in shown


def test_command_without_a_server_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(FakeHost()) as gone:
        url = gone.url
    with pytest.raises(CommandError, match="Is a server running"):
        call_command("chat", "hi", url=url)
    assert "no connection to" in capsys.readouterr().out


@pytest.fixture
def type_lines(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put lines on standard input."""
    return lambda lines: monkeypatch.setattr("sys.stdin", io.StringIO(lines))
