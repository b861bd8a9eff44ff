"""Row-level security on stores; what is shared is read by every scope and written by its own."""

from django.db import migrations

from agentsite.rows.policies import RowSecurity, TenantFunction

# No scope is none, also where what is shared is asked for.
SCOPE = """
CREATE OR REPLACE FUNCTION stores_scope(of_all boolean) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN of_all AND agentsite_scope() IS NOT NULL THEN '' ELSE agentsite_scope() END
"""
SCOPE_AWAY = """
CREATE OR REPLACE FUNCTION stores_scope(of_all boolean) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN of_all THEN '' ELSE current_setting('agentsite.scope', true) END
"""


class Migration(migrations.Migration):
    dependencies = [("stores_app", "0002_functions"), ("sessions_app", "0006_row_security")]

    operations = [
        migrations.RunSQL(SCOPE, SCOPE_AWAY),
        TenantFunction("stores_containing(text, text, boolean, text, jsonb, integer)"),
        TenantFunction("stores_matching(text, text, boolean, text, integer)"),
        RowSecurity("document", readable="shared"),
        RowSecurity("documentversion", readable="shared"),
        RowSecurity("documentvalue", readable="shared"),
        RowSecurity("reference"),
        RowSecurity("deadletter"),
        RowSecurity("receipt"),
    ]
