"""A conversation as rows: sessions, runs, messages, tool and model calls, the event log."""
