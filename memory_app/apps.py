"""What an agent remembers about a scope, as rows."""

from django.apps import AppConfig


class MemoryConfig(AppConfig):
    name = "memory_app"
    verbose_name = "Memory"
