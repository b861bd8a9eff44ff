"""A run as an operator reads it: everything that happened, in the order of its happening.

Law: made of the run's rows and of its part of the log, and of nothing else, so it tells the same
of a live run, of one that another process took over, and of one that ended long ago.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from django.db.models import Func, IntegerField, Q, Value
from django.db.models.lookups import GreaterThan

from agentsite.engine import events as e
from agentsite.engine.events import Entry
from sessions_app import log
from sessions_app.models import Interaction, Message, ModelCall, Run, Subagent, ToolCall
from sessions_app.projection import to_ms

MOST_EVENTS = 1_000
"""Of a run's log that are read for one page."""
MOST_ITEMS = 100
"""That a page shows of them."""
MOST_TROUBLE = 200
"""Of one kind, that is looked for in the parts of a run that a page does not show."""
Item = dict[str, Any]


class Timeline(msgspec.Struct, frozen=True):
    """What a run's page shows."""

    items: list[Item]
    """Each has `kind`, `at` (ms since the epoch) and what its kind needs."""
    causes: list[Item]
    """What went wrong in all of the run, each with the `anchor` of the item that shows it, and
    the moment (`at`) by which its page is found if it is another one."""
    last_seq: int
    """Of the newest event that is in it."""
    began: int
    """When the run began, in ms since the epoch."""
    earlier: int | None = None
    """The number of the event that the page before this one ends with; None: there is none."""
    later: bool = False
    """There is more behind this page."""


def read_timeline(run: Run, until: int | None = None) -> Timeline:
    """A page of what a run was, up to an event; without one the newest. In one unit."""
    newest = run.event_batches.order_by("-first_seq").values_list("last_seq", flat=True).first()
    end = max(run.last_seq, newest or 0)
    last = end if until is None else max(min(until, end), run.first_seq)
    entries = _read_entries(run, max(run.first_seq - 1, last - MOST_EVENTS), last)
    left_out = bool(entries) and entries[0].seq > run.first_seq
    later = last < end
    whole = not left_out and not later
    items = _weave(run, entries, whole=whole)
    of_time = _within(entries, after=left_out, before=later)
    items += [item for item in (*_model_calls(run), *_summaries(run)) if of_time(item)]
    items.sort(key=lambda item: item["at"])
    cut = len(items) > MOST_ITEMS
    items = items[-MOST_ITEMS:]
    for number, item in enumerate(items):
        item.setdefault("anchor", f"event-{item['seq']}" if "seq" in item else f"at-{number}")
    seqs = [item["seq"] for item in items if "seq" in item]
    earlier = min(seqs) - 1 if seqs and (cut or left_out) else None
    shown = {item["anchor"] for item in items}
    others = [] if whole and not cut else [i for i in _trouble(run) if i["anchor"] not in shown]
    causes = list(_find_causes(run, items, sorted([*others, *items], key=lambda i: i["at"])))
    for cause in causes:
        cause["here"] = cause["anchor"] in shown or not cause["anchor"]
    began = items[0]["at"] if items and earlier is None else to_ms(run.created_at)
    reached = entries[-1].seq if entries else run.last_seq
    return Timeline(items, causes, reached, began, earlier, later)


def find_event(run: Run, at: int) -> int | None:
    """The number of an event soon after a moment (ms): that a page with it on ends with."""
    starts = list(run.event_batches.order_by("first_seq").values_list("first_seq", flat=True))
    place = bisect_right(starts, at, key=lambda seq: log.read(run.session_id, seq - 1, 1)[0].at)
    return starts[place] + MOST_ITEMS // 2 if place < len(starts) else None


def _read_entries(run: Run, after: int, last: int) -> list[Entry]:
    """A part of the log."""
    entries: list[Entry] = []
    while run.first_seq and after < last and (read := log.read(run.session_id, after)):
        entries += read
        after = read[-1].seq
    return [entry for entry in entries if entry.seq <= last]


def _weave(run: Run, entries: list[Entry], *, whole: bool) -> list[Item]:
    """The items of these events; of a whole run also calls that no event tells of."""
    calls = run.tool_calls.order_by("created_at", "position", "pk")
    subagents = Subagent.objects.filter(run_id=run.pk)
    if not whole:
        ids = [entry.event.id for entry in entries if isinstance(entry.event, e.ToolStarted)]
        calls = calls.filter(Q(pk__in=ids) | Q(subagent__call_id__in=ids))
        subagents = subagents.filter(call_id__in=ids)
    asked = Interaction.objects.filter(run_id=run.pk).order_by("created_at", "pk")
    weaver = _Weaver(
        {call.pk: call for call in calls},
        {row.pk: row for row in asked},
        {row.call_id: row for row in subagents},
    )
    said = Message.objects.filter(run_id=run.pk, role="user").order_by("position")
    return weaver.weave(entries, {row.pk: _text(row.parts) for row in said})


def _within(entries: list[Entry], *, after: bool, before: bool) -> Callable[[Item], bool]:
    """Whether something without a number belongs to a page, which may be the first or last."""
    first = entries[0].at if entries and after else None
    last = entries[-1].at if entries and before else None
    return lambda item: (
        (first is None or item["at"] >= first) and (last is None or item["at"] < last)
    )


TOLD = (b'"e":"run_resumed"', b'"e":"provider_switched"')


def _trouble(run: Run) -> list[Item]:
    """Items of all of a run that say what went wrong, found by their rows."""
    model_calls = ModelCall.objects.filter(run_id=run.pk).exclude(error="")
    items = [_model_item(call) for call in model_calls.order_by("created_at", "pk")[:MOST_TROUBLE]]
    calls = run.tool_calls.filter(subagent=None, status__in=FAILED).order_by("created_at", "pk")
    for call in calls[:MOST_TROUBLE]:
        at = to_ms(call.created_at)
        items.append({"kind": "call", "at": at, "row": call, "name": call.name, "anchor": call.pk})
    for row in Interaction.objects.filter(run_id=run.pk, status="open")[:MOST_TROUBLE]:
        at = to_ms(row.created_at)
        items.append({"kind": "question", "at": at, "row": row, "anchor": row.pk})
    told = Q()
    for words in TOLD:
        place = Func(
            "entries", Value(words), function="pg_catalog.position", output_field=IntegerField()
        )
        told |= Q(GreaterThan(place, 0))
    found = run.event_batches.filter(told).order_by("first_seq")
    for seq in found.values_list("first_seq", flat=True)[:MOST_TROUBLE]:
        lines = _Weaver({}, {}, {}).weave(log.read(run.session_id, seq - 1, 1), {})
        items += [
            {**line, "anchor": f"event-{line['seq']}"}
            for line in lines
            if line.get("of") in ("attempt", "fallback")
        ]
    return items


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
    calls = ModelCall.objects.filter(run_id=run.pk).order_by("created_at", "pk")
    return [_model_item(call) for call in calls]


def _model_item(call: ModelCall) -> Item:
    # The row is written when the answer is whole: it began so much earlier.
    began = to_ms(call.created_at) - (call.total_ms or 0) - COMMIT_MS
    return {"kind": "model", "at": began, "row": call, "anchor": f"model-{call.pk}"}


FAILED = ("error", "denied", "interrupted")
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


def _find_causes(run: Run, shown: list[Item], items: list[Item]) -> Iterable[Item]:
    """What an operator should look at first, of the items shown and of those elsewhere."""
    if run.error:
        failed = [item for item in shown if item.get("level") == "error"] or shown
        yield {"text": run.error["message"], "anchor": failed[-1]["anchor"] if failed else ""}
    elif run.reason in ENDS:
        yield {"text": ENDS[run.reason], "anchor": shown[-1]["anchor"] if shown else ""}
    if run.cancel_requested_at and run.status != Run.Status.DONE:
        yield {"text": "It was asked to stop, and has not stopped yet.", "anchor": ""}
    found: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        row: Any = item.get("row")
        if item["kind"] == "model" and row.error:
            text = f"{row.provider}/{row.model} failed: {row.error}"
        elif item["kind"] == "call" and row and row.status in FAILED:
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
        yield {"text": text + times, "anchor": same[0]["anchor"], "at": same[0]["at"]}


def _text(parts: list[dict[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part.get("kind") == "text")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _cut(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def to_moment(at: int) -> dt.datetime:
    """The moment of an event."""
    return dt.datetime.fromtimestamp(at / 1000, tz=dt.UTC)
