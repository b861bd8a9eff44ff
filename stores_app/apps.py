"""Scoped document stores, as rows."""

from django.apps import AppConfig


class StoresConfig(AppConfig):
    name = "stores_app"
    verbose_name = "Stores"
