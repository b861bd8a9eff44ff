"""API keys: made here and shown once, changed, revoked."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]  # it has no types
from unfold.widgets import (  # type: ignore[import-untyped]  # it has no types
    UnfoldAdminTextareaWidget,
)

from agentsite.rows.audited import Audited
from sessions_app.admin.base import labelled, show_time
from sessions_app.api_keys import ApiKey, issue_key

STATES = {"usable": "success", "expired": "warning", "revoked": "danger"}


class NamesField(forms.CharField):
    """A list of names, one on each line."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = value if isinstance(value, list) else str(value or "").splitlines()
        return list(dict.fromkeys(filter(None, (str(line).strip() for line in lines))))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(initial or []) != self.to_python(data))


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """A key's facts."""

    agents = NamesField(required=False, help_text="One on each line; empty: all agents.")
    scopes = NamesField(
        required=False,
        help_text="Scopes it may act for, one on each line; acme:* allows all that begin "
        "like this. Empty: all scopes.",
    )


@admin.register(ApiKey)
class ApiKeyAdmin(Audited, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Who may call, and as whom."""

    form = ApiKeyForm
    list_display = (
        "name", "shown", "role", "for_agents", "for_scopes", "rate", "expires", "used", "state"
    )  # fmt: skip
    list_filter = ("role",)
    search_fields = ("name", "prefix")
    actions = ("revoke", "budget")
    fields = ("name", "role", "agents", "scopes", "rate_limit", "expires_at")
    show_full_result_count = False
    sortable_by = ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A key is revoked, so that it can still be seen who had one."""
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Store a change; a new key gets its text, which only the next page shows."""
        if change:
            obj.save(update_fields=form.changed_data)
            return
        obj.created_by = request.user.get_username()
        obj.text = issue_key(obj)  # type: ignore[attr-defined]  # for this response alone

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The one page that shows the key."""
        context = {
            **self.admin_site.each_context(request),
            "title": "The new key",
            "opts": self.opts,
            "key": obj,
            "text": obj.text,  # type: ignore[attr-defined]  # `save_model` put it there
        }
        response = TemplateResponse(request, "admin/sessions_app/issued_key.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke for good", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """No request with these keys is served any more."""
        for row in queryset.filter(revoked_at=None):
            self.audit(request, "revoked", row, {"revoked": False}, {"revoked": True})
        revoked = ApiKey.objects.filter(pk__in=queryset.values("pk")).revoke()
        text = f"{revoked} revoked. Servers that have just used one believe it for some seconds."
        self.message_user(request, text, messages.SUCCESS)

    @admin.action(description="Set a budget…", permissions=["budget"])
    def budget(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        """To the form, filled in for one key."""
        keys = list(queryset.values_list("pk", flat=True)[:2])
        if len(keys) != 1:
            self.message_user(request, "Choose one key for a budget.", messages.WARNING)
            return None
        query = urlencode({"kind": "key", "subject": str(keys[0]), "period": "day"})
        return HttpResponseRedirect(f"{reverse('admin:operations_budget_add')}?{query}")

    def has_budget_permission(self, request: HttpRequest) -> bool:
        """For those who may set budgets."""
        return request.user.has_perm("operations.add_budget")

    @admin.display(description="Key")
    def shown(self, row: ApiKey) -> str:
        return f"{row.prefix}…"

    @admin.display(description="Agents")
    def for_agents(self, row: ApiKey) -> str:
        return ", ".join(row.agents) or "all"

    @admin.display(description="Scopes")
    def for_scopes(self, row: ApiKey) -> str:
        return ", ".join(row.scopes) or "all"

    @admin.display(description="A minute")
    def rate(self, row: ApiKey) -> str:
        return "no limit" if row.rate_limit is None else f"{row.rate_limit:,}"

    @admin.display(description="Expires")
    def expires(self, row: ApiKey) -> str:
        return show_time(row.expires_at)

    @admin.display(description="Last used")
    def used(self, row: ApiKey) -> str:
        return show_time(row.last_used_at)

    @labelled("State", STATES)
    def state(self, row: ApiKey) -> str:
        if row.revoked_at is not None:
            return "revoked"
        expired = row.expires_at is not None and row.expires_at <= timezone.now()
        return "expired" if expired else "usable"
