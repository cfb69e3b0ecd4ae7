"""An incident may be about a halted experiment; what the halt was based on stays as it was written.

What is new has a default in the database, so that code that does not know it yet goes on writing incidents and channels.
"""

import django.db.models.deletion
from django.db import migrations, models

# Whoever holds the table keeps us waiting, and everybody else waits behind us: not for long.
BOUNDED = "SET LOCAL lock_timeout = '5s'"
FREEZE = """
CREATE FUNCTION monitoring_freeze_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the evidence of an incident is never changed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER incident_evidence_frozen
    BEFORE UPDATE OF evidence, experiment, experiment_event ON monitoring_incident
    FOR EACH ROW
    WHEN ((NEW.evidence, NEW.experiment, NEW.experiment_event)
        IS DISTINCT FROM (OLD.evidence, OLD.experiment, OLD.experiment_event))
    EXECUTE FUNCTION monitoring_freeze_evidence();
"""
THAW = """
DROP TRIGGER incident_evidence_frozen ON monitoring_incident;
DROP FUNCTION monitoring_freeze_evidence();
"""


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0002_events_append_only")]

    operations = [
        migrations.RunSQL(BOUNDED, migrations.RunSQL.noop),
        migrations.AddField(
            model_name="channel",
            name="takes_experiments",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="Tell this channel when an experiment is halted.",
                verbose_name="halted experiments",
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="experiment",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Key of the experiment that was halted.",
                max_length=128,
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="experiment_event",
            field=models.BigIntegerField(
                help_text="Number of the experiment's change that opened it: the halt.", null=True
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="evidence",
            field=models.JSONField(
                db_default={},
                default=dict,
                help_text="What the halt was based on; a trigger refuses to change it.",
            ),
        ),
        migrations.AlterField(
            model_name="incident",
            name="monitor",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="incidents",
                to="monitoring.monitor",
            ),
        ),
        migrations.AlterField(
            model_name="incident",
            name="resolution",
            field=models.CharField(
                blank=True,
                choices=[
                    ("recovered", "it is well again"),
                    ("fixed", "somebody fixed it"),
                    ("expected", "the change was expected"),
                    ("false_positive", "it was a false alarm"),
                    ("monitor_changed", "the monitor was changed"),
                    ("resumed", "the experiment was resumed"),
                    ("stopped", "the experiment was stopped"),
                ],
                max_length=32,
            ),
        ),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    models.Q(("state", "resolved"), _negated=True),
                    models.Q(("experiment", ""), _negated=True),
                ),
                fields=("experiment", "slice_key"),
                name="incident_one_open_per_experiment",
            ),
        ),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.UniqueConstraint(fields=("experiment_event",), name="incident_once_per_halt"),
        ),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("experiment", ""), ("monitor__isnull", False)),
                    models.Q(("monitor__isnull", True), models.Q(("experiment", ""), _negated=True)),
                    _connector="OR",
                ),
                name="incident_of_a_monitor_or_an_experiment",
            ),
        ),
        migrations.RunSQL(FREEZE, THAW),
        # The way back runs from the last to the first.
        migrations.RunSQL(migrations.RunSQL.noop, BOUNDED),
    ]
