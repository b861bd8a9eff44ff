"""Row-level security on the event bus: what is for staff only, no tenant sees."""

from django.db import migrations

from agentsite.rows.policies import OWN, RowSecurity


class Migration(migrations.Migration):
    dependencies = [("bus", "0001_initial"), ("sessions_app", "0006_row_security")]

    operations = [
        RowSecurity("busevent", readable="audience = 'everyone'", own=f"{OWN} AND audience = 'scope'")
    ]
