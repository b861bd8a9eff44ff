"""Groups that give staff at the chat page a role: `admin` and `ops`."""

from typing import Any

from django.db import migrations


def make_groups(apps: Any, schema_editor: Any) -> None:
    """Make those that are missing."""
    for name in ("admin", "ops"):
        apps.get_model("auth", "Group").objects.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0007_signal_of_credentials"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
