"""Scoped document stores, as rows."""
