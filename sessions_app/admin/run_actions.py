"""What operators do on a run's page: every way of doing is a POST, permitted, and audited.

Law: the deed and its entry in the audit log are one transaction. Nothing drives a run here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
)
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.urls.resolvers import URLPattern

from agentsite.rows.auditing import record
from sessions_app import operating
from sessions_app.admin.replay_page import (
    describe_both,
    describe_form,
    list_changed,
    read_replay,
)
from sessions_app.admin.run_page import session_url
from sessions_app.exporting import export_run
from sessions_app.forking import fork, start_replay
from sessions_app.interactions import Answer
from sessions_app.models import Interaction, Run
from sessions_app.operating import NotNow

Deed = Callable[[HttpRequest, Run], tuple[str, str, dict[str, Any]]]
"""Does it; where to go on, what to say, and what is now (for the audit log)."""


def run_url(run_id: str) -> str:
    """The page of a run."""
    return reverse("admin:sessions_app_run_change", args=[quote(run_id)])


def stop(request: HttpRequest, run: Run) -> tuple[str, str, dict[str, Any]]:
    """Interrupt it."""
    operating.interrupt(run)
    queued = run.status == Run.Status.QUEUED
    there = session_url(run.session_id) if queued else run_url(run.pk)
    told = "It is taken out of the queue." if queued else "It was asked to stop."
    return there, told, {"status": "removed" if queued else "stopping"}


def repeat(request: HttpRequest, run: Run) -> tuple[str, str, dict[str, Any]]:
    """Send its message again."""
    new = operating.retry(run)
    return run_url(new), "Its message was sent again: this is the new run.", {"run": new}


def branch(request: HttpRequest, run: Run) -> tuple[str, str, dict[str, Any]]:
    """Fork it into a new session."""
    session = fork(run)
    text = "This is the new session, with everything up to that run in it."
    return session_url(session.pk), text, {"session": session.pk}


def answer(request: HttpRequest, run: Run) -> tuple[str, str, dict[str, Any]]:
    """Answer one of its questions in its user's place."""
    question = Interaction.objects.filter(
        run_id=run.pk, pk=request.POST.get("question", "")
    ).first()
    if question is None:
        raise NotNow("There is no such question.")
    approved = request.POST.get("decision") == "approve"
    comment = request.POST.get("comment", "").replace("\x00", "").strip()
    given = Answer(approved, _read_answers(request, question) if approved else None, comment)
    operating.answer(question, given)
    after = {"question": question.pk, "status": "approved" if approved else "denied"}
    return run_url(run.pk), "The answer was given; the run goes on.", after


def _read_answers(request: HttpRequest, question: Interaction) -> Any:
    """What was filled in: chosen labels, or a text for each question."""
    said = [text.replace("\x00", "") for text in request.POST.getlist("answer")]
    if question.kind == Interaction.Kind.CONFIRMATION:
        return None
    if not any(said):
        raise NotNow("Fill in an answer first.")
    if question.kind == Interaction.Kind.ASK_CHOICE:
        return said if question.event.get("multi") else said[0]
    asked = [str(each["question"]) for each in question.event["questions"]]
    return dict(zip(asked, said, strict=False))


def again(request: HttpRequest, run: Run) -> tuple[str, str, dict[str, Any]]:
    """Replay it with what the form changed."""
    replay = read_replay(request)
    new = start_replay(run, replay)
    after = {"run": new, "changed": sorted(list_changed(replay))}
    return run_url(new), "This is the replay; compare it when it has ended.", after


DEEDS: dict[str, Deed] = {
    "interrupt": stop,
    "retry": repeat,
    "fork": branch,
    "answer": answer,
    "start": again,
}


class RunActions:
    """For the admin of runs."""

    admin_site: Any
    deeds: dict[str, Deed] = DEEDS

    def get_urls(self) -> list[URLPattern]:
        """The buttons' addresses, before Django's own that would swallow them."""
        ours = [
            path(
                f"<path:object_id>/{verb}/",
                self.admin_site.admin_view(self._view_of(verb)),
                name=f"sessions_app_run_{verb}",
            )
            for verb in self.deeds
        ]
        looks = {
            "export": self.export_view,
            "replay": self.replay_view,
            "compare": self.compare_view,
        }
        theirs: list[URLPattern] = super().get_urls()  # type: ignore[misc]  # a mixin
        return [
            *ours,
            *(
                path(
                    f"<path:object_id>/{name}/",
                    self.admin_site.admin_view(view),
                    name=f"sessions_app_run_{name}",
                )
                for name, view in looks.items()
            ),
            *theirs,
        ]

    def _view_of(self, verb: str) -> Callable[[HttpRequest, str], HttpResponse]:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            return self.act(request, object_id, verb)

        return view

    def act(self, request: HttpRequest, object_id: str, verb: str) -> HttpResponse:
        """Do it if it may be done, and tell."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("sessions_app.change_run"):
            raise PermissionDenied
        run = self._find(object_id)
        before = {"status": run.status, "reason": run.reason}
        try:
            with transaction.atomic():
                there, text, after = self.deeds[verb](request, run)
                who = request.user.get_username()
                record(who, f"run.{verb}", run.pk, {"before": before, "after": after})
        except NotNow as problem:
            messages.error(request, str(problem))
            return HttpResponseRedirect(run_url(run.pk))
        messages.success(request, text)
        return HttpResponseRedirect(there)

    def export_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The run as a file."""
        if not request.user.has_perm("sessions_app.view_run"):
            raise PermissionDenied
        run = self._find(object_id)
        record(request.user.get_username(), "run.export", run.pk)
        response = JsonResponse(export_run(run), json_dumps_params={"indent": 2})
        response["Content-Disposition"] = f'attachment; filename="{run.pk}.json"'
        return response

    def replay_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form that says what a replay changes."""
        if not request.user.has_perm("sessions_app.change_run"):
            raise PermissionDenied
        run = self._find(object_id)
        return self._page(request, run, "Replay a run", "replay_form", describe_form(run))

    def compare_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A replay beside the run that it repeats."""
        if not request.user.has_perm("sessions_app.view_run"):
            raise PermissionDenied
        run = self._find(object_id)
        original = Run.objects.filter(pk=run.request.get("replay", {}).get("run")).first()
        if original is None:
            raise Http404("This run repeats none that is kept.")
        told = describe_both(original, run)
        return self._page(request, run, "A run and its replay", "compare", told)

    def _page(
        self, request: HttpRequest, run: Run, title: str, template: str, more: dict[str, Any]
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": Run._meta,
            "original": run,
            **more,
        }
        return TemplateResponse(request, f"admin/sessions_app/{template}.html", context)

    def _find(self, object_id: str) -> Run:
        run: Run | None = Run.objects.filter(pk=unquote(object_id).replace("\x00", "")).first()
        if run is None:
            raise Http404("There is no such run.")
        return run
