# In a transaction of its own: adding the column locks the table for readers, too.

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sessions_app', '0018_copy_of'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='toolcall',
            index=models.Index(models.F('run'), condition=models.Q(('outcome_unknown', True)), name='call_unknown'),
        ),
    ]
