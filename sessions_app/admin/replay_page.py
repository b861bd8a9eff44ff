"""A replay on paper: the form that says what is changed, and both runs side by side."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from sessions_app.admin.formats import show_cost, show_ms, show_span, show_tokens, to_text
from sessions_app.metering import LOOPS
from sessions_app.models import Message, ModelCall, Run, ToolCall
from sessions_app.operating import NotNow
from sessions_app.prompts import read_prompt

SEEN = 2_000
"""Newest model calls that the choice of models is taken from."""
SKILL_TOOL = "activate_skill"
NOT_RECORDED = "Not recorded: this is a replay"
MOST_CHARS = 200_000
"""Of a prompt or a skill that is put in place of another."""


def describe_form(run: Run) -> dict[str, Any]:
    """What stands in the form at first: the run as it was."""
    calls = ModelCall.objects.filter(run_id=run.pk, purpose__in=LOOPS)
    first = calls.exclude(prompt_id="").order_by("pk").first()
    sent = read_prompt(first.prompt_id) if first else None
    asked = calls.order_by("pk").first()
    return {
        "run": run,
        "model": f"{asked.provider}/{asked.model}" if asked else "",
        "models": _known_models(run.agent),
        "system": sent.system if sent else None,
        "skills": _skills(run),
    }


def _known_models(agent: str) -> list[str]:
    """Models that the agent has used lately; the host takes any that its manifest names."""
    newest = ModelCall.objects.order_by("-created_at", "-pk").values("pk")[:SEEN]
    rows = ModelCall.objects.filter(pk__in=newest, agent=agent)
    pairs = rows.values_list("provider", "model").distinct()
    return sorted(f"{provider}/{model}" for provider, model in pairs)


def _skills(run: Run) -> list[dict[str, str]]:
    """Skills that the run activated, with what it was told."""
    calls = ToolCall.objects.filter(run=run, name=SKILL_TOOL, subagent=None, status="ok")
    found = {str(call.arguments.get("skill", "")): _words(call) for call in calls}
    return [{"name": name, "body": body} for name, body in found.items()]


def read_replay(request: HttpRequest) -> dict[str, Any]:
    """What the form changes; nothing of what was left as it is. Raises `NotNow`."""
    said = {name: request.POST.get(name, "").replace("\x00", "") for name in ("model", "system")}
    model = said["model"].strip()
    names, bodies, old = (request.POST.getlist(f"skill_{part}") for part in ("name", "body", "was"))
    skills = {
        name: _lines(body)
        for name, body, was in zip(names, bodies, old, strict=False)
        if name and _lines(body) != _lines(was)
    }
    kept = _lines(request.POST.get("system_was", ""))
    system = _lines(said["system"])
    if len(system) > MOST_CHARS or any(len(body) > MOST_CHARS for body in skills.values()):
        raise NotNow(f"A prompt or a skill may have {MOST_CHARS:,} characters at the most.")
    return {
        "model": model if model != request.POST.get("model_was", "") else "",
        "system": system if system != kept else None,
        "skills": skills,
    }


def _lines(text: str) -> str:
    """A text as it was before a form sent it: browsers end lines in their own way."""
    return text.replace("\r\n", "\n").replace("\x00", "")


def describe_both(original: Run, replay: Run) -> dict[str, Any]:
    """Both runs, and in which rows they differ."""
    sides = [_describe(original), _describe(replay)]
    names = list(sides[0]["facts"])
    facts = [
        {"name": name, "was": sides[0]["facts"][name], "now": sides[1]["facts"][name]}
        for name in names
    ]
    changed = replay.request.get("replay", {})
    return {
        "facts": [{**fact, "differs": fact["was"] != fact["now"]} for fact in facts],
        "sides": sides,
        "original_run": original,
        "replay": replay,
        "live": replay.status != Run.Status.DONE,
        "changed": list_changed(changed),
    }


def list_changed(replay: dict[str, Any]) -> list[str]:
    """What a replay changes; an emptied prompt is a changed one."""
    return [
        name
        for name in ("model", "system", "skills")
        if replay.get(name) or (name == "system" and replay.get(name) is not None)
    ]


def _describe(run: Run) -> dict[str, Any]:
    mains = ModelCall.objects.filter(run_id=run.pk, purpose__in=LOOPS).order_by("pk")
    models = dict.fromkeys(f"{call.provider}/{call.model}" for call in mains)
    first = next((call for call in mains if call.first_token_ms is not None), None)
    answers = Message.objects.filter(run=run, role="assistant").order_by("position")
    calls = ToolCall.objects.filter(run=run, subagent=None).order_by("created_at", "position")
    failure = f": {run.error['message']}" if run.error else ""
    return {
        "run": run,
        "facts": {
            "Outcome": (run.reason or run.status) + failure,
            "Model": ", ".join(models) or "-",
            "Model calls": f"{len(mains)}",
            "Tool calls": f"{len(calls)}",
            "Tokens": show_tokens(run),
            "Cost": show_cost(run),
            "First token": show_ms(first.first_token_ms if first else None),
            "Took": show_span(run.created_at, run.ended_at),
        },
        "text": "\n\n".join(filter(None, (_spoken(row.parts) for row in answers))),
        "calls": [
            {
                "name": call.name,
                "arguments": to_text(call.arguments),
                "result": _words(call),
                "status": call.get_status_display(),
                "missing": _words(call).startswith(NOT_RECORDED),
            }
            for call in calls
        ],
    }


def _words(call: ToolCall) -> str:
    return _spoken(call.result or [])


def _spoken(parts: list[dict[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part.get("kind") == "text")
