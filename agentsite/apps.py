"""The project itself as a Django app: it carries the commands and the system checks."""

from django.apps import AppConfig


class AgentsiteConfig(AppConfig):
    name = "agentsite"
    verbose_name = "Agent site"
