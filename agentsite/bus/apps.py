"""The bus as a Django app: it has one table."""

from django.apps import AppConfig


class BusConfig(AppConfig):
    name = "agentsite.bus"
    label = "bus"
    verbose_name = "Event bus"
