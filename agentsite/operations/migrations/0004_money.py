"""Budgets, what is held for calls under way, prices and alerts; and the gate of all calls."""

import django.core.validators
import django.db.models.functions.datetime
from decimal import Decimal
from django.db import migrations, models

from agentsite.rows.policies import RowSecurity, TenantFunction

# What operators set stands in place of what the manifest gives (`given_`: kind, period, micros,
# soft), limit by limit.
LIMITS = """
CREATE FUNCTION agentsite_limits(agent_ text, scope_ text, key_ bigint, given_ jsonb)
RETURNS TABLE (kind text, period text, limit_micros bigint, soft numeric)
LANGUAGE sql STABLE AS $$
    WITH own AS (
        SELECT b.kind, b.period, (b."limit" * 1000000)::bigint AS limit_micros, b.soft
        FROM operations_budget b
        WHERE (b.kind = 'scope' AND b.scope_id = scope_ AND b.agent = agent_)
        OR (b.scope_id = '' AND b.agent = '' AND (
            (b.kind IN ('agent', 'run') AND b.subject = agent_)
            OR (b.kind = 'key' AND b.subject = key_::text)))
    )
    SELECT own.* FROM own UNION ALL
    SELECT g.kind, g.period, g.micros, g.soft
    FROM jsonb_to_recordset(given_) AS g (kind text, period text, micros bigint, soft numeric)
    WHERE NOT EXISTS (SELECT 1 FROM own WHERE own.kind = g.kind AND own.period = g.period)
$$;
"""
WHOSE = {
    "agent": ("sessions_app_agentday", "c.agent = agent_", "r.agent = agent_"),
    "scope": (
        "sessions_app_usageday",
        "c.agent = agent_ AND c.scope_id = scope_",
        "r.agent = agent_ AND r.scope_id = scope_",
    ),
    "key": ("sessions_app_keyday", "c.key_id = key_", "r.key_id = key_"),
}
HELD = """
    (SELECT coalesce(sum(r.micros), 0)::bigint FROM operations_reservation r
     WHERE {mine} AND NOT (apart_ AND r.run_id = run_ AND r.purpose = 'closing'))
"""
# Of a call under way nobody knows in which period it will end: it counts in all of them. One that
# was lost counts in its own.
COUNTS = """
    AND ((r.lost_at IS NULL AND r.expires_at > now())
        OR r.created_at AT TIME ZONE 'UTC' >= since_)
"""
# Both in one statement: a call that is settled meanwhile is seen in exactly one of the two.
BRANCHES = "".join(
    f"""
    WHEN '{kind}' THEN RETURN QUERY SELECT
        (SELECT coalesce(sum(c.charge_micros), 0)::bigint FROM {table} c
         WHERE {spent} AND c.day >= since_),
        {HELD.format(mine=mine + COUNTS)};
"""
    for kind, (table, spent, mine) in WHOSE.items()
)
SPENT = f"""
CREATE FUNCTION agentsite_spent(
    kind_ text, since_ date, agent_ text, scope_ text, key_ bigint, run_ text, apart_ boolean
) RETURNS TABLE (spent bigint, held bigint) LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE kind_
    {BRANCHES}
    ELSE RETURN QUERY SELECT
        (SELECT coalesce(sum(c.charge_micros), 0)::bigint FROM sessions_app_modelcall c
         WHERE c.run_id = run_),
        {HELD.format(mine="r.run_id = run_")};
    END CASE;
END $$;

CREATE FUNCTION agentsite_period_start(period_ text) RETURNS date LANGUAGE sql VOLATILE
RETURN date_trunc(
    CASE period_ WHEN 'month' THEN 'month' ELSE 'day' END, clock_timestamp() AT TIME ZONE 'UTC'
)::date;
"""
# The gate. Whoever counts against the same budget comes one after the other; the lock lasts for
# this short transaction, never for the call. `closing_` is what is to be kept back for the run's
# closing turn from now on: NULL leaves it as it is, 0 hands it over to this very call.
RESERVE = """
CREATE FUNCTION agentsite_reserve(
    id_ text, agent_ text, scope_ text, key_ bigint, run_ text, attempt_ int, purpose_ text,
    least_ bigint, most_ bigint, closing_ bigint, seconds_ float8, given_ jsonb
) RETURNS jsonb LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    one record;
    sums record;
    left_ bigint;
    tightest jsonb;
    kept bigint := coalesce(closing_, 0);
    granted bigint;
BEGIN
    FOR one IN SELECT DISTINCT l.kind FROM agentsite_limits(agent_, scope_, key_, given_) l
        ORDER BY l.kind
    LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws(chr(31), 'budget', one.kind,
            CASE one.kind WHEN 'agent' THEN agent_ WHEN 'scope' THEN agent_
                WHEN 'key' THEN key_::text ELSE run_ END,
            CASE one.kind WHEN 'scope' THEN scope_ END), 0));
    END LOOP;
    FOR one IN SELECT * FROM agentsite_limits(agent_, scope_, key_, given_) LOOP
        SELECT * INTO sums FROM agentsite_spent(
            one.kind, agentsite_period_start(one.period), agent_, scope_, key_, run_,
            closing_ IS NOT NULL);
        IF left_ IS NULL OR one.limit_micros - sums.spent - sums.held < left_ THEN
            left_ := one.limit_micros - sums.spent - sums.held;
            tightest := jsonb_build_object('kind', one.kind, 'period', one.period,
                'limit_micros', one.limit_micros, 'spent', sums.spent, 'held', sums.held);
        END IF;
    END LOOP;
    IF left_ IS NULL THEN
        RETURN NULL;
    END IF;
    IF left_ < least_ + kept THEN
        RETURN jsonb_build_object('refused', tightest, 'left', left_);
    END IF;
    granted := least(most_, left_ - kept);
    IF closing_ IS NOT NULL THEN
        DELETE FROM operations_reservation WHERE run_id = run_ AND purpose = 'closing';
    END IF;
    INSERT INTO operations_reservation
        (id, agent, scope_id, key_id, run_id, attempt, purpose, micros, expires_at)
    SELECT r.id, agent_, scope_, key_, run_, attempt_, r.purpose, r.micros,
        now() + make_interval(secs => seconds_)
    FROM (VALUES (id_, purpose_, granted), (id_ || ':closing', 'closing', kept))
        AS r (id, purpose, micros)
    WHERE r.micros > 0 OR r.id = id_;
    RETURN jsonb_build_object('granted', granted);
END $$;
REVOKE EXECUTE ON FUNCTION agentsite_limits(text, text, bigint, jsonb) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION
    agentsite_spent(text, date, text, text, bigint, text, boolean) FROM PUBLIC;
"""
SIGNATURE = (
    "agentsite_reserve(text, text, text, bigint, text, int, text, bigint, bigint, bigint,"
    " float8, jsonb)"
)
UNDO = f"""
DROP FUNCTION {SIGNATURE};
DROP FUNCTION agentsite_period_start(text);
DROP FUNCTION agentsite_spent(text, date, text, text, bigint, text, boolean);
DROP FUNCTION agentsite_limits(text, text, bigint, jsonb);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('operations', '0003_proposal'),
        ('sessions_app', '0011_usage'),
    ]

    operations = [
        migrations.CreateModel(
            name='Alert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=30)),
                ('level', models.CharField(choices=[('warning', 'Warning'), ('critical', 'Critical')], max_length=10)),
                ('agent', models.CharField(blank=True, default='', max_length=200)),
                ('scope_id', models.CharField(blank=True, default='', max_length=200)),
                ('title', models.CharField(max_length=300)),
                ('details', models.JSONField(blank=True, default=dict)),
                ('once', models.CharField(max_length=500, unique=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('closed_by', models.CharField(blank=True, default='', max_length=200)),
            ],
            options={
                'indexes': [models.Index(fields=['-created_at', '-id'], name='alert_recent')],
            },
        ),
        migrations.CreateModel(
            name='Budget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('scope', 'a scope'), ('agent', 'an agent, all scopes together'), ('key', 'an API key'), ('run', 'each run of an agent')], max_length=10)),
                ('agent', models.CharField(blank=True, default='', max_length=200)),
                ('scope_id', models.CharField(blank=True, default='', max_length=200)),
                ('subject', models.CharField(blank=True, default='', max_length=200)),
                ('period', models.CharField(choices=[('day', 'each day (UTC)'), ('month', 'each month (UTC)'), ('run', 'each run')], max_length=10)),
                ('limit', models.DecimalField(decimal_places=6, help_text='US dollars', max_digits=16, validators=[django.core.validators.MinValueValidator(Decimal('0'))])),
                ('soft', models.DecimalField(decimal_places=2, default=Decimal('0.80'), help_text='Share of the limit at which operators are told', max_digits=3, validators=[django.core.validators.MinValueValidator(Decimal('0.01')), django.core.validators.MaxValueValidator(Decimal('1'))])),
                ('changed_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('scope_id', 'agent', 'kind', 'subject', 'period'), name='budget_once'), models.CheckConstraint(condition=models.Q(models.Q(('kind', 'run'), ('period', 'run')), models.Q(models.Q(('kind', 'run'), _negated=True), models.Q(('period', 'run'), _negated=True)), _connector='OR'), name='budget_period_fits')],
            },
        ),
        migrations.CreateModel(
            name='PriceOverride',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('provider', models.CharField(help_text='anthropic, openai, google or scripted', max_length=50)),
                ('model', models.CharField(max_length=200)),
                ('input', models.DecimalField(decimal_places=6, max_digits=16, validators=[django.core.validators.MinValueValidator(Decimal('0'))])),
                ('output', models.DecimalField(decimal_places=6, max_digits=16, validators=[django.core.validators.MinValueValidator(Decimal('0'))])),
                ('cache_read', models.DecimalField(blank=True, decimal_places=6, max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(Decimal('0'))])),
                ('cache_write', models.DecimalField(blank=True, decimal_places=6, max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(Decimal('0'))])),
                ('cache_write_1h', models.DecimalField(blank=True, decimal_places=6, max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(Decimal('0'))], verbose_name='cache write, 1 hour')),
                ('valid_from', models.DateTimeField()),
                ('valid_until', models.DateTimeField(blank=True, help_text='The first moment at which it is valid no more', null=True)),
                ('note', models.CharField(blank=True, default='', max_length=300)),
                ('changed_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('provider', 'model', 'valid_from'), name='price_override_once'), models.CheckConstraint(condition=models.Q(('valid_until', None), ('valid_until__gt', models.F('valid_from')), _connector='OR'), name='price_override_span')],
            },
        ),
        migrations.CreateModel(
            name='Reservation',
            fields=[
                ('id', models.CharField(max_length=80, primary_key=True, serialize=False)),
                ('agent', models.CharField(max_length=200)),
                ('scope_id', models.CharField(blank=True, default='', max_length=200)),
                ('key_id', models.BigIntegerField(null=True)),
                ('run_id', models.CharField(max_length=64)),
                ('attempt', models.IntegerField(default=1)),
                ('purpose', models.CharField(max_length=12)),
                ('micros', models.BigIntegerField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('expires_at', models.DateTimeField()),
                ('lost_at', models.DateTimeField(null=True)),
            ],
            options={
                'indexes': [models.Index(fields=['agent', 'scope_id'], name='reservation_of'), models.Index(fields=['run_id'], name='reservation_of_run')],
            },
        ),
        RowSecurity("alert"),
        RowSecurity("budget"),
        RowSecurity("reservation"),
        migrations.RunSQL(LIMITS + SPENT + RESERVE, UNDO),
        TenantFunction(SIGNATURE),
    ]
