from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("observability", "0001_initial")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.AddField(
            model_name="scheduledjob",
            name="declared_at",
            field=models.DateTimeField(db_default=Now(), help_text="When it came into the schedule."),
        ),
    ]
