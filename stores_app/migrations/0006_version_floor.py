"""Versions of deleted documents are not given out again, where no history keeps them."""

from django.db import migrations, models

from agentsite.rows.policies import RowSecurity


class Migration(migrations.Migration):
    dependencies = [("stores_app", "0005_lists_by_index")]

    operations = [
        migrations.CreateModel(
            name="VersionFloor",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("agent", models.CharField(max_length=200)),
                ("scope_id", models.CharField(blank=True, default="", max_length=200)),
                ("store", models.CharField(max_length=200)),
                ("version", models.IntegerField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("scope_id", "agent", "store"), name="version_floor_once"
                    )
                ],
            },
        ),
        RowSecurity("versionfloor"),
    ]
