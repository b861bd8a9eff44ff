"""What the database itself refuses: an append by a lost attempt, a run that ends with open calls."""

from django.db import migrations

# The share lock makes a takeover wait for appends under way, and later ones see its attempt.
FENCE = """
CREATE FUNCTION agentsite_fence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.run_id IS NULL THEN
        RETURN NEW;
    END IF;
    PERFORM 1 FROM sessions_app_run
        WHERE id = NEW.run_id AND attempt = NEW.attempt AND status IN ('running', 'waiting')
        FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'attempt % may not write to run %', NEW.attempt, NEW.run_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""
FENCED = ("eventbatch", "message", "toolcall")

SETTLED = """
CREATE FUNCTION agentsite_settled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM sessions_app_toolcall
               WHERE run_id = NEW.id AND status IN ('held', 'running')) THEN
        RAISE EXCEPTION 'run % cannot end: a tool call has no result', NEW.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER agentsite_settled BEFORE UPDATE OF status ON sessions_app_run
    FOR EACH ROW WHEN (NEW.status = 'done' AND OLD.status <> 'done')
    EXECUTE FUNCTION agentsite_settled();
"""


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0001_initial")]

    operations = [
        migrations.RunSQL(FENCE, "DROP FUNCTION agentsite_fence() CASCADE"),
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER agentsite_fence BEFORE INSERT OR UPDATE ON sessions_app_{table}"
                " FOR EACH ROW EXECUTE FUNCTION agentsite_fence()",
                f"DROP TRIGGER agentsite_fence ON sessions_app_{table}",
            )
            for table in FENCED
        ),
        migrations.RunSQL(SETTLED, "DROP FUNCTION agentsite_settled() CASCADE"),
    ]
