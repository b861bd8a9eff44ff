from django.db import migrations

# Evals are nobody's past either.
REREAD = """
DO $$ BEGIN
    EXECUTE replace(
        pg_get_functiondef('agentsite_search_sessions(text, text, text, int)'::regprocedure),
        %s, %s);
END $$;
"""
OLD = "'s.session_type <> ''replay'' '"
NEW = "'s.session_type NOT IN (''replay'', ''eval'') '"


class Migration(migrations.Migration):

    dependencies = [
        ('sessions_app', '0013_wish_to_stop'),
    ]

    operations = [
        migrations.RunSQL(REREAD % (OLD, NEW), REREAD % (NEW, OLD)),
    ]
