from django.db import migrations, models
from django.db.models.functions import Now

from agentsite.rows.policies import RowSecurity


class Migration(migrations.Migration):
    dependencies = [("operations", "0002_audit"), ("sessions_app", "0006_row_security")]

    operations = [
        migrations.CreateModel(
            name="Proposal",
            fields=[
                ("id", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("agent", models.CharField(max_length=200)),
                ("scope_id", models.CharField(blank=True, default="", max_length=200)),
                ("session_id", models.CharField(max_length=64)),
                ("title", models.CharField(max_length=200)),
                ("reasoning", models.TextField()),
                ("content", models.TextField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "waits for an operator"),
                            ("accepted", "accepted"),
                            ("refused", "refused"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("file", models.CharField(blank=True, default="", max_length=200)),
                ("comment", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(db_default=Now())),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("decided_by", models.CharField(blank=True, default="", max_length=200)),
            ],
        ),
        RowSecurity("proposal"),
    ]
