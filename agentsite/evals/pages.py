"""The page on which operators ask for an eval run; whichever host is free works it."""

from __future__ import annotations

from typing import Any

import msgspec
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from agentsite.evals.wishes import (
    MOST_REPEATS,
    CannotTry,
    Wish,
    check_wish,
    find_agent,
    list_models,
)
from agentsite.host.site import site
from agentsite.operations import eval_rows
from agentsite.operations.evals import EvalRun
from agentsite.rows.auditing import record

TEMPLATE = "admin/operations/evalstart.html"
STARTED = "It begins as soon as a process is free, within seconds."


def start(request: HttpRequest) -> HttpResponse:
    """`/admin/operations/evalrun/add/`, inside `admin_view`."""
    if not request.user.has_perm("operations.add_evalrun"):
        raise PermissionDenied
    if request.method == "GET":
        return _show(request, _propose(request))
    if request.method != "POST":
        return HttpResponseNotAllowed(["GET", "POST"])
    wish = _read(request)
    try:
        eval_run_id = _begin(request, wish)
    except CannotTry as problem:
        return _show(request, wish, str(problem))
    messages.success(request, STARTED)
    return HttpResponseRedirect(
        reverse("admin:operations_evalrun_change", args=[quote(eval_run_id)])
    )


def _propose(request: HttpRequest) -> Wish:
    """What is chosen at first: everything, or what an earlier eval run had."""
    again = request.GET.get("again", "").replace("\x00", "")
    row = EvalRun.objects.filter(pk=again).first() if again else None
    if row is None:
        return Wish(agent=request.GET.get("agent", ""))
    return Wish(
        agent=row.agent,
        only=tuple(row.evals),
        models=tuple(row.model_names),
        judge=row.judge,
        repeats=row.repeats,
        allow_writes=row.allow_writes,
    )


def _read(request: HttpRequest) -> Wish:
    form = request.POST
    repeats = form.get("repeats", "")
    return Wish(
        agent=form.get("agent", ""),
        only=tuple(form.getlist("only")),
        models=tuple(form.getlist("model")),
        judge=form.get("judge", ""),
        repeats=int(repeats) if repeats.isascii() and repeats.isdigit() else 0,
        allow_writes="allow_writes" in form,
    )


def _begin(request: HttpRequest, wish: Wish) -> str:
    if not (wish.only and wish.models):
        raise CannotTry("Choose at least one eval and one model.")
    who = request.user.get_username()
    new = check_wish(find_agent(site().agents, wish.agent), wish, who)
    with transaction.atomic():
        eval_run_id = eval_rows.begin(new)
        record(
            who, "evalrun.added", eval_run_id, {"before": {}, "after": msgspec.to_builtins(wish)}
        )
    return eval_run_id


def _show(request: HttpRequest, wish: Wish, problem: str = "") -> HttpResponse:
    agents = site().agents
    more: dict[str, Any] = {"agent": wish.agent}
    try:
        agent = find_agent(agents, wish.agent)
    except CannotTry as fault:
        problem = problem or str(fault)
    else:
        models = list_models(agent)
        chosen = wish.models or tuple(models[:1])
        named = wish.only or tuple(each.name for each in agent.bundle.evals)
        more = {
            "agent": agent.id,
            "models": [{"name": each, "chosen": each in chosen} for each in models],
            "evals": [
                {"name": each.name, "title": each.title, "chosen": each.name in named}
                for each in agent.bundle.evals
            ],
        }
        if not agent.bundle.evals:
            problem = problem or f"{agent.id} has no evals: write some in its folder evals/."
    context = {
        **admin.site.each_context(request),
        "title": "Run evals",
        "opts": EvalRun._meta,
        "agents": list(agents.sources.sources),
        "problem": problem,
        "judge": wish.judge,
        "repeats": wish.repeats or 1,
        "allow_writes": wish.allow_writes,
        "most": MOST_REPEATS,
        **more,
    }
    return TemplateResponse(request, TEMPLATE, context, status=400 if request.POST else 200)
