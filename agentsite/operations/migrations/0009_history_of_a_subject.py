"""Pages tell the newest of what was done with one thing, which may be much."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("operations", "0008_lists_by_index")]

    operations = [
        migrations.AlterField(
            model_name="auditentry", name="subject", field=models.TextField()
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["subject", "-number"], name="audit_by_subject"),
        ),
    ]
