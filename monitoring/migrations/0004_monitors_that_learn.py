"""Monitors learn what is usual, are tried out before they watch, and share a budget of false alarms.

What is new has a default in the database, so that code that does not know it yet goes on writing. Monitors that exist keep
their own number of false alarms, and watch what they watched.
"""

import django.core.validators
import django.db.models.deletion
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models

# Whoever holds the table keeps us waiting, and everybody else waits behind us: not for long.
BOUNDED = "SET LOCAL lock_timeout = '5s'"
OWN_BUDGETS = """
UPDATE monitoring_monitor SET
    whole_alarms = CASE WHEN split_by = '{}' THEN alarms_per_30_days ELSE 0 END,
    slice_alarms = CASE WHEN split_by = '{}' THEN 0 ELSE alarms_per_30_days / (max_slices + 1) END
"""
FIXED = """
CREATE TRIGGER reference_never_changed
    BEFORE UPDATE ON monitoring_reference FOR EACH ROW EXECUTE FUNCTION monitoring_refuse_change();
CREATE TRIGGER reference_slice_never_changed
    BEFORE UPDATE ON monitoring_referenceslice FOR EACH ROW EXECUTE FUNCTION monitoring_refuse_change();
"""
CHANGEABLE = """
SET LOCAL lock_timeout = '5s';
DROP TRIGGER reference_never_changed ON monitoring_reference;
DROP TRIGGER reference_slice_never_changed ON monitoring_referenceslice;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0003_halted_experiments"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(BOUNDED, migrations.RunSQL.noop),
        migrations.CreateModel(
            name="Backtest",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "question",
                    models.JSONField(help_text="The settings that were tried; see monitoring.questions."),
                ),
                (
                    "changes",
                    models.JSONField(
                        default=dict,
                        help_text="Those of the settings that differed from the ones in force when it was asked for.",
                    ),
                ),
                (
                    "is_change",
                    models.BooleanField(
                        default=False, help_text="Yes: the settings differ from those in force."
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="waiting",
                        max_length=16,
                    ),
                ),
                ("progress", models.FloatField(default=0.0, help_text="From 0 to 1.")),
                ("report", models.JSONField(default=dict)),
                ("error", models.CharField(blank=True, max_length=500)),
                ("asked_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="BudgetEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField()),
                (
                    "expected",
                    models.FloatField(
                        default=0.0, help_text="Largest number of false alarms that is promised on average."
                    ),
                ),
                ("alarm_count", models.IntegerField(default=0)),
                ("signal_count", models.IntegerField(default=0, help_text="Of single buckets.")),
                (
                    "inhibited_count",
                    models.IntegerField(
                        default=0, help_text="Noted on the incident of all records together."
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "budget entries",
                "ordering": ("-day", "monitor_id"),
            },
        ),
        migrations.CreateModel(
            name="FleetBudget",
            fields=[
                (
                    "name",
                    models.CharField(
                        default="fleet", editable=False, max_length=16, primary_key=True, serialize=False
                    ),
                ),
                (
                    "alarms_per_30_days",
                    models.FloatField(
                        default=1.0,
                        help_text="Over all monitors that have no number of their own. It is split among them, whatever their count: more monitors make each a little slower, never the whole louder.",
                        validators=[
                            django.core.validators.MinValueValidator(0.001),
                            django.core.validators.MaxValueValidator(1000),
                        ],
                        verbose_name="false alarms in 30 days",
                    ),
                ),
                (
                    "whole_share",
                    models.FloatField(
                        default=0.5,
                        help_text="For all records together.",
                        validators=[
                            django.core.validators.MinValueValidator(0.01),
                            django.core.validators.MaxValueValidator(1),
                        ],
                    ),
                ),
                (
                    "slice_share",
                    models.FloatField(
                        default=0.3,
                        help_text="For slices by one dimension.",
                        validators=[
                            django.core.validators.MinValueValidator(0.01),
                            django.core.validators.MaxValueValidator(1),
                        ],
                    ),
                ),
                (
                    "deep_share",
                    models.FloatField(
                        default=0.2,
                        help_text="For slices by several.",
                        validators=[
                            django.core.validators.MinValueValidator(0.01),
                            django.core.validators.MaxValueValidator(1),
                        ],
                    ),
                ),
            ],
            options={
                "verbose_name": "budget of false alarms",
                "verbose_name_plural": "budget of false alarms",
            },
        ),
        migrations.CreateModel(
            name="Marker",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("deploy", "Deploy"),
                            ("maintenance", "Maintenance"),
                            ("holiday", "Holiday"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="As it should read in a plot, for example “release 4.2”.", max_length=200
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(help_text="Buckets of time that overlap it do not count.")),
                (
                    "where",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="Only monitors of these records, for example {“endpoint”: “/triage”}. {}: all monitors.",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ("-starts_at",),
            },
        ),
        migrations.CreateModel(
            name="Reference",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("version", models.IntegerField()),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("pinned", "pinned: one stretch of time that stays"),
                            (
                                "trailing",
                                "trailing: the last weeks, with a gap; it stands still while an incident is open",
                            ),
                            ("variant", "variant: other records at the same time, such as the control"),
                        ],
                        max_length=16,
                    ),
                ),
                ("start_at", models.DateTimeField()),
                ("end_at", models.DateTimeField()),
                ("made_at", models.DateTimeField()),
                ("reason", models.CharField(blank=True, help_text="Why it was made.", max_length=500)),
                (
                    "question",
                    models.JSONField(default=dict, help_text="What the monitor asked when it was learnt."),
                ),
                ("n", models.BigIntegerField()),
                ("bucket_count", models.IntegerField()),
                (
                    "longest_gap_seconds",
                    models.FloatField(default=0.0, help_text="Longest time without records in it."),
                ),
                (
                    "shares",
                    models.JSONField(
                        default=dict,
                        help_text="n and mean of each value of each dimension, to explain a change by.",
                    ),
                ),
            ],
            options={
                "ordering": ("-version",),
            },
        ),
        migrations.CreateModel(
            name="ReferenceSlice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.TextField()),
                ("labels", models.JSONField(default=dict)),
                ("learnt", models.JSONField(help_text="monitoring.monitors.learnt")),
                ("n", models.BigIntegerField()),
                ("mean", models.FloatField(null=True)),
                ("sd", models.FloatField(null=True)),
                (
                    "histogram",
                    models.JSONField(
                        default=dict, help_text="Name of bins -> bin -> count, of the whole window."
                    ),
                ),
                ("bucket_n", models.FloatField(help_text="Median records of a bucket that has any.")),
                (
                    "sight",
                    models.JSONField(
                        default=dict,
                        help_text="Smallest change up and down that is found within a day on average.",
                    ),
                ),
            ],
            options={
                "ordering": ("key",),
            },
        ),
        migrations.RemoveConstraint(
            model_name="monitor",
            name="monitor_active_has_start",
        ),
        migrations.RemoveIndex(
            model_name="monitor",
            name="monitor_due",
        ),
        migrations.AddField(
            model_name="driftevaluation",
            name="expected",
            field=models.FloatField(help_text="What is usual in this bucket.", null=True),
        ),
        migrations.AddField(
            model_name="driftevaluation",
            name="high",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="driftevaluation",
            name="is_frozen",
            field=models.BooleanField(
                db_default=False, default=False, help_text="A marker covers it: no evidence."
            ),
        ),
        migrations.AddField(
            model_name="driftevaluation",
            name="is_signal",
            field=models.BooleanField(
                db_default=False, default=False, help_text="One bucket alone was too much."
            ),
        ),
        migrations.AddField(
            model_name="driftevaluation",
            name="low",
            field=models.FloatField(
                help_text="Up to here, and from `high` on, it is called a change.", null=True
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="signal",
            field=models.CharField(
                choices=[
                    ("drift", "lasting change"),
                    ("anomaly", "single bucket"),
                    ("check", "the check itself"),
                ],
                db_default="drift",
                default="drift",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="control",
            field=models.JSONField(
                blank=True,
                db_default={},
                default=dict,
                help_text="Of a reference that is a variant: which records it is compared with, for example {“variant”: “gpt-4”}.",
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="is_whole_watched",
            field=models.BooleanField(
                db_default=False,
                default=True,
                help_text="Besides the combinations, watch all records together. While an incident of all is open, alarms of combinations are noted on it instead of telling the same thing again.",
                verbose_name="watch all together too",
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="last_row_at",
            field=models.DateTimeField(
                editable=False, help_text="Start of the last bucket that had records.", null=True
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="learning_note",
            field=models.CharField(
                blank=True,
                db_default="",
                editable=False,
                help_text="What is missing before it can be watched.",
                max_length=500,
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="maturity_hours",
            field=models.FloatField(
                blank=True,
                help_text="Feedback and batches come late, so responses are compared when all are this many hours old. Empty: 6 hours for feedback, 15 minutes for volume. Others ignore it.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(720),
                ],
                verbose_name="age of responses",
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="reference_days",
            field=models.PositiveSmallIntegerField(
                db_default=28,
                default=28,
                help_text="Four weeks or more let it learn hours of the week, two weeks hours of the day.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(400),
                ],
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="reference_end_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="monitor",
            name="reference_gap_hours",
            field=models.PositiveSmallIntegerField(
                db_default=24,
                default=24,
                help_text="A trailing reference ends this long before now, so that a change is not learnt at once.",
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="reference_mode",
            field=models.CharField(
                choices=[
                    ("pinned", "pinned: one stretch of time that stays"),
                    (
                        "trailing",
                        "trailing: the last weeks, with a gap; it stands still while an incident is open",
                    ),
                    ("variant", "variant: other records at the same time, such as the control"),
                ],
                db_default="pinned",
                default="pinned",
                help_text="What is usual. A kind with a fixed level needs none.",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="reference_start_at",
            field=models.DateTimeField(
                blank=True, help_text="Of a pinned reference. Empty: the days below, before now.", null=True
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="slice_alarms",
            field=models.FloatField(
                db_default=0.0, default=0.0, editable=False, help_text="In 30 days, of each combination."
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="stale_after_days",
            field=models.PositiveSmallIntegerField(
                db_default=90,
                default=90,
                help_text="A pinned reference older than this is called stale; it is still watched.",
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="weight",
            field=models.FloatField(
                db_default=1.0,
                default=1.0,
                help_text="How large its share of the common budget is, compared with the others.",
                validators=[
                    django.core.validators.MinValueValidator(0.01),
                    django.core.validators.MaxValueValidator(100),
                ],
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="whole_alarms",
            field=models.FloatField(
                db_default=0.0, default=0.0, editable=False, help_text="In 30 days, of all records together."
            ),
        ),
        migrations.AddField(
            model_name="monitorslice",
            name="last_row_at",
            field=models.DateTimeField(help_text="Start of the last bucket that had records.", null=True),
        ),
        migrations.AlterField(
            model_name="incident",
            name="evidence",
            field=models.JSONField(
                db_default={},
                default=dict,
                help_text="What it was based on when it was opened; a trigger refuses to change it.",
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
                    ("baseline", "accepted as the new baseline"),
                    ("resumed", "the experiment was resumed"),
                    ("stopped", "the experiment was stopped"),
                ],
                max_length=32,
            ),
        ),
        migrations.AlterField(
            model_name="incidentevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("opened", "Opened"),
                    ("acknowledged", "Acknowledged"),
                    ("recovering", "Recovering"),
                    ("relapsed", "Relapsed"),
                    ("escalated", "Escalated"),
                    ("noted", "alarm of a slice"),
                    ("resolved", "Resolved"),
                ],
                max_length=32,
            ),
        ),
        migrations.AlterField(
            model_name="monitor",
            name="alarms_per_30_days",
            field=models.FloatField(
                blank=True,
                default=None,
                help_text="Empty: a share of the budget of all monitors together. A number is a promise of its own, in addition to that: while nothing has changed, at most this many alarms in 30 days on average, however often it looks. Less means calmer and slower.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1e-06),
                    django.core.validators.MaxValueValidator(1000),
                ],
                verbose_name="false alarms in 30 days",
            ),
        ),
        migrations.AlterField(
            model_name="monitor",
            name="metric",
            field=models.CharField(
                help_text="A quality metric, one of what every response has (latency_seconds, cost, error, …), “volume”, “feedback:negative”, “feedback:positive”, “feedback:rating”, “feedback:coverage”, or “agreement:” and a metric.",
                max_length=80,
            ),
        ),
        migrations.AlterField(
            model_name="monitor",
            name="state",
            field=models.CharField(
                choices=[
                    ("learning", "Learning"),
                    ("backtested", "Backtested"),
                    ("active", "Active"),
                    ("paused", "Paused"),
                    ("stale", "stale reference"),
                ],
                default="learning",
                editable=False,
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="backtest",
            name="asked_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="backtest",
            name="monitor",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="backtests", to="monitoring.monitor"
            ),
        ),
        migrations.AddField(
            model_name="budgetentry",
            name="monitor",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="budget_entries",
                to="monitoring.monitor",
            ),
        ),
        migrations.AddConstraint(
            model_name="fleetbudget",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", "fleet")), name="fleet_budget_one_row"
            ),
        ),
        migrations.AddConstraint(
            model_name="fleetbudget",
            constraint=models.CheckConstraint(
                condition=models.Q(("alarms_per_30_days__gt", 0)), name="fleet_budget_positive"
            ),
        ),
        migrations.AddField(
            model_name="marker",
            name="created_by",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="reference",
            name="made_by",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="reference",
            name="monitor",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="references",
                to="monitoring.monitor",
            ),
        ),
        migrations.AddField(
            model_name="monitor",
            name="reference",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="monitoring.reference",
            ),
        ),
        migrations.AddIndex(
            model_name="monitor",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="monitor_due_at"
            ),
        ),
        migrations.AddConstraint(
            model_name="monitor",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["active", "stale"]), _negated=True),
                    models.Q(
                        ("due_at__isnull", False),
                        ("started_at__isnull", False),
                        ("watermark_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="monitor_active_has_start",
            ),
        ),
        migrations.AddField(
            model_name="referenceslice",
            name="reference",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="slices", to="monitoring.reference"
            ),
        ),
        migrations.AddConstraint(
            model_name="backtest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["waiting", "running"])),
                fields=("monitor",),
                name="backtest_one_at_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="backtest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "running")), fields=("state",), name="backtest_one_running"
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetentry",
            constraint=models.UniqueConstraint(fields=("monitor", "day"), name="budget_entry_once_per_day"),
        ),
        migrations.AddIndex(
            model_name="marker",
            index=models.Index(fields=["ends_at"], name="marker_ends_at"),
        ),
        migrations.AddConstraint(
            model_name="marker",
            constraint=models.CheckConstraint(
                condition=models.Q(("starts_at__lt", models.F("ends_at"))), name="marker_starts_before_end"
            ),
        ),
        migrations.AddConstraint(
            model_name="reference",
            constraint=models.UniqueConstraint(
                fields=("monitor", "version"), name="reference_once_per_version"
            ),
        ),
        migrations.AddConstraint(
            model_name="reference",
            constraint=models.CheckConstraint(
                condition=models.Q(("start_at__lt", models.F("end_at"))), name="reference_start_before_end"
            ),
        ),
        migrations.AddConstraint(
            model_name="referenceslice",
            constraint=models.UniqueConstraint(fields=("reference", "key"), name="reference_slice_once"),
        ),
        migrations.RunSQL(OWN_BUDGETS, migrations.RunSQL.noop),
        migrations.RunSQL(FIXED, CHANGEABLE),
    ]
