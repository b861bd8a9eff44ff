"""What is demanded of this project, sentence by sentence, and the mark that says "tested here".

Law: each id names the page and section that demands it, and what, in our own words. Tests
carry `@requirement("id")`; `test_requirements.py` finds ids without a test, and marks
without an id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


class Demand(NamedTuple):
    """Where something is demanded, and what."""

    page: str
    what: str


def requirement(*ids: str) -> Callable[[T], T]:
    """Mark a test as proof of these demands."""
    unknown = [each for each in ids if each not in DEMANDS]
    if unknown:
        raise KeyError(f"no such demand: {', '.join(unknown)}")
    return lambda test: test


def _of(page: str, **demands: str) -> dict[str, Demand]:
    head, _, section = page.partition(" ")
    prefix = head.split("-")[0]
    return {
        f"{prefix}.{name.replace('_', '-')}": Demand(f"spec/{head}.md {section}".strip(), what)
        for name, what in demands.items()
    }


DEMANDS: dict[str, Demand] = {
    **_of(
        "http-and-sse 1",
        stream="A message's events are streamed as SSE on its own response",
        chat="The same run answers as one JSON document when it ends",
        accept="Asking for an event stream makes /chat stream",
        sync="One route answers JSON whatever is accepted",
        follow="A session's log is replayed from a number on, then followed live, on any process",
        interrupt="Stopping is explicit, works from any process and may be repeated",
        disconnect="A closed connection stops no run",
    ),
    **_of(
        "http-and-sse 2",
        spellings="Both spellings of a key are read, the camelCase one wins",
        unknown_key="A key that nobody reads is refused by name",
        null_key="A null counts as absent",
        later_key="A key whose behaviour is to come is refused as not supported yet",
        message="A message is a text of bounded length or a list of parts",
        reconnect="A session id without a message follows the newest run",
        not_found="Unknown, foreign and expired sessions look the same",
        scope_aliases="The partition may be named by any of its aliases",
        model_pin="A run may be pinned to one of the manifest's models, to no other",
        max_session_tokens="A cap on tokens ends the run and says so",
        images="Pictures reach the model and can be fetched again",
        body_limit="Bodies above the route's limit are refused",
        idempotency="One key and body is one run; another body is refused",
        error_shape="Refusals are JSON with a code, a sentence and the right status",
        chat_json="The JSON answer has the promised keys, under both spellings of calls",
        chat_error="A run that fails answers 502 with the session's id",
        chat_parked="JSON answers wait for no person",
        bad_input="Hostile bodies are refused in a sentence, without a trace of the inside",
    ),
    **_of(
        "http-and-sse 3",
        frame="A frame is id, event and one line of JSON, numbered upwards without gaps",
        superset="Events carry the keys of both kinds of client",
        one_write="A frame leaves in one piece",
        keepalive="Silence is filled with comments",
        headers="Streams are neither cached nor compressed nor buffered",
        bounds="init comes first, done last and once",
        parked_done="The frame that closes a parked response has no number and is not logged",
        example="The documented example plays in the documented order",
        js_client="The documented browser client understands the stream",
        result_cut="Long results are cut in events and whole in the session",
    ),
    **_of(
        "http-and-sse 4",
        state="A snapshot tells status, questions, queue and newer events together",
        fold="Folding the log gives what the session shows",
    ),
    **_of(
        "http-and-sse 5",
        answer="A question is answered once, by its id in any spelling",
        answer_alone="The id may be left out while one question is open",
        several="With several open questions the caller must name one",
        answered="A second answer is told the first",
        expired="A question whose time is over takes no answer and counts as denied",
        answer_by_chat="The agreed sentence in a chat message is an answer",
        choice_by_chat="The next message answers a choice",
        bound="Only what was shown is carried out",
        grace="A listening response ends after the grace, the run goes on later",
        widget_action="A widget's action answers, or becomes the next message",
        durable_question="Questions outlive the process that asked",
    ),
    **_of(
        "runs",
        one_result="Every call has exactly one result before its run ends",
        max_turns="A limit of n turns is n model calls, the last one used",
        one_live_run="A session has one live run",
        fence="A writer that lost its lease is refused",
        numbers="A number that was sent is never given out again",
        resume="Any cut, resumed, equals the uncut stream",
        one_done="One done per run, and nothing after it",
        no_connection="A stream holds no database connection",
        tools_parallel="Calls of a turn run together, results stand in call order",
        unknown_outcome="What may have happened is not repeated and is told as unknown",
        repeat_safe="Read-only and idempotent calls are made again after a crash",
        take_over="A run whose process died is taken over",
        recovery_fail="An agent may have its runs ended instead of resumed",
        poison="A run that kills its processes is ended after three of them",
        hand_over="A stopping process hands its runs over",
        busy_reject="A busy session refuses by default, before anything is written",
        busy_enqueue="Messages queue in order, twenty at the most, through restarts",
        busy_interrupt="A message may stop the run that is under way and take its place",
        busy_rollback="A message may undo the run that is under way",
        busy_steer="A message may join the run that is under way",
        loop="Too many similar calls end the run",
        room="A process takes so many runs and refuses more before anything is written",
        slow_reader="A slow reader misses nothing and slows nobody",
        leaks="Clients that leave early leave nothing behind",
        compaction="A conversation that outgrows its window is summarised, not lost",
        run_timeout="A run ends when its time is over",
        interrupt_text="What was said before a stop is kept and marked",
        fallback="Another model answers when the first one cannot",
        provider_errors="Failures of a model end in an error, never in a hang",
        invalid_arguments="Broken arguments are an error that the model sees",
        cost="The costs of the calls add up to run and session",
        title="A title follows the first answer",
        stop="A tool may end the run",
    ),
}
