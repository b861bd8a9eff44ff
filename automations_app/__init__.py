"""Automations, their occurrences and their runs, as rows."""
