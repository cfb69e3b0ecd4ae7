import django.db.models.deletion
import django.db.models.lookups
from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import migrations, models

import experiments.definition
import experiments.models

KEY_PATTERN = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z"
VALID_KEY = RegexValidator(
    KEY_PATTERN,
    "Use letters, digits, “.”, “_” and “-”, beginning with a letter or digit; at most 128 characters.",
)
BASIS_POINTS = [MinValueValidator(0), MaxValueValidator(10_000)]


IDENTITY = (
    "id",
    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
)


class Migration(migrations.Migration):
    initial = True

    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        # The foreign keys lock the table of users for an instant; waiting for it must not stop everyone's log-in.
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.CreateModel(
            name="Experiment",
            fields=[
                IDENTITY,
                (
                    "key",
                    models.CharField(
                        help_text="What clients ask for, e.g. “llm_model_ab_test”. Fixed once the experiment has started.",
                        max_length=128,
                        unique=True,
                        validators=[VALID_KEY],
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "hypothesis",
                    models.TextField(
                        blank=True,
                        help_text="What you expect and why, written down before the first result is seen.",
                    ),
                ),
                (
                    "unit_kind",
                    models.CharField(
                        choices=[
                            ("user", "user"),
                            ("conversation", "conversation"),
                            ("case", "patient case"),
                            ("clinic", "clinic"),
                            ("other", "other"),
                        ],
                        default="user",
                        help_text="What one unit is: everything of one unit gets the same variant.",
                        max_length=16,
                    ),
                ),
                (
                    "salt",
                    models.CharField(default=experiments.models.new_salt, editable=False, max_length=32),
                ),
                (
                    "coverage_bp",
                    models.IntegerField(
                        default=10_000,
                        help_text=(
                            "Share of all units that take part; the others get the control's config and are not "
                            "counted."
                        ),
                        validators=BASIS_POINTS,
                        verbose_name="coverage",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("draft", "draft"), ("running", "running"), ("stopped", "stopped")],
                        default="draft",
                        editable=False,
                        max_length=16,
                    ),
                ),
                ("started_at", models.DateTimeField(editable=False, null=True)),
                ("stopped_at", models.DateTimeField(editable=False, null=True)),
                (
                    "version",
                    models.IntegerField(
                        default=1, editable=False, help_text="Grows by one with every change."
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        help_text="Whom to ask.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("key__regex", KEY_PATTERN)), name="experiment_key_is_valid"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("coverage_bp__range", (0, 10_000))),
                        name="experiment_coverage_in_basis_points",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(state="draft", started_at=None, stopped_at=None)
                        | models.Q(state="running", started_at__isnull=False, stopped_at=None)
                        | models.Q(
                            state="stopped",
                            started_at__isnull=False,
                            stopped_at__isnull=False,
                            stopped_at__gte=models.F("started_at"),
                        ),
                        name="experiment_times_fit_state",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ExperimentEvent",
            fields=[
                IDENTITY,
                ("at", models.DateTimeField()),
                ("action", models.CharField(max_length=32)),
                ("reason", models.TextField(blank=True)),
                ("before", models.JSONField()),
                ("after", models.JSONField()),
                (
                    "by",
                    models.ForeignKey(
                        help_text="Empty: the system itself.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "experiment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="experiments.experiment",
                    ),
                ),
            ],
            options={"verbose_name": "change", "verbose_name_plural": "audit", "ordering": ("-at", "-id")},
        ),
        migrations.CreateModel(
            name="Variant",
            fields=[
                IDENTITY,
                ("key", models.CharField(help_text="E.g. “gpt-4”.", max_length=128, validators=[VALID_KEY])),
                ("position", models.PositiveSmallIntegerField(default=0, editable=False)),
                (
                    "is_control",
                    models.BooleanField(
                        default=False,
                        help_text="What the others are compared with; exactly one.",
                        verbose_name="control",
                    ),
                ),
                ("weight_bp", models.IntegerField(validators=BASIS_POINTS, verbose_name="weight")),
                (
                    "config",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="Handed to the client as it is.",
                        validators=[experiments.definition.validate_config],
                    ),
                ),
                (
                    "experiment",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="variants",
                        to="experiments.experiment",
                    ),
                ),
            ],
            options={
                "ordering": ("experiment_id", "position"),
                "constraints": [
                    models.UniqueConstraint(
                        deferrable=models.Deferrable.DEFERRED,
                        fields=["experiment", "key"],
                        name="variant_key_once_per_experiment",
                    ),
                    models.UniqueConstraint(
                        fields=["experiment", "position"], name="variant_position_once_per_experiment"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_control", True)),
                        fields=["experiment"],
                        name="variant_one_control_per_experiment",
                    ),
                    models.UniqueConstraint(fields=["experiment", "id"], name="variant_with_experiment"),
                    models.CheckConstraint(
                        condition=models.Q(("key__regex", KEY_PATTERN)), name="variant_key_is_valid"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("weight_bp__range", (0, 10_000))),
                        name="variant_weight_in_basis_points",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func(
                                models.F("config"), function="jsonb_typeof", output_field=models.TextField()
                            ),
                            models.Value("object"),
                        ),
                        name="variant_config_is_object",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Assignment",
            fields=[
                IDENTITY,
                (
                    "unit",
                    models.CharField(
                        help_text="Pseudonymous id of the user, conversation, case …", max_length=128
                    ),
                ),
                ("bucket", models.FloatField(help_text="The unit's number in [0, 1).")),
                ("assigned_at", models.DateTimeField()),
                (
                    "experiment",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="assignments",
                        to="experiments.experiment",
                    ),
                ),
                (
                    "variant",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="assignments",
                        to="experiments.variant",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "constraints": [
                    models.UniqueConstraint(fields=["unit", "experiment"], name="assignment_once_per_unit"),
                    models.CheckConstraint(condition=~models.Q(unit=""), name="assignment_unit_is_not_empty"),
                    models.CheckConstraint(
                        condition=models.Q(bucket__gte=0, bucket__lt=1), name="assignment_bucket_in_range"
                    ),
                ],
            },
        ),
    ]
