"""Accounts, and celery-beat's rows, in the look of all other admin pages."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]  # it has no types
from unfold.forms import (  # type: ignore[import-untyped]  # it has no types
    AdminPasswordChangeForm,
    UserChangeForm,
    UserCreationForm,
)

from agentsite.jobs import pages
from agentsite.rows.audited import Audited

__all__ = ["RoleAdmin", "StaffAdmin", "pages"]

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class StaffAdmin(Audited, UserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]  # unfold has no types
    """Operators."""

    filter_horizontal = ()  # two lists side by side, of which one has no label
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class RoleAdmin(Audited, GroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """What operators may do."""

    filter_horizontal = ()
