"""Conversations as rows: sessions, messages, runs, events, model calls."""

from django.apps import AppConfig


class SessionsConfig(AppConfig):
    name = "sessions_app"
    verbose_name = "Sessions"
