"""Who wrote what, in order: triggers that note each write with the process that made it.

Law: they change nothing, and write as the owner whoever acts. `application_name` names the life
of the web process.
"""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg

SETUP = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.trail (
    id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    app text NOT NULL DEFAULT current_setting('application_name'),
    what text NOT NULL, run_id text, attempt int, owner text, call_id text, status text
);
CREATE FUNCTION chaos.note_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos.trail (what, run_id, attempt, owner, status)
        VALUES ('run', NEW.id, NEW.attempt, NEW.owner, NEW.status);
    RETURN NULL;
END $$;
CREATE FUNCTION chaos.note_call() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos.trail (what, run_id, attempt, call_id, status)
        VALUES ('call', NEW.run_id, NEW.attempt, NEW.id, NEW.status);
    RETURN NULL;
END $$;
CREATE FUNCTION chaos.note_append() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO chaos.trail (what, run_id, attempt)
        VALUES (TG_ARGV[0], NEW.run_id, NEW.attempt);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_new AFTER INSERT ON sessions_app_run
    FOR EACH ROW EXECUTE FUNCTION chaos.note_run();
CREATE TRIGGER chaos_changed AFTER UPDATE ON sessions_app_run FOR EACH ROW
    WHEN ((OLD.attempt, OLD.owner, OLD.status) IS DISTINCT FROM
          (NEW.attempt, NEW.owner, NEW.status))
    EXECUTE FUNCTION chaos.note_run();
CREATE TRIGGER chaos_new AFTER INSERT ON sessions_app_toolcall
    FOR EACH ROW EXECUTE FUNCTION chaos.note_call();
CREATE TRIGGER chaos_changed AFTER UPDATE ON sessions_app_toolcall FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION chaos.note_call();
CREATE TRIGGER chaos_new AFTER INSERT ON sessions_app_eventbatch
    FOR EACH ROW EXECUTE FUNCTION chaos.note_append('events');
CREATE TRIGGER chaos_new AFTER INSERT ON sessions_app_message
    FOR EACH ROW EXECUTE FUNCTION chaos.note_append('message');
"""


class Step(msgspec.Struct, frozen=True):
    """One write. `at` in seconds since the epoch; absent values are empty or 0."""

    at: float
    app: str
    what: str
    run_id: str
    attempt: int
    owner: str
    call_id: str
    status: str


def lay_trail(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Start noting, before the first message."""
    connection.execute(SETUP)


def read_trail(connection: psycopg.Connection[tuple[Any, ...]]) -> list[Step]:
    """All writes, in the order in which they got their locks."""
    rows = connection.execute(
        "SELECT extract(epoch FROM at)::float8, app, what, coalesce(run_id, ''),"
        " coalesce(attempt, 0), coalesce(owner, ''), coalesce(call_id, ''), coalesce(status, '')"
        " FROM chaos.trail ORDER BY id"
    )
    return [Step(*row) for row in rows]
