"""Automations, their occurrences and their runs, as rows."""

from django.apps import AppConfig


class AutomationsConfig(AppConfig):
    name = "automations_app"
    verbose_name = "Automations"
