"""Signing in by a link that works once: how the first operator gets into the admin."""
