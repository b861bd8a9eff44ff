"""Operators' views of conversations, runs and what they cost."""

from sessions_app.admin import calls, runs, sessions

__all__ = ["calls", "runs", "sessions"]
