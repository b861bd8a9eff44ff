"""One run's page: its timeline in words, and the buttons for what may be done."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import reverse

from sessions_app.admin.formats import show_money, show_ms, show_time, to_text
from sessions_app.models import ModelCall, Run, Session
from sessions_app.timeline import Item, Timeline, find_event, read_timeline, to_moment

NUMBER = re.compile(r"[0-9]{1,15}")
SHOWN_CHARS = 20_000
"""Of one text on the page; the export has all of it."""
STATES = {"ok": "", "error": "error", "denied": "error", "interrupted": "warning"}


def describe_run(run: Run, request: HttpRequest) -> dict[str, Any]:
    """What the template needs."""
    timeline = read_timeline(run, _read_end(run, request))
    live = run.status != Run.Status.DONE
    return {
        "timeline": [_prepare(item, timeline.began) for item in timeline.items],
        "causes": timeline.causes,
        "earlier": timeline.earlier,
        "later": timeline.later,
        "live": live,
        "follow": _follow(run, timeline) if live else "",
        "may_act": request.user.has_perm("sessions_app.change_run"),
        "run": run,
        "replay_of": run.request.get("replay", {}).get("run") if run.request else None,
        "buttons": _buttons(run),
    }


def _read_end(run: Run, request: HttpRequest) -> int | None:
    """The event that the page ends with: named itself (`until`), or by a moment near it (`at`)."""
    for name in ("until", "at"):
        number = request.GET.get(name, "")
        if NUMBER.fullmatch(number):
            return int(number) if name == "until" else find_event(run, int(number))
    return None


def _follow(run: Run, timeline: Timeline) -> str:
    """Where the browser hears of what comes next."""
    query = f"?after={timeline.last_seq}"
    return f"/sessions/{run.session_id}/events{query}"


def _buttons(run: Run) -> list[dict[str, str]]:
    """What may be done with a run as it stands: verb, words, what it means."""
    if run.status != Run.Status.DONE:
        return [{"verb": "interrupt", "words": "Stop", "means": "End the run now"}]
    fork = {"verb": "fork", "words": "Fork", "means": "Go on from here in a new session"}
    if run.request.get("replay"):  # sent again it would be a run of its own, with real tools
        return [fork]
    return [
        {"verb": "retry", "words": "Retry", "means": "Send its message again, in this session"},
        fork,
    ]


def _prepare(item: Item, began: int) -> Item:
    shown = {**item, "clock": f"+{(item['at'] - began) / 1000:,.2f} s"}
    shown["moment"] = show_time(to_moment(item["at"]))
    describe = DESCRIBE.get(item["kind"])
    return shown | describe(item) if describe else shown


def _describe_model(item: Item) -> Item:
    row: ModelCall = item["row"]
    fresh = row.input + row.cache_write + row.cache_write_1h
    return {
        "title": f"{row.provider}/{row.model}",
        "tokens": f"{fresh:,} in, {row.cache_read:,} cached, {row.output + row.reasoning:,} out",
        "cost": show_money(row.cost_micros),
        "speed": f"first token {show_ms(row.first_token_ms)}, whole {show_ms(row.total_ms)}",
        "url": reverse("admin:sessions_app_modelcall_change", args=[row.pk]),
        "level": "error" if row.error else "",
    }


def _describe_call(item: Item) -> Item:
    row, inside = item["row"], item["subagent"]
    told: Item = {"notes": [], "level": STATES.get(row.status, "") if row else ""}
    told["notes"] = item["notes"][:200]
    if row is not None:
        told["arguments"] = _cut(to_text(row.arguments))
        told["result"] = _cut(item["result"])
        told["status"] = row.get_status_display()
        told["took"] = show_ms(row.duration_ms)
    if inside is not None:
        told["inside"] = [
            {
                "name": call.name,
                "status": call.get_status_display(),
                "took": show_ms(call.duration_ms),
                "arguments": _cut(to_text(call.arguments)),
                "result": _cut("\n".join(p.get("text", "") for p in call.result or [])),
            }
            for call in item["inside"]
        ]
    return told


def _describe_question(item: Item) -> Item:
    row, event = item["row"], item["event"]
    told: Item = {"level": "warning" if row is not None and row.status == "open" else ""}
    told["options"] = [str(each.get("label", "")) for each in getattr(event, "options", ())]
    told["multi"] = bool(getattr(event, "multi", False))
    told["questions"] = [str(each.get("question", "")) for each in getattr(event, "questions", ())]
    told["asks"] = getattr(event, "question", "") or getattr(event, "action", "")
    told["reason"] = getattr(event, "reason", None) or ""
    details = getattr(event, "details", None)
    told["details"] = _cut(to_text(details)) if details else ""
    if row is not None and row.answer is not None:
        told["answered"] = _cut(to_text(row.answer))
    return told


def _describe_text(item: Item) -> Item:
    return {"text": _cut("".join(item["pieces"]))}


DESCRIBE = {
    "model": _describe_model,
    "call": _describe_call,
    "question": _describe_question,
    "text": _describe_text,
    "thinking": _describe_text,
}


def _cut(text: str) -> str:
    if len(text) <= SHOWN_CHARS:
        return text
    return f"{text[:SHOWN_CHARS]}\n[{len(text) - SHOWN_CHARS:,} more characters: see the export]"


def session_url(session_id: str) -> str:
    """The page of a session."""
    label = f"admin:{Session._meta.app_label}_{Session._meta.model_name}_change"
    return reverse(label, args=[quote(session_id)])
