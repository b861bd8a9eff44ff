"""Model calls added up by day, by the database; and what a call is charged to budgets."""

from django.db import migrations, models

from agentsite.rows.policies import RowSecurity

TOKENS = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning")
SUMS = (*TOKENS, "calls", "failed", "unpriced", "cost_micros", "charge_micros")
KIND = ("day", "agent", "provider", "model", "purpose")
DAY = "(c.created_at AT TIME ZONE 'UTC')::date"


def _values(source: str, many: str = "") -> dict[str, str]:
    """What a call adds to each sum; `many` wraps it for a whole group."""
    terms = {
        **{name: f"{source}.{name}" for name in TOKENS},
        "calls": "1",
        "failed": f"({source}.error <> '')::int",
        "unpriced": f"({source}.cost_micros IS NULL)::int",
        "cost_micros": f"coalesce({source}.cost_micros, 0)",
        "charge_micros": f"{source}.charge_micros",
    }
    return {name: f"sum({term})" if many else term for name, term in terms.items()}


def _add(table: str, kind: tuple[str, ...]) -> str:
    said = [DAY if name == "day" else f"c.{name}" for name in kind]
    sums = ", ".join(f"{name} = t.{name} + EXCLUDED.{name}" for name in SUMS)
    return f"""
    INSERT INTO {table} AS t ({", ".join((*kind, *SUMS))})
    VALUES ({", ".join((*said, *_values("c").values()))})
    ON CONFLICT ({", ".join(kind)}) DO UPDATE SET {sums};
"""


def _take(table: str, kind: tuple[str, ...]) -> str:
    same = " AND ".join(f"t.{name} = {DAY if name == 'day' else f'c.{name}'}" for name in kind)
    # What was charged stays: deleting rows gives nobody his budget back.
    left = {name: term for name, term in _values("c").items() if name != "charge_micros"}
    sums = ", ".join(f"{name} = t.{name} - {term}" for name, term in left.items())
    return f"\n    UPDATE {table} t SET {sums} WHERE {same};\n"


def _fill(table: str, kind: tuple[str, ...]) -> str:
    said = ", ".join(DAY if name == "day" else f"c.{name}" for name in kind)
    places = ", ".join(str(place) for place in range(1, len(kind) + 1))
    return f"""
    DELETE FROM {table};
    INSERT INTO {table} ({", ".join((*kind, *SUMS))})
    SELECT {said}, {", ".join(_values("c", "sum").values())}
    FROM sessions_app_modelcall c GROUP BY {places};
"""


SCOPED = ("scope_id", *KIND)
BY_SCOPE, BY_AGENT = "sessions_app_usageday", "sessions_app_agentday"
# At the end of the transaction and under one lock: sums that many write are held only while the
# commit is made, and never in two orders.
FUNCTIONS = f"""
CREATE FUNCTION agentsite_add_call(c sessions_app_modelcall) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    {_add(BY_SCOPE, SCOPED)}
    {_add(BY_AGENT, KIND)}
    IF c.key_id IS NOT NULL THEN
        INSERT INTO sessions_app_keyday AS t (key_id, day, charge_micros)
        VALUES (c.key_id, {DAY}, c.charge_micros)
        ON CONFLICT (key_id, day) DO UPDATE
            SET charge_micros = t.charge_micros + EXCLUDED.charge_micros;
    END IF;
END $$;

CREATE FUNCTION agentsite_take_call(c sessions_app_modelcall) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    {_take(BY_SCOPE, SCOPED)}
    {_take(BY_AGENT, KIND)}
END $$;

CREATE FUNCTION agentsite_count_call() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(730551312);
    IF TG_OP = 'DELETE' THEN
        PERFORM agentsite_take_call(OLD);
    ELSE
        PERFORM agentsite_add_call(NEW);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION agentsite_keep_call() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a model call is written once: sums were made of it';
END $$;

CREATE FUNCTION agentsite_rebuild_usage() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE sessions_app_modelcall IN SHARE MODE;
    {_fill(BY_SCOPE, SCOPED)}
    {_fill(BY_AGENT, KIND)}
    DELETE FROM sessions_app_keyday;
    INSERT INTO sessions_app_keyday (key_id, day, charge_micros)
    SELECT c.key_id, {DAY}, sum(c.charge_micros)
    FROM sessions_app_modelcall c WHERE c.key_id IS NOT NULL GROUP BY 1, 2;
END $$;
REVOKE EXECUTE ON FUNCTION agentsite_add_call(sessions_app_modelcall) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION agentsite_take_call(sessions_app_modelcall) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION agentsite_rebuild_usage() FROM PUBLIC;
UPDATE sessions_app_modelcall SET charge_micros = coalesce(cost_micros, 0);
SELECT agentsite_rebuild_usage();
"""
PATH = """
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION agentsite_count_call() SET search_path = pg_catalog, %I, pg_temp',
        current_schema());
END $$;
"""
TRIGGERS = """
CREATE CONSTRAINT TRIGGER agentsite_count_call AFTER INSERT OR DELETE ON sessions_app_modelcall
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION agentsite_count_call();
CREATE TRIGGER agentsite_keep_call BEFORE UPDATE ON sessions_app_modelcall
    FOR EACH ROW EXECUTE FUNCTION agentsite_keep_call();
"""
UNDO = """
DROP TRIGGER agentsite_keep_call ON sessions_app_modelcall;
DROP TRIGGER agentsite_count_call ON sessions_app_modelcall;
DROP FUNCTION agentsite_keep_call();
DROP FUNCTION agentsite_count_call();
DROP FUNCTION agentsite_rebuild_usage();
DROP FUNCTION agentsite_take_call(sessions_app_modelcall);
DROP FUNCTION agentsite_add_call(sessions_app_modelcall);
"""
SUM_FIELDS = [(name, models.BigIntegerField(default=0)) for name in SUMS]
KIND_FIELDS = [
    ("id", models.BigAutoField(primary_key=True, serialize=False)),
    ("day", models.DateField()),
    ("agent", models.CharField(max_length=200)),
    ("provider", models.CharField(max_length=50)),
    ("model", models.CharField(max_length=200)),
    ("purpose", models.CharField(max_length=12)),
]


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0010_operators")]

    operations = [
        migrations.AddField("modelcall", "charge_micros", models.BigIntegerField(db_default=0)),
        migrations.AddField("modelcall", "key_id", models.BigIntegerField(blank=True, null=True)),
        migrations.CreateModel(
            "AgentDay",
            [*SUM_FIELDS, *KIND_FIELDS],
            {
                "indexes": [models.Index(fields=["day"], name="agent_usage_by_day")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("agent", "day", "provider", "model", "purpose"),
                        name="agent_day_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            "KeyDay",
            [
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("key_id", models.BigIntegerField()),
                ("charge_micros", models.BigIntegerField(default=0)),
            ],
            {
                "constraints": [
                    models.UniqueConstraint(fields=("key_id", "day"), name="key_day_once")
                ],
            },
        ),
        migrations.CreateModel(
            "UsageDay",
            [
                *SUM_FIELDS,
                *KIND_FIELDS,
                ("scope_id", models.CharField(blank=True, default="", max_length=200)),
            ],
            {
                "verbose_name": "cost and usage",
                "verbose_name_plural": "cost and usage",
                "indexes": [models.Index(fields=["day"], name="usage_by_day")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("scope_id", "agent", "day", "provider", "model", "purpose"),
                        name="usage_day_once",
                    )
                ],
            },
        ),
        RowSecurity("usageday"),
        migrations.RunSQL(FUNCTIONS + PATH + TRIGGERS, UNDO),
    ]
