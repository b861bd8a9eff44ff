# What belongs to one partition stands in its rows; lists that operators read have their indexes.

import django.db.models.deletion
from django.db import migrations, models

from agentsite.rows.policies import RowSecurity

FILL = """
UPDATE automations_app_delivery d SET automation_id = r.automation_id
FROM automations_app_automationrun r WHERE r.id = d.automation_run_id
"""


class Migration(migrations.Migration):

    dependencies = [
        ('automations_app', '0002_run_details'),
    ]

    operations = [
        migrations.CreateModel(
            name='FailureStreak',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope_id', models.CharField(blank=True, default='', max_length=200)),
                ('failures', models.PositiveIntegerField(default=0)),
                ('last_alert_at', models.DateTimeField(blank=True, null=True)),
                ('automation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='streaks', to='automations_app.automation')),
            ],
        ),
        migrations.AddConstraint(
            model_name='failurestreak',
            constraint=models.UniqueConstraint(fields=('automation', 'scope_id'), name='failure_streak_once'),
        ),
        RowSecurity("failurestreak"),
        migrations.AddField(
            model_name='delivery',
            name='automation',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='automations_app.automation'),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.AlterField(
            model_name='delivery',
            name='automation',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='automations_app.automation'),
        ),
        migrations.RemoveIndex(
            model_name='occurrence',
            name='occurrence_claimed',
        ),
        migrations.RemoveField(
            model_name='automation',
            name='failures_in_row',
        ),
        migrations.RemoveField(
            model_name='automation',
            name='last_alert_at',
        ),
        migrations.RemoveField(
            model_name='automation',
            name='last_success_at',
        ),
        migrations.RemoveField(
            model_name='automation',
            name='last_summary',
        ),
        migrations.AddField(
            model_name='automationrun',
            name='request_hash',
            field=models.CharField(blank=True, default='', max_length=64),
        ),
        migrations.AddField(
            model_name='automationrun',
            name='request_key',
            field=models.CharField(blank=True, default='', max_length=64),
        ),
        migrations.AddField(
            model_name='delivery',
            name='target_mark',
            field=models.CharField(blank=True, default='', max_length=64),
        ),
        migrations.AlterField(
            model_name='automationrun',
            name='status',
            field=models.CharField(choices=[('queued', 'queued'), ('running', 'running'), ('waiting', 'waits for a person'), ('success', 'success'), ('failed', 'failed')], default='queued', max_length=10),
        ),
        migrations.AlterField(
            model_name='occurrence',
            name='status',
            field=models.CharField(choices=[('run', 'run'), ('skipped', 'skipped'), ('missed', 'missed')], default='run', max_length=10),
        ),
        migrations.AddIndex(
            model_name='automationrun',
            index=models.Index(models.F('status'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='arun_recent_of_status'),
        ),
        migrations.AddIndex(
            model_name='automationrun',
            index=models.Index(models.F('cause'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('cause__in', ['manual', 'retry'])), name='arun_recent_of_cause'),
        ),
        migrations.AddIndex(
            model_name='automationrun',
            index=models.Index(models.F('session_id'), condition=models.Q(('session_id', ''), _negated=True), name='arun_of_session'),
        ),
        migrations.AddIndex(
            model_name='automationrun',
            index=models.Index(models.F('automation'), models.F('scope_id'), models.OrderBy(models.F('ended_at'), descending=True), condition=models.Q(('status', 'success')), name='arun_success'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(models.F('status'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('status', 'delivered'), _negated=True), name='delivery_open'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(models.F('automation'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='delivery_of_automation'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(models.F('automation'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('status', 'dead')), name='delivery_dead_of'),
        ),
        migrations.AddIndex(
            model_name='inbounddelivery',
            index=models.Index(models.F('automation'), models.OrderBy(models.F('received_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='inbound_of_automation'),
        ),
        migrations.AddIndex(
            model_name='inbounddelivery',
            index=models.Index(models.F('sender_id'), name='inbound_of_sender'),
        ),
        migrations.AddIndex(
            model_name='occurrence',
            index=models.Index(models.F('status'), models.OrderBy(models.F('due_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('status', 'run'), _negated=True), name='occurrence_not_run'),
        ),
        migrations.AddIndex(
            model_name='occurrence',
            index=models.Index(models.F('automation'), models.OrderBy(models.F('due_at'), descending=True), condition=models.Q(('status', 'run'), _negated=True), name='occurrence_not_run_of'),
        ),
        migrations.AddConstraint(
            model_name='automationrun',
            constraint=models.UniqueConstraint(condition=models.Q(('request_key', ''), _negated=True), fields=('automation', 'scope_id', 'request_key'), name='one_run_per_key'),
        ),
    ]
