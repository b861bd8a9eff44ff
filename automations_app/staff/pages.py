"""The pages: the list, one automation with its form, a new one, a run as it goes."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime

from agentsite.host.site import site
from agentsite.rows.units import unit
from automations_app.models import Automation, AutomationRun
from automations_app.staff import editing, facts
from automations_app.staff.doors import staff_page
from automations_app.staff.forms import AutomationForm, NewAutomationForm


def show(
    request: HttpRequest, template: str, title: str, status: int = 200, **facts: Any
) -> HttpResponseBase:
    """A page in the admin's frame. Synchronous: the frame reads the person's rights."""
    context = {**admin.site.each_context(request), "title": title, **facts}
    return render(request, f"automations_app/{template}.html", context, status=status)


@staff_page("view", "GET")
async def list_page(request: HttpRequest) -> HttpResponseBase:
    """`/automations/`: all of them, with next time and last result."""

    def answer() -> HttpResponseBase:
        user: Any = request.user
        may = {
            verb: user.has_perm(f"automations_app.{verb}_automation") for verb in ("add", "change")
        }
        return show(request, "list", "Automations", found=facts.read_list(), may=may)

    return await unit(answer)


@staff_page("view", "GET")
async def preview_schedule(request: HttpRequest) -> HttpResponseBase:
    """`/automations/preview/?schedule=&timezone=`: its reading and next times, as JSON."""
    schedule, timezone = request.GET.get("schedule", ""), request.GET.get("timezone", "")
    return JsonResponse(facts.preview(schedule[:200], timezone[:64]))


@staff_page("add", "GET", "POST")
async def new_page(request: HttpRequest) -> HttpResponseBase:
    """`/automations/new/`"""
    agents = sorted(site().agents.sources.sources)

    def answer() -> HttpResponseBase:
        secrets = facts.secrets_of(str(request.POST.get("agent", "")))
        form = NewAutomationForm(request.POST or None, agents=agents, secrets=secrets)
        if request.method == "POST" and form.is_valid():
            agent, name = form.cleaned_data["agent"], form.cleaned_data["name"]
            try:
                key = editing.create(agent, name, form.columns, request.user)
            except editing.NameTaken:
                form.add_error("name", f'"{agent}" has an automation of this name.')
            else:
                return HttpResponseRedirect(reverse("automation", args=[key]))
        status = 422 if form.errors else 200
        return show(request, "edit", "New automation", status, form=form, zones=zones(), row=None)

    return await unit(answer)


@staff_page("view", "GET", "POST")
async def edit_page(request: HttpRequest, key: int) -> HttpResponseBase:
    """`/automations/<key>/`: its form, and what happened with it lately."""

    def answer() -> HttpResponseBase:
        row = get_object_or_404(Automation, pk=key)
        user: Any = request.user
        may = user.has_perm("automations_app.change_automation")
        if request.method == "POST" and not may:
            return show(request, "refused", "You may look, but not change", 403)
        secrets = facts.secrets_of(row.agent)
        form = AutomationForm(request.POST or None, row=row, secrets=secrets)
        if request.method == "POST" and form.is_valid() and _save(request, row, form):
            return HttpResponseRedirect(request.path)
        return show(
            request,
            "edit",
            row.title,
            422 if form.errors else 200,
            form=form,
            row=row,
            may_change=may,
            seen=row.updated_at.isoformat(),
            changed=facts.tell_change(row),
            zones=zones(),
            **facts.read_detail(row, request),
        )

    return await unit(answer)


def _save(request: HttpRequest, row: Automation, form: AutomationForm) -> bool:
    seen = parse_datetime(request.POST.get("seen", "")) or row.created_at
    try:
        changed = editing.change(row, form.columns, seen, request.user)
    except editing.Outdated:
        text = "Somebody changed this automation meanwhile. Load the page again, then repeat it."
        form.add_error(None, text)
        return False
    words = ", ".join(name.replace("_", " ") for name in changed)
    messages.success(request, f"Changed: {words}." if changed else "Nothing was changed.")
    return True


def zones() -> list[str]:
    """Names of time zones, for the field's suggestions."""
    return sorted(available_timezones())


@staff_page("view", "GET")
async def run_page(request: HttpRequest, key: str) -> HttpResponseBase:
    """`/automations/runs/<id>/`: a run as it goes, or what came of it."""

    def answer() -> HttpResponseBase:
        rows = AutomationRun.objects.select_related("automation")
        run = rows.filter(pk=key).first()
        if run is None:
            raise Http404
        live = run.status in AutomationRun.OPEN
        told, timeline = facts.tell_run(run), facts.timeline_of(run)
        title = run.automation.title
        return show(request, "run", title, run=run, live=live, told=told, timeline=timeline)

    return await unit(answer)
