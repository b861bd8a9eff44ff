"""Operators' views of conversations, runs and what they cost."""

from sessions_app.admin import calls, keys, runs, scopes, sessions, usage

__all__ = ["calls", "keys", "runs", "scopes", "sessions", "usage"]
