"""A run as an operator reads it: everything that happened, in the order of its happening.

Law: made of the run's rows and of its part of the log, and of nothing else, so it tells the same
of a live run, of one that another process took over, and of one that ended long ago.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from agentsite.engine import events as e
from agentsite.engine.events import Entry
from sessions_app import log
from sessions_app.models import Interaction, Message, ModelCall, Run, Subagent, ToolCall
from sessions_app.projection import to_ms

MOST_EVENTS = 20_000
"""Of a run's log that are read for its page."""
Item = dict[str, Any]


class Timeline(msgspec.Struct, frozen=True):
    """What a run's page shows."""

    items: list[Item]
    """Each has `kind`, `at` (ms since the epoch) and what its kind needs."""
    causes: list[Item]
    """What went wrong, in words, each with the `anchor` of the item that shows it."""
    last_seq: int
    """Of the newest event that is in it."""
    left_out: int
    """Events of a very long run that were not read."""


def read_timeline(run: Run) -> Timeline:
    """Everything about a run. Inside one unit, so that its parts agree."""
    entries, left_out = _read_entries(run)
    calls = list(run.tool_calls.order_by("created_at", "position", "pk"))
    asked = Interaction.objects.filter(run_id=run.pk).order_by("created_at", "pk")
    weaver = _Weaver(
        {call.pk: call for call in calls},
        {row.pk: row for row in asked},
        {row.call_id: row for row in Subagent.objects.filter(run_id=run.pk)},
    )
    said = Message.objects.filter(run_id=run.pk, role="user").order_by("position")
    words = {row.pk: _text(row.parts) for row in said}
    items = [*weaver.weave(entries, words), *_model_calls(run), *_summaries(run)]
    items.sort(key=lambda item: item["at"])
    for number, item in enumerate(items):
        item.setdefault("anchor", f"at-{number}")
    last = entries[-1].seq if entries else run.last_seq
    return Timeline(items, list(_find_causes(run, items)), last, left_out)


def _read_entries(run: Run) -> tuple[list[Entry], int]:
    """The run's own part of the log; its end when it is too long to be read whole."""
    if not run.first_seq:
        return [], 0
    after = run.first_seq - 1
    newest = run.event_batches.order_by("-first_seq").values_list("last_seq", flat=True).first()
    last = max(run.last_seq, newest or 0)
    left_out = max(0, last - after - MOST_EVENTS)
    after += left_out
    entries: list[Entry] = []
    while after < last and (read := log.read(run.session_id, after)):
        entries += read
        after = read[-1].seq
    return [entry for entry in entries if entry.seq <= last], left_out


class _Weaver:
    """Turns events into items: pieces of text joined, calls with their rows."""

    def __init__(
        self,
        calls: dict[str, ToolCall],
        asked: dict[str, Interaction],
        subagents: dict[str, Subagent],
    ) -> None:
        self._calls, self._asked, self._subagents = calls, asked, subagents
        self._items: list[Item] = []
        self._by_call: dict[str, Item] = {}
        self._events = 0

    def weave(self, entries: Iterable[Entry], words: dict[str, str]) -> list[Item]:
        """All items of the log."""
        for entry in entries:
            self._take(entry, words)
        for call_id in self._calls.keys() - self._by_call.keys():
            call = self._calls[call_id]
            if call.subagent_id is None:
                self._add_call(call_id, call.name, to_ms(call.created_at), 0)
        return self._items

    def _take(self, entry: Entry, words: dict[str, str]) -> None:  # noqa: C901 - one case each
        event, at, seq = entry.event, entry.at, entry.seq
        match event:
            case e.TextStreamed(text):
                self._stretch("text", text, at, seq)
            case e.ThinkingStreamed(text):
                self._stretch("thinking", text, at, seq)
            case e.Init(message=message) | e.UserJoined(message=message):
                shown = words.get(str(message.get("id")), str(message.get("text", "")))
                joined = isinstance(event, e.UserJoined)
                self._add("message", at, seq, text=shown, joined=joined)
            case e.ToolStarted(id=call_id, name=name):
                self._add_call(call_id, name, at, seq)
            case e.ToolEnded(id=call_id):
                self._note(call_id, at, seq, "ended")
            case e.ToolProgressed(id=call_id, data=data):
                self._note(call_id, at, seq, f"progress: {_cut(_json(data))}")
            case e.ToolLogged(id=call_id, message=told):
                self._note(call_id, at, seq, told)
            case e.ToolRelabelled(id=call_id):
                self._note(call_id, at, seq, event.running_label or event.completed_label or "")
            case e.WidgetShown(widget=widget, call_id=call_id):
                self._note(call_id, at, seq, f"showed {widget}")
            case e.SubagentReported(parent_tool_id=call_id, event=told):
                self._report(call_id, at, seq, told)
            case e.ConfirmationRequired() | e.UserAsked() | e.ChoiceAsked():
                row = self._asked.get(event.interaction_id)
                self._add("question", at, seq, row=row, event=event, anchor=event.interaction_id)
            case _:
                self._tell(event, at, seq)

    def _tell(self, event: e.AnyEvent, at: int, seq: int) -> None:  # noqa: C901 - one case each
        match event:
            case e.RunResumed(attempt=attempt, discard_from=discarded):
                text = f"Attempt {attempt} began: another process took the run over."
                note = f"What clients were shown after event {discarded} of it counts no more."
                self._line("attempt", at, seq, text, note, level="warning")
            case e.ProviderSwitched(source=source, target=target, reason=reason):
                text = f"Fallback: {source} failed ({reason}), {target} was asked."
                self._line("fallback", at, seq, text, level="warning")
            case e.CompactionStarted(estimated_tokens=tokens, threshold=threshold):
                text = f"Compaction began: about {tokens:,} tokens, the threshold is {threshold:,}."
                self._line("compaction", at, seq, text)
            case e.CompactionEnded(tokens_before=before, tokens_after=after):
                text = f"Compaction ended: from about {before:,} to {after:,} tokens."
                self._line("compaction", at, seq, text)
            case e.ContextMeasured(input_tokens=tokens, window=window, used_pct=used):
                text = f"Context: {tokens:,} of {window:,} tokens ({used:g} %)."
                self._line("context", at, seq, text)
            case e.Noticed(message=text, level=level):
                self._line("notice", at, seq, text, level=level)
            case e.Failed(message=text, code=code):
                self._line("error", at, seq, f"{text} ({code})", level="error")
            case e.Done(reason=reason):
                worry = "" if reason in ("model_stop", "stopped") else "warning"
                self._line("done", at, seq, f"The run ended: {reason}.", level=worry)
            case e.Approved(action=action):
                self._line("answer", at, seq, f"A person approved {action}.")
            case e.Denied(action=action):
                self._line("answer", at, seq, f"{action} was not approved.", level="warning")
            case e.SkillActivated(skill=skill):
                self._line("skill", at, seq, f"Skill activated: {skill}.")
            case e.TitleChanged(title=title):
                self._line("title", at, seq, f"Title: {title}")
            case e.MessagesRemoved():
                self._line(
                    "removed", at, seq, "The run was rolled back: its messages were removed."
                )
            case _:
                told = msgspec.to_builtins(event)
                self._line(str(told.pop("e")), at, seq, _cut(_json(told)))

    # ---- pieces --------------------------------------------------------------------------

    def _add(self, kind: str, at: int, seq: int, **more: Any) -> Item:
        item = {"kind": kind, "at": at, "seq": seq, **more}
        self._items.append(item)
        return item

    def _line(
        self, kind: str, at: int, seq: int, text: str, note: str = "", level: str = ""
    ) -> None:
        self._add("line", at, seq, of=kind, text=text, note=note, level=level)

    def _stretch(self, kind: str, text: str, at: int, seq: int) -> None:
        last = self._items[-1] if self._items else None
        if last is None or last["kind"] != kind:
            last = self._add(kind, at, seq, pieces=[], count=0)
        last["pieces"].append(text)
        last["count"] += 1
        last["until"] = at

    def _add_call(self, call_id: str, name: str, at: int, seq: int) -> None:
        row, inside = self._calls.get(call_id), self._subagents.get(call_id)
        own = [call for call in self._calls.values() if inside and call.subagent_id == inside.pk]
        self._by_call[call_id] = self._add(
            "call", at, seq, name=name, row=row, notes=[], subagent=inside, inside=own,
            result=_text(row.result or []) if row else "", anchor=call_id,
        )  # fmt: skip

    def _note(self, call_id: str, at: int, seq: int, text: str) -> None:
        item = self._by_call.get(call_id)
        if item is not None and text:
            item["notes"].append({"at": at, "seq": seq, "text": text})

    def _report(self, call_id: str, at: int, seq: int, told: dict[str, Any]) -> None:
        kind = str(told.get("type", ""))
        if kind != "text_delta":
            rest = {key: value for key, value in told.items() if key != "type"}
            self._note(call_id, at, seq, f"{kind} {_cut(_json(rest))}")


def _model_calls(run: Run) -> list[Item]:
    items = []
    for call in ModelCall.objects.filter(run_id=run.pk).order_by("created_at", "pk"):
        # The row is written when the answer is whole: it began so much earlier.
        began = to_ms(call.created_at) - (call.total_ms or 0) - COMMIT_MS
        items.append({"kind": "model", "at": began, "row": call, "anchor": f"model-{call.pk}"})
    return items


COMMIT_MS = 50
"""Between the end of an answer and its metering row: the journal's flush time and the commit."""


def _summaries(run: Run) -> list[Item]:
    rows = Message.objects.filter(run_id=run.pk, role="summary").order_by("position")
    return [
        {"kind": "summary", "at": to_ms(row.created_at), "text": _text(row.parts)} for row in rows
    ]


ENDS = {
    "max_turns": "The run used up its model calls (`maxTurns`) before it was done.",
    "loop_detected": "The run was stopped because it made the same calls again and again.",
    "budget_exceeded": "The run reached a budget.",
    "user_abort": "Somebody stopped the run.",
}


def _find_causes(run: Run, items: list[Item]) -> Iterable[Item]:
    """What an operator should look at first."""
    if run.error:
        failed = [item for item in items if item.get("level") == "error"] or items
        yield {"text": run.error["message"], "anchor": failed[-1]["anchor"] if failed else ""}
    elif run.reason in ENDS:
        yield {"text": ENDS[run.reason], "anchor": items[-1]["anchor"] if items else ""}
    if run.cancel_requested_at and run.status != Run.Status.DONE:
        yield {"text": "It was asked to stop, and has not stopped yet.", "anchor": ""}
    found: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        row: Any = item.get("row")
        if item["kind"] == "model" and row.error:
            text = f"{row.provider}/{row.model} failed: {row.error}"
        elif item["kind"] == "call" and row and row.status in ("error", "denied", "interrupted"):
            text = f"{item['name']} ended with {row.get_status_display().lower()}"
        elif item["kind"] == "question" and row and row.status == "open":
            text = "It waits for a person."
        elif item["kind"] == "line" and item["of"] in ("attempt", "fallback"):
            text = item["text"]
        else:
            continue
        found[text].append(item)
    for text, same in found.items():
        times = f" ({len(same)} times)" if len(same) > 1 else ""
        yield {"text": text + times, "anchor": same[0]["anchor"]}


def _text(parts: list[dict[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part.get("kind") == "text")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _cut(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def to_moment(at: int) -> dt.datetime:
    """The moment of an event."""
    return dt.datetime.fromtimestamp(at / 1000, tz=dt.UTC)
