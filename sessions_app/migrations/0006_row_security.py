"""Row-level security on every table of conversations; the role and function behind all of it."""

from django.db import migrations, models

from agentsite.rows.policies import RowSecurity, TenantFunction, TenantRole

TABLES = (
    "session",
    "run",
    "message",
    "toolcall",
    "modelcall",
    "eventbatch",
    "attachment",
    "signal",
    "interaction",
    "idempotencykey",
    "scope",
    "scopecredential",
)
SEARCH = "agentsite_search_sessions(text, text, text, int)"
# The scope is read where the policies read it, so there is one form of it.
REREAD = """
DO $$ BEGIN
    EXECUTE replace(
        pg_get_functiondef('agentsite_search_sessions(text, text, text, int)'::regprocedure),
        %s, %s);
END $$;
"""
OLD, NEW = "'current_setting(''agentsite.scope'', true)'", "'agentsite_scope()'"
FILL = """
UPDATE sessions_app_signal s SET scope_id = r.scope_id
FROM sessions_app_run r WHERE r.id = s.run_id
"""


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0005_callers")]

    operations = [
        migrations.AddField(
            "signal",
            "scope_id",
            models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        TenantRole(),
        migrations.RunSQL(REREAD % (OLD, NEW), REREAD % (NEW, OLD)),
        TenantFunction(SEARCH),
        *(RowSecurity(table) for table in TABLES),
    ]
