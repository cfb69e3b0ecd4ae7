"""Incidents that are reported, suspected, silenced and sealed; routes, silences, windows, channels with more settings, their health."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.comparison
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("monitoring", "0006_canary"),
    ]

    operations = [
        migrations.RunSQL(
            sql="SET LOCAL lock_timeout = '5s'",
            reverse_sql="",
        ),
        migrations.CreateModel(
            name="ChannelHealth",
            fields=[
                (
                    "channel",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="health",
                        serialize=False,
                        to="monitoring.channel",
                    ),
                ),
                (
                    "tokens",
                    models.FloatField(default=0.0, help_text="Calls that may be made now (token bucket)."),
                ),
                ("refilled_at", models.DateTimeField(null=True)),
                (
                    "failure_count",
                    models.IntegerField(default=0, help_text="Failures since the last success."),
                ),
                (
                    "closed_until",
                    models.DateTimeField(
                        help_text="Left alone until then, then one try decides (circuit breaker).", null=True
                    ),
                ),
                (
                    "busy_until",
                    models.DateTimeField(
                        help_text="A call is under way, of a kind that takes one after the other.", null=True
                    ),
                ),
                ("last_success_at", models.DateTimeField(null=True)),
                ("last_failure_at", models.DateTimeField(null=True)),
                ("last_reason", models.CharField(blank=True, default="", max_length=500)),
                (
                    "resent_at",
                    models.DateTimeField(
                        help_text="When firing incidents were sent anew (Alertmanager).", null=True
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "channel health",
            },
        ),
        migrations.CreateModel(
            name="DeliveryAudit",
            fields=[
                (
                    "name",
                    models.CharField(
                        default="audit", editable=False, max_length=16, primary_key=True, serialize=False
                    ),
                ),
                ("audited_at", models.DateTimeField()),
                ("passed_at", models.DateTimeField(null=True)),
                (
                    "incident_count",
                    models.IntegerField(default=0, help_text="Open incidents that were looked at."),
                ),
                ("findings", models.JSONField(default=list, help_text="What is not as it must be.")),
                (
                    "heartbeat_at",
                    models.DateTimeField(
                        help_text="When the dead-man's address was last reached.", null=True
                    ),
                ),
                ("heartbeat_reason", models.CharField(blank=True, default="", max_length=300)),
            ],
        ),
        migrations.CreateModel(
            name="EscalationStep",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "number",
                    models.PositiveSmallIntegerField(
                        validators=[django.core.validators.MinValueValidator(1)]
                    ),
                ),
                (
                    "after_seconds",
                    models.PositiveIntegerField(
                        help_text="After its first message was to go, or it fired again.",
                        validators=[
                            django.core.validators.MinValueValidator(30),
                            django.core.validators.MaxValueValidator(604800),
                        ],
                    ),
                ),
            ],
            options={
                "ordering": ("route_id", "number"),
            },
        ),
        migrations.CreateModel(
            name="Hours",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                (
                    "zone",
                    models.CharField(default="UTC", help_text="For example Europe/Berlin.", max_length=64),
                ),
                (
                    "ranges",
                    models.CharField(
                        help_text="For example “mon-fri 09:00-17:00, sat 10:00-12:00”; “22:00-06:00” is a night.",
                        max_length=500,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "hours",
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="InboxSeen",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("seen_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="IncidentFlag",
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
                            ("silenced", "Silenced"),
                            ("maintenance", "Maintenance"),
                            ("inhibited", "Inhibited"),
                            ("flapping", "Flapping"),
                            ("no_data", "no data"),
                        ],
                        max_length=16,
                    ),
                ),
                ("cause", models.CharField(blank=True, default="", max_length=100)),
                ("why", models.CharField(max_length=300)),
                ("who", models.CharField(blank=True, default="", max_length=200)),
                ("since", models.DateTimeField()),
                (
                    "until",
                    models.DateTimeField(help_text="When it ends at the latest, as far as known.", null=True),
                ),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ("since", "pk"),
            },
        ),
        migrations.CreateModel(
            name="InhibitRule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                ("source_matchers", models.JSONField(default=list)),
                ("target_matchers", models.JSONField(default=list)),
                ("equal", models.JSONField(blank=True, default=list)),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="MaintenanceWindow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                ("matchers", models.JSONField(blank=True, default=list, help_text="Empty: everything.")),
                (
                    "repeats",
                    models.CharField(
                        choices=[("once", "Once"), ("weekly", "every week"), ("monthly", "every month")],
                        default="once",
                        max_length=16,
                    ),
                ),
                ("zone", models.CharField(default="UTC", max_length=64)),
                (
                    "weekdays",
                    models.CharField(
                        blank=True, default="", help_text="For example “sat, sun”.", max_length=40
                    ),
                ),
                (
                    "month_day",
                    models.SmallIntegerField(
                        blank=True,
                        help_text="1 to 31; −1 is the last day of the month.",
                        null=True,
                        verbose_name="day of the month",
                    ),
                ),
                ("start", models.TimeField(blank=True, help_text="In its zone.", null=True)),
                ("duration_seconds", models.PositiveIntegerField(default=3600)),
                ("starts_at", models.DateTimeField(help_text="When it begins, or from when on it repeats.")),
                (
                    "ends_at",
                    models.DateTimeField(
                        blank=True, help_text="When it ends, or until when it repeats.", null=True
                    ),
                ),
                ("comment", models.CharField(blank=True, default="", max_length=1000)),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
                ("created_by", models.CharField(max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="MessageTemplate",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                ("title", models.TextField(help_text="One line.", max_length=500)),
                ("body", models.TextField(max_length=4000)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "broken_reason",
                    models.CharField(
                        blank=True,
                        default="",
                        editable=False,
                        help_text="Why it could not be used last.",
                        max_length=300,
                    ),
                ),
                ("broken_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Route",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "position",
                    models.PositiveIntegerField(
                        default=0, help_text="Among its siblings: the first that matches decides."
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                (
                    "matchers",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text='As Alertmanager writes them, for example severity="critical" and team=~"a|b". All must match.',
                    ),
                ),
                (
                    "tells_nobody",
                    models.BooleanField(
                        default=False,
                        help_text="Takes what matches and tells nobody; otherwise empty channels are inherited.",
                    ),
                ),
                (
                    "is_continuing",
                    models.BooleanField(
                        default=False,
                        help_text="Go on with the next sibling although this one matched.",
                        verbose_name="continue",
                    ),
                ),
                (
                    "group_by",
                    models.JSONField(
                        blank=True,
                        help_text="Labels; incidents that agree in them are told together. Empty: inherited.",
                        null=True,
                    ),
                ),
                (
                    "group_wait_seconds",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Of the first message of a group.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(3600)],
                    ),
                ),
                (
                    "group_interval_seconds",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Between two messages of a group.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(86400),
                        ],
                    ),
                ),
                (
                    "repeat_interval_seconds",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="A reminder while nobody acknowledged it; 0: never.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(2592000)],
                    ),
                ),
                (
                    "digest",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "no: told one by one, or in groups"),
                            ("hourly", "every hour"),
                            ("daily", "every day"),
                            ("weekly", "every Monday"),
                        ],
                        default="",
                        max_length=16,
                    ),
                ),
                (
                    "digest_hour",
                    models.PositiveSmallIntegerField(
                        default=9, validators=[django.core.validators.MaxValueValidator(23)]
                    ),
                ),
                ("digest_zone", models.CharField(default="UTC", max_length=64)),
                (
                    "outside",
                    models.CharField(
                        choices=[
                            ("skip", "the route does not count: the next one decides"),
                            ("wait", "messages wait until the hours begin"),
                        ],
                        default="skip",
                        max_length=8,
                    ),
                ),
                (
                    "version",
                    models.PositiveIntegerField(
                        db_default=1,
                        default=1,
                        editable=False,
                        help_text="Of what people say of it: 1 more after each change.",
                    ),
                ),
            ],
            options={
                "ordering": ("position", "pk"),
            },
        ),
        migrations.CreateModel(
            name="Silence",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "matchers",
                    models.JSONField(help_text="As Alertmanager's API writes them; all must match."),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("comment", models.CharField(max_length=1000)),
                (
                    "created_by",
                    models.CharField(
                        help_text="As given: a person's name, or that of a key.", max_length=200
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                (
                    "ended_by",
                    models.CharField(
                        blank=True, default="", help_text="Who ended it before its time.", max_length=200
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="SilenceMirror",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("remote_id", models.CharField(blank=True, default="", max_length=100)),
                (
                    "mirrored_at",
                    models.DateTimeField(
                        help_text="Which state of the silence it has: updated_at then.", null=True
                    ),
                ),
                ("tried_at", models.DateTimeField(null=True)),
                ("reason", models.CharField(blank=True, default="", max_length=300)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="incident",
            name="incident_of_a_monitor_or_an_experiment",
        ),
        migrations.AddField(
            model_name="channel",
            name="inbound_secret",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="PagerDuty: the secret of its webhook subscription, with which acknowledgements come back here.",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="channel",
            name="previous_secret",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="Signs beside the present one until the receiver knows that.",
                max_length=120,
            ),
        ),
        migrations.AddField(
            model_name="channel",
            name="previous_secret_until",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="channel",
            name="recipients",
            field=models.TextField(
                blank=True, db_default="", default="", help_text="E-mail addresses, separated by commas."
            ),
        ),
        migrations.AddField(
            model_name="deliveryattempt",
            name="together_count",
            field=models.IntegerField(
                db_default=1, default=1, help_text="How many messages were sent in this call."
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="acknowledged_until",
            field=models.DateTimeField(
                help_text="Then it fires again, unless it is over. Empty: the acknowledgement does not end.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="annotations",
            field=models.JSONField(
                db_default={},
                default=dict,
                help_text="summary, description, runbook_url and link, as reported.",
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="expected_until",
            field=models.DateTimeField(
                help_text="Its source repeats it until it is over; resolved when it was not repeated by then.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="hold_until",
            field=models.DateTimeField(
                help_text="While it recovers: resolved then, unless it comes back before.", null=True
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="judged_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="incident",
            name="judged_by",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="reported_by",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="The key that reported it.", max_length=150
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="source",
            field=models.CharField(
                blank=True,
                choices=[
                    ("api", "REST API"),
                    ("alertmanager", "Alertmanager"),
                    ("prometheus", "Prometheus"),
                    ("triageops", "TriageOps itself"),
                ],
                db_default="",
                default="",
                help_text="Who reported it; empty: a monitor or an experiment's guardrail found it.",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="usefulness",
            field=models.CharField(
                blank=True,
                choices=[
                    ("useful", "useful: somebody had to act"),
                    ("noise", "noise: nobody had to act"),
                    ("expected", "expected: it was known"),
                ],
                db_default="",
                default="",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="incidentevent",
            name="actor",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Who did it, as written at that time: a user name, an API key, another system. Empty: the product.",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="incidentevent",
            name="hash",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="SHA-256 of this event and the hash before it (monitoring/history/chain.py). Empty: older than the chain.",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="outboxmessage",
            name="batch",
            field=models.UUIDField(
                help_text="Messages that were sent in one call: they are tried again in one call.", null=True
            ),
        ),
        migrations.AddField(
            model_name="outboxmessage",
            name="because",
            field=models.CharField(
                blank=True, db_default="", default="", help_text="Why this channel is told.", max_length=300
            ),
        ),
        migrations.AddField(
            model_name="outboxmessage",
            name="group_key",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Messages of one channel with the same key are told together.",
                max_length=500,
            ),
        ),
        migrations.AddField(
            model_name="outboxmessage",
            name="step",
            field=models.SmallIntegerField(
                db_default=0, default=0, help_text="0: told at once; else the number of the escalation step."
            ),
        ),
        migrations.AddField(
            model_name="outboxmessage",
            name="suppressed_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=300),
        ),
        migrations.AddField(
            model_name="outboxmessage",
            name="suppressed_since",
            field=models.DateTimeField(
                help_text="Since when it was held back, or would have been sent.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="url",
            field=models.CharField(
                blank=True,
                help_text="Where messages are posted. Whoever knows it can post there: treat it as secret.",
                max_length=2000,
                verbose_name="URL",
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
                    ("reported_over", "its source says that it is over"),
                    ("fell_silent", "its source did not repeat it"),
                    ("faded", "the suspicion passed"),
                ],
                max_length=32,
            ),
        ),
        migrations.AlterField(
            model_name="incident",
            name="signal",
            field=models.CharField(
                choices=[
                    ("drift", "lasting change"),
                    ("anomaly", "single bucket"),
                    ("check", "the check itself"),
                    ("reported", "reported by another system"),
                ],
                db_default="drift",
                default="drift",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="incident",
            name="state",
            field=models.CharField(
                choices=[
                    ("suspect", "Suspect"),
                    ("firing", "Firing"),
                    ("acknowledged", "Acknowledged"),
                    ("recovering", "Recovering"),
                    ("resolved", "Resolved"),
                ],
                default="firing",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="incidentevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("suspected", "Suspected"),
                    ("opened", "Opened"),
                    ("acknowledged", "Acknowledged"),
                    ("unacknowledged", "acknowledgement ended"),
                    ("recovering", "Recovering"),
                    ("relapsed", "Relapsed"),
                    ("escalated", "became worse"),
                    ("noted", "alarm of a slice"),
                    ("flagged", "Flagged"),
                    ("unflagged", "flag removed"),
                    ("reminded", "Reminded"),
                    ("stepped", "next ones told"),
                    ("rerouted", "told late"),
                    ("undelivered", "a channel could not be told"),
                    ("commented", "Commented"),
                    ("judged", "Judged"),
                    ("resolved", "Resolved"),
                ],
                max_length=32,
            ),
        ),
        migrations.AlterField(
            model_name="outboxmessage",
            name="kind",
            field=models.CharField(
                choices=[
                    ("trigger", "Trigger"),
                    ("acknowledge", "Acknowledge"),
                    ("resolve", "Resolve"),
                    ("reminder", "Reminder"),
                    ("test", "Test"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="outboxmessage",
            name="status",
            field=models.CharField(
                choices=[
                    ("pending", "Pending"),
                    ("leased", "Leased"),
                    ("delivered", "Delivered"),
                    ("dead", "Dead"),
                    ("superseded", "Superseded"),
                    ("suppressed", "Suppressed"),
                ],
                default="pending",
                max_length=16,
            ),
        ),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    models.Q(("state", "resolved"), _negated=True), models.Q(("source", ""), _negated=True)
                ),
                fields=("source", "slice_key"),
                name="incident_one_open_per_report",
            ),
        ),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("experiment", ""), ("monitor__isnull", False), ("source", "")),
                    models.Q(
                        ("monitor__isnull", True), ("source", ""), models.Q(("experiment", ""), _negated=True)
                    ),
                    models.Q(
                        ("experiment", ""), ("monitor__isnull", True), models.Q(("source", ""), _negated=True)
                    ),
                    _connector="OR",
                ),
                name="incident_has_one_origin",
            ),
        ),
        migrations.AddConstraint(
            model_name="deliveryaudit",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", "audit")), name="delivery_audit_one_row"
            ),
        ),
        migrations.AddField(
            model_name="escalationstep",
            name="channels",
            field=models.ManyToManyField(related_name="+", to="monitoring.channel"),
        ),
        migrations.AddField(
            model_name="inboxseen",
            name="last_message",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="monitoring.outboxmessage",
            ),
        ),
        migrations.AddField(
            model_name="incidentflag",
            name="by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="incidentflag",
            name="incident",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="flags", to="monitoring.incident"
            ),
        ),
        migrations.AddConstraint(
            model_name="maintenancewindow",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ends_at__isnull", True), ("ends_at__gt", models.F("starts_at")), _connector="OR"
                ),
                name="window_ends_after_it_starts",
            ),
        ),
        migrations.AddField(
            model_name="channel",
            name="template",
            field=models.ForeignKey(
                blank=True,
                help_text="Own words for what this channel says. Empty: the built-in text.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="channels",
                to="monitoring.messagetemplate",
            ),
        ),
        migrations.AddField(
            model_name="route",
            name="channels",
            field=models.ManyToManyField(blank=True, related_name="routes", to="monitoring.channel"),
        ),
        migrations.AddField(
            model_name="route",
            name="hours",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="routes",
                to="monitoring.hours",
            ),
        ),
        migrations.AddField(
            model_name="route",
            name="parent",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="children",
                to="monitoring.route",
            ),
        ),
        migrations.AddField(
            model_name="escalationstep",
            name="route",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="steps", to="monitoring.route"
            ),
        ),
        migrations.AddField(
            model_name="outboxmessage",
            name="route",
            field=models.ForeignKey(
                db_index=False,
                help_text="Which route chose the channel; empty: the monitor names it, or it takes halted experiments.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="monitoring.route",
            ),
        ),
        migrations.AddIndex(
            model_name="silence",
            index=models.Index(fields=["ends_at"], name="silence_end"),
        ),
        migrations.AddConstraint(
            model_name="silence",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gte", models.F("starts_at"))),
                name="silence_ends_after_it_starts",
            ),
        ),
        migrations.AddField(
            model_name="silencemirror",
            name="channel",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="monitoring.channel"
            ),
        ),
        migrations.AddField(
            model_name="silencemirror",
            name="silence",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="mirrors", to="monitoring.silence"
            ),
        ),
        migrations.AddConstraint(
            model_name="incidentflag",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at__isnull", True)),
                fields=("incident", "kind"),
                name="flag_once_per_incident",
            ),
        ),
        migrations.AddConstraint(
            model_name="route",
            constraint=models.UniqueConstraint(
                django.db.models.functions.comparison.Coalesce("parent", 0),
                condition=models.Q(("parent__isnull", True)),
                name="route_one_root",
            ),
        ),
        migrations.AddConstraint(
            model_name="route",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("parent__isnull", True), _negated=True), ("matchers", []), _connector="OR"
                ),
                name="route_root_matches_all",
            ),
        ),
        migrations.AddConstraint(
            model_name="escalationstep",
            constraint=models.UniqueConstraint(fields=("route", "number"), name="step_once_per_number"),
        ),
        migrations.AddConstraint(
            model_name="silencemirror",
            constraint=models.UniqueConstraint(fields=("silence", "channel"), name="silence_mirror_once"),
        ),
        migrations.RunSQL(
            sql="",
            reverse_sql="SET LOCAL lock_timeout = '5s'",
        ),
    ]
