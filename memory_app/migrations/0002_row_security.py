"""Row-level security on what is remembered."""

from django.db import migrations

from agentsite.rows.policies import RowSecurity


class Migration(migrations.Migration):
    dependencies = [("memory_app", "0001_initial"), ("sessions_app", "0006_row_security")]

    operations = [RowSecurity("memoryentry"), RowSecurity("sessionmemory")]
