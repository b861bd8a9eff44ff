"""What was taken out of targets belongs to the block of its target, in `changed` and in digests."""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

BLOCKS = ["delivery", "failure_alert"]


def part(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Where nothing says which block staff changed, both are theirs; digests come with the file."""
    for row in apps.get_model("automations_app", "Automation").objects.iterator():
        marked = set(row.changed)
        if "target_secrets" in marked:
            marked.discard("target_secrets")
            marked |= set() if marked.intersection(BLOCKS) else set(BLOCKS)
        if row.file_values:
            row.file_values["target_secrets"] = {}
        row.changed = sorted(marked)
        row.save(update_fields=["changed", "file_values"])


class Migration(migrations.Migration):
    dependencies = [("automations_app", "0003_of_each_scope")]

    operations = [migrations.RunPython(part, migrations.RunPython.noop)]
