"""Open alerts are looked for by what they say, entries of the audit log by who did it."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("operations", "0006_evals")]

    operations = [
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(
                condition=models.Q(("closed_at", None)), fields=["kind", "title"], name="alert_open"
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry", index=models.Index(fields=["actor"], name="audit_actor")
        ),
    ]
