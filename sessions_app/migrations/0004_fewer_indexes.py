"""Every index costs each new session a page that is not in the cache: those nobody reads go.

Ids are never searched by their beginnings (the `_like` indexes that Django adds to text keys),
and the other unique indexes of three tables begin with the session.
"""

import django.db.models.deletion
from django.db import migrations, models

DROP = """
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT indexname FROM pg_indexes
        WHERE schemaname = current_schema() AND tablename LIKE 'sessions\\_app\\_%'
        AND (indexname LIKE '%\\_like' OR indexname IN (
            'sessions_app_run_session_id_2000c1cd',
            'sessions_app_message_session_id_a5aec9af',
            'sessions_app_eventbatch_session_id_6a1d6505'))
    LOOP
        EXECUTE format('DROP INDEX %I', name);
    END LOOP;
END $$;
"""


def _session(related_name):
    return models.ForeignKey(
        db_index=False,
        on_delete=django.db.models.deletion.CASCADE,
        related_name=related_name,
        to="sessions_app.session",
    )


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0003_search")]

    operations = [
        # Django would drop `one_live_run_per_session` as well: it looks at columns, not at names.
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(DROP, migrations.RunSQL.noop)],
            [
                migrations.AlterField("run", "session", _session("runs")),
                migrations.AlterField("message", "session", _session("messages")),
                migrations.AlterField("eventbatch", "session", _session("event_batches")),
            ],
        )
    ]
