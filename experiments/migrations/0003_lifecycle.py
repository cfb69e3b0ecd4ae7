import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import experiments.definition
import experiments.models.layer
import feedback.models


class Migration(migrations.Migration):
    dependencies = [
        ("experiments", "0002_guards"),
        ("feedback", "0003_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.CreateModel(
            name="AllocationEpoch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                (
                    "phase",
                    models.IntegerField(
                        help_text="Epochs of one phase are analysed together, as strata; a new phase starts the analysis anew."
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("start", "start"),
                            ("sticky", "new weights for newcomers"),
                            ("minimal_move", "new weights, fewest moved"),
                            ("rerandomise", "dealt anew"),
                            ("revision", "new version of a variant"),
                            ("coverage", "new coverage"),
                            ("bandit", "new weights of the bandit"),
                        ],
                        max_length=16,
                    ),
                ),
                ("salt", models.CharField(max_length=32)),
                (
                    "coverage_bp",
                    models.IntegerField(
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(10000),
                        ]
                    ),
                ),
                ("weights", models.JSONField(help_text="Variant key -> basis points.")),
                ("versions", models.JSONField(help_text="Variant key -> number of its version.")),
                (
                    "ranges",
                    models.JSONField(help_text="Half-open ranges of buckets: [variant key, first, end]."),
                ),
                (
                    "filters",
                    models.JSONField(
                        default=list,
                        help_text="Slots that a unit must have, of the holdout and the layer: {name, seed, ranges}.",
                    ),
                ),
                (
                    "moved",
                    models.JSONField(
                        default=list,
                        help_text="Ranges of buckets that were taken from an arm: [from, to, first, end]; to is empty when nobody got them.",
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("reason", models.TextField(blank=True)),
            ],
            options={
                "ordering": ("experiment_id", "number"),
            },
        ),
        migrations.CreateModel(
            name="ChangeRequest",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("action", models.CharField(max_length=32)),
                ("arguments", models.JSONField()),
                ("reason", models.TextField(blank=True)),
                ("requested_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(null=True)),
                ("is_approved", models.BooleanField(null=True)),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="ExperimentMetric",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.PositiveSmallIntegerField(default=0, editable=False)),
                (
                    "key",
                    models.CharField(
                        help_text="E.g. “win_share”.",
                        max_length=64,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\\Z",
                                "Use letters, digits, “.”, “_” and “-”, beginning with a letter or digit; at most 128 characters.",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(help_text="As people read it, e.g. “win share”.", max_length=100)),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("primary", "primary: decides"),
                            ("secondary", "secondary: explains"),
                            ("guardrail", "guardrail: must not get worse"),
                        ],
                        default="secondary",
                        max_length=16,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("proportion", "proportion: units with at least one"),
                            ("mean", "mean: sum of each unit"),
                            ("ratio", "ratio: mean of each answer, units as clusters"),
                            ("quantile", "quantile: p50 or p95 of answers"),
                            ("rare", "rare event: units with at least one, exact test"),
                        ],
                        default="ratio",
                        max_length=16,
                        verbose_name="type",
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        help_text="feedback:positive, feedback:negative, feedback:any, feedback:rating, response:latency_seconds, response:cost, response:error, response:input_tokens, response:output_tokens, response:cache_hit, quality:<metric>, or net_benefit.",
                        max_length=80,
                        validators=[experiments.definition.validate_source],
                    ),
                ),
                (
                    "per",
                    models.CharField(
                        choices=[("value", "each value that was recorded"), ("response", "each response")],
                        default="value",
                        help_text="Of a ratio: what it is divided by.",
                        max_length=8,
                    ),
                ),
                (
                    "better",
                    models.CharField(
                        choices=[("higher", "higher is better"), ("lower", "lower is better")],
                        default="higher",
                        max_length=8,
                        verbose_name="direction",
                    ),
                ),
                (
                    "margin",
                    models.FloatField(
                        default=0.0,
                        help_text="How much worse does not matter, in the metric's own unit: of a guardrail and of “not inferior”.",
                        validators=[django.core.validators.MinValueValidator(0)],
                    ),
                ),
                (
                    "cap",
                    models.FloatField(
                        blank=True,
                        help_text="Larger sums of one unit count as this much. Empty: as they are.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(0)],
                    ),
                ),
                (
                    "window_days",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Only the first days after a unit's exposure, of units that had them in full. Empty: open.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(90),
                        ],
                    ),
                ),
                (
                    "quantile",
                    models.FloatField(
                        blank=True,
                        help_text="Of a quantile metric: 0.5 or 0.95.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0.01),
                            django.core.validators.MaxValueValidator(0.99),
                        ],
                    ),
                ),
                (
                    "worth",
                    models.FloatField(
                        blank=True,
                        help_text="Of net_benefit: what one positive feedback is worth, in dollars.",
                        null=True,
                    ),
                ),
                (
                    "is_adjusted",
                    models.BooleanField(
                        default=True,
                        help_text="Take out what the unit was like in the 14 days before its exposure; narrows intervals.",
                        verbose_name="use earlier data (CUPED)",
                    ),
                ),
                (
                    "halts",
                    models.BooleanField(
                        default=True,
                        help_text="Of a guardrail: halt the experiment when a variant is shown to be worse.",
                    ),
                ),
                (
                    "alpha",
                    models.FloatField(
                        blank=True,
                        help_text="Of a guardrail, its own. Empty: the experiment's.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0.0001),
                            django.core.validators.MaxValueValidator(0.2),
                        ],
                        verbose_name="error rate",
                    ),
                ),
            ],
            options={
                "ordering": ("experiment_id", "position", "id"),
            },
        ),
        migrations.CreateModel(
            name="ExposedUnit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("phase", models.IntegerField()),
                ("unit", models.CharField(max_length=128)),
                ("epoch", models.IntegerField(help_text="The epoch in which it was assigned: its stratum.")),
                ("exposed_at", models.DateTimeField(help_text="When its first response occurred.")),
                ("last_at", models.DateTimeField()),
                ("response_count", models.BigIntegerField(default=0)),
                (
                    "feedback_count",
                    models.BigIntegerField(default=0, help_text="Responses with any feedback."),
                ),
                (
                    "fallback_count",
                    models.BigIntegerField(
                        default=0, help_text="Responses of another model than the variant's config names."
                    ),
                ),
                (
                    "drift_count",
                    models.BigIntegerField(
                        default=0, help_text="Responses made with another config than the variant's."
                    ),
                ),
                (
                    "exclusion",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("crossover", "seen in two variants"),
                            ("forced", "forced to a variant"),
                            ("moved", "moved by a change of weights"),
                            ("carried", "exposed in an earlier phase"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "values",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(), default=list, size=None
                    ),
                ),
                (
                    "earlier",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(),
                        help_text="None: nothing before the exposure.",
                        null=True,
                        size=None,
                    ),
                ),
                ("segments", models.JSONField(default=dict, help_text="Attributes of its first response.")),
            ],
        ),
        migrations.CreateModel(
            name="ExposedValue",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("slot", models.SmallIntegerField()),
                ("bin", models.IntegerField()),
                ("n", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="ExposureCursor",
            fields=[
                ("name", models.CharField(max_length=16, primary_key=True, serialize=False)),
                (
                    "tx",
                    feedback.models.TransactionIdField(
                        help_text="All facts of transactions before this one are in."
                    ),
                ),
                ("updated_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="ForcedVariant",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("unit", models.CharField(help_text="Exactly as clients send it.", max_length=128)),
                (
                    "reason",
                    models.CharField(
                        blank=True, help_text="E.g. “test account of the clinic”.", max_length=200
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("removed_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ("experiment_id", "unit", "id"),
            },
        ),
        migrations.CreateModel(
            name="Holdout",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(default="global", editable=False, max_length=16, unique=True)),
                (
                    "share_bp",
                    models.IntegerField(
                        default=0,
                        help_text="Counts for experiments that start from now on; those under way keep what they started with.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(10000),
                        ],
                        verbose_name="share of all units",
                    ),
                ),
                (
                    "salt",
                    models.CharField(
                        default=experiments.models.layer.new_salt, editable=False, max_length=32
                    ),
                ),
                ("changed_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "verbose_name": "global holdout",
                "verbose_name_plural": "global holdout",
            },
        ),
        migrations.CreateModel(
            name="Layer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        max_length=128,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\\Z",
                                "Use letters, digits, “.”, “_” and “-”, beginning with a letter or digit; at most 128 characters.",
                            )
                        ],
                    ),
                ),
                (
                    "description",
                    models.TextField(blank=True, help_text="What these experiments have in common."),
                ),
                (
                    "salt",
                    models.CharField(
                        default=experiments.models.layer.new_salt, editable=False, max_length=32
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ("key",),
            },
        ),
        migrations.CreateModel(
            name="LayerSlot",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("first", models.IntegerField()),
                ("end", models.IntegerField()),
                ("taken_at", models.DateTimeField()),
                ("released_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ("layer_id", "first"),
            },
        ),
        migrations.CreateModel(
            name="Look",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("phase", models.IntegerField()),
                ("at", models.DateTimeField()),
                ("seconds", models.FloatField()),
                ("unit_count", models.BigIntegerField()),
                (
                    "decision",
                    models.CharField(
                        choices=[
                            ("ship", "ship"),
                            ("cheaper", "not inferior and cheaper"),
                            ("harmful", "harmful"),
                            ("futile", "futile"),
                            ("keep", "keep running"),
                            ("wait", "not enough data"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "variant",
                    models.CharField(
                        blank=True, help_text="Which variant the decision is about.", max_length=128
                    ),
                ),
                ("sentence", models.TextField(help_text="The decision with its reason.")),
                ("health", models.JSONField(default=dict)),
                ("segments", models.JSONField(default=list)),
            ],
            options={
                "ordering": ("experiment_id", "-id"),
            },
        ),
        migrations.CreateModel(
            name="LookEstimate",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("metric", models.CharField(max_length=64)),
                ("variant", models.CharField(max_length=128)),
                ("n", models.BigIntegerField()),
                ("value", models.FloatField(null=True)),
                (
                    "value_low",
                    models.FloatField(help_text="95 % interval of the value, for reading.", null=True),
                ),
                ("value_high", models.FloatField(null=True)),
                ("effect", models.FloatField(help_text="Absolute difference from the control.", null=True)),
                ("se", models.FloatField(help_text="Of the effect, for the test.", null=True)),
                ("information", models.FloatField(null=True)),
                ("log_e", models.FloatField(null=True)),
                ("p_any", models.FloatField(help_text="Always valid: the smallest so far.", null=True)),
                ("p_corrected", models.FloatField(null=True)),
                ("low", models.FloatField(help_text="Of the confidence sequence.", null=True)),
                ("high", models.FloatField(null=True)),
                (
                    "boundary",
                    models.FloatField(
                        help_text="|z| that a group sequential look needs; empty: no such look.", null=True
                    ),
                ),
                ("z", models.FloatField(null=True)),
                ("verdict", models.CharField(blank=True, max_length=16)),
                ("details", models.JSONField(default=dict)),
            ],
            options={
                "ordering": ("look_id", "id"),
            },
        ),
        migrations.CreateModel(
            name="RampStep",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.PositiveSmallIntegerField(default=0)),
                (
                    "coverage_bp",
                    models.IntegerField(
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(10000),
                        ],
                        verbose_name="coverage",
                    ),
                ),
                (
                    "after_hours",
                    models.FloatField(
                        default=24,
                        help_text="Hours at the step before, at least.",
                        validators=[django.core.validators.MinValueValidator(0)],
                    ),
                ),
                (
                    "after_units",
                    models.PositiveIntegerField(
                        default=0, help_text="Units exposed in every variant before this step, at least."
                    ),
                ),
                ("reached_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "ordering": ("experiment_id", "position"),
            },
        ),
        migrations.CreateModel(
            name="SequentialPlan",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("phase", models.IntegerField()),
                ("metric", models.CharField(max_length=64)),
                ("variant", models.CharField(max_length=128)),
                ("alpha", models.FloatField()),
                ("tau2", models.FloatField(help_text="Of the mixture, in the metric's unit squared.")),
                ("planned_information", models.FloatField()),
                ("planned_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Unattributed",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("reason", models.CharField(max_length=32)),
                ("count", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="VariantVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("config", models.JSONField()),
                ("config_hash", models.CharField(max_length=16)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "ordering": ("variant_id", "number"),
            },
        ),
        migrations.AlterModelOptions(
            name="experiment",
            options={
                "ordering": ("-id",),
                "permissions": [("approve_experiment", "Can approve experiments and changes of others")],
            },
        ),
        migrations.RemoveConstraint(
            model_name="experiment",
            name="experiment_times_fit_state",
        ),
        migrations.AddField(
            model_name="assignment",
            name="epoch",
            field=models.IntegerField(
                db_default=1, default=1, help_text="The epoch in which it was assigned."
            ),
        ),
        migrations.AddField(
            model_name="assignment",
            name="generation",
            field=models.IntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name="experiment",
            name="alpha",
            field=models.FloatField(
                default=0.05,
                help_text="Chance of claiming any difference where there is none, over all looks.",
                validators=[
                    django.core.validators.MinValueValidator(0.0001),
                    django.core.validators.MaxValueValidator(0.2),
                ],
                verbose_name="error rate",
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="approved_version",
            field=models.IntegerField(
                editable=False, help_text="The version that a reviewer approved.", null=True
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="auto_ship",
            field=models.BooleanField(
                default=False, help_text="Stop and ship by itself when the decision is to ship."
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="bandit_floor_bp",
            field=models.IntegerField(
                default=500,
                help_text="Of a bandit: no variant gets less, so that it can still win.",
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(10000),
                ],
                verbose_name="least share of a variant",
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="bandit_hours",
            field=models.PositiveSmallIntegerField(
                default=24,
                help_text="Of a bandit. Each change is an epoch of its own.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(720),
                ],
                verbose_name="hours between new weights",
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="config_schema",
            field=models.JSONField(
                blank=True,
                help_text="A JSON Schema (2020-12) that every variant's config must fit. Empty: any object.",
                null=True,
                validators=[experiments.definition.validate_schema],
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="correction",
            field=models.CharField(
                choices=[("holm", "Holm"), ("e_bh", "e-BH")],
                default="holm",
                help_text="How claims about several variants and metrics share the error rate.",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="design",
            field=models.CharField(
                choices=[
                    ("always_valid", "always valid: stop whenever you like"),
                    ("group_sequential", "group sequential: fewer units, with a planned sample"),
                    ("bandit", "bandit: traffic follows the better variant, no claims"),
                ],
                default="always_valid",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="epoch",
            field=models.IntegerField(
                default=0, editable=False, help_text="Number of the current epoch; 0: none."
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="layer_share_bp",
            field=models.IntegerField(
                default=10000,
                help_text="How much of the layer it takes when it starts.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(10000),
                ],
                verbose_name="share of the layer",
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="minimum_days",
            field=models.PositiveSmallIntegerField(
                default=7, help_text="Days before anything ships; a week sees every weekday once."
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="minimum_effect",
            field=models.FloatField(
                blank=True,
                help_text="Of the primary metric, in its own unit; what would be worth acting on.",
                null=True,
                verbose_name="smallest effect of interest",
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="minimum_sample",
            field=models.PositiveIntegerField(
                default=100,
                help_text="Units in each variant before anything is concluded.",
                validators=[django.core.validators.MinValueValidator(25)],
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="obeys_holdout",
            field=models.BooleanField(
                default=True,
                help_text="Units of the global holdout never take part.",
                verbose_name="leaves the holdout alone",
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="planned_end_at",
            field=models.DateTimeField(blank=True, help_text="When a decision is expected (UTC).", null=True),
        ),
        migrations.AddField(
            model_name="experiment",
            name="planned_sample",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Units in all variants together at which it is planned to end; the page “Power” helps.",
                null=True,
                validators=[django.core.validators.MinValueValidator(50)],
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="requires_review",
            field=models.BooleanField(
                default=False,
                help_text="Somebody other than the requester must approve the start, and every change of variants and weights.",
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="review_requested_by",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="shipped_variant",
            field=models.CharField(blank=True, default="", editable=False, max_length=128),
        ),
        migrations.AddField(
            model_name="experiment",
            name="starts_at",
            field=models.DateTimeField(
                blank=True, help_text="When it starts by itself, once scheduled (UTC).", null=True
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="stops_at",
            field=models.DateTimeField(blank=True, help_text="When it stops by itself (UTC).", null=True),
        ),
        migrations.AddField(
            model_name="experiment",
            name="targeting",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text='Who may take part, in GrowthBook\'s condition language, e.g. {"language": {"$in": ["en", "es"]}}. {}: everybody.',
                validators=[experiments.definition.validate_targeting],
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="unit_attribute",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Which attribute of the caller's context holds the unit, e.g. clinic_id. Empty: OFREP's targetingKey, or “id” in GrowthBook's SDKs.",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="experimentevent",
            name="api_key",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="feedback.apikey",
            ),
        ),
        migrations.AddField(
            model_name="experimentevent",
            name="evidence",
            field=models.JSONField(db_default={}, default=dict, help_text="What a halt was based on."),
        ),
        # Without the default first: a default that changes would write the whole table anew.
        migrations.AddField(
            model_name="experimentevent",
            name="tx",
            field=feedback.models.TransactionIdField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="experimentevent",
            name="tx",
            field=feedback.models.TransactionIdField(
                db_default=feedback.models.CurrentTransactionId(), editable=False, null=True
            ),
        ),
        migrations.AddField(
            model_name="variant",
            name="version",
            field=models.IntegerField(
                default=1,
                editable=False,
                help_text="Grows by one when the config of a started experiment is changed.",
            ),
        ),
        migrations.AlterField(
            model_name="experiment",
            name="state",
            field=models.CharField(
                choices=[
                    ("draft", "draft"),
                    ("review", "in review"),
                    ("scheduled", "scheduled"),
                    ("running", "running"),
                    ("paused", "paused"),
                    ("halted", "halted"),
                    ("stopped", "stopped"),
                    ("shipped", "shipped"),
                    ("archived", "archived"),
                ],
                default="draft",
                editable=False,
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="experimentevent",
            name="by",
            field=models.ForeignKey(
                help_text="Empty: an API key, or the system itself.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="allocationepoch",
            name="by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="allocationepoch",
            name="experiment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="epochs",
                to="experiments.experiment",
            ),
        ),
        migrations.AddField(
            model_name="changerequest",
            name="decided_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="changerequest",
            name="experiment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="change_requests",
                to="experiments.experiment",
            ),
        ),
        migrations.AddField(
            model_name="changerequest",
            name="requested_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="experimentmetric",
            name="experiment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="metrics",
                to="experiments.experiment",
            ),
        ),
        migrations.AddField(
            model_name="exposedunit",
            name="experiment",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="exposed",
                to="experiments.experiment",
            ),
        ),
        migrations.AddField(
            model_name="exposedunit",
            name="variant",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="experiments.variant",
            ),
        ),
        migrations.AddField(
            model_name="exposedvalue",
            name="exposed",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="experiments.exposedunit",
            ),
        ),
        migrations.AddField(
            model_name="forcedvariant",
            name="by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="forcedvariant",
            name="experiment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="forced",
                to="experiments.experiment",
            ),
        ),
        migrations.AddField(
            model_name="forcedvariant",
            name="variant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="forced", to="experiments.variant"
            ),
        ),
        migrations.AddConstraint(
            model_name="holdout",
            constraint=models.CheckConstraint(condition=models.Q(("key", "global")), name="holdout_is_one"),
        ),
        migrations.AddConstraint(
            model_name="holdout",
            constraint=models.CheckConstraint(
                condition=models.Q(("share_bp__range", (0, 10000))), name="holdout_in_basis_points"
            ),
        ),
        migrations.AddConstraint(
            model_name="layer",
            constraint=models.CheckConstraint(
                condition=models.Q(("key__regex", "\\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\\Z")),
                name="layer_key_is_valid",
            ),
        ),
        migrations.AddField(
            model_name="experiment",
            name="layer",
            field=models.ForeignKey(
                blank=True,
                help_text="Experiments of one layer never share a unit. Empty: independent of all others.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="experiments",
                to="experiments.layer",
            ),
        ),
        migrations.AddConstraint(
            model_name="experiment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("started_at", None),
                        ("state__in", ("draft", "review", "scheduled")),
                        ("stopped_at", None),
                    ),
                    models.Q(
                        ("started_at__isnull", False),
                        ("state__in", ("running", "paused", "halted")),
                        ("stopped_at", None),
                    ),
                    models.Q(
                        ("started_at__isnull", False),
                        ("state__in", ("stopped", "shipped")),
                        ("stopped_at__gte", models.F("started_at")),
                        ("stopped_at__isnull", False),
                    ),
                    models.Q(("started_at", None), ("state", "archived"), ("stopped_at", None)),
                    models.Q(
                        ("started_at__isnull", False),
                        ("state", "archived"),
                        ("stopped_at__gte", models.F("started_at")),
                        ("stopped_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="experiment_times_fit_states",
            ),
        ),
        migrations.AddConstraint(
            model_name="experiment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "shipped"), _negated=True),
                    models.Q(("shipped_variant", ""), _negated=True),
                    _connector="OR",
                ),
                name="experiment_shipped_says_what",
            ),
        ),
        migrations.AddField(
            model_name="layerslot",
            name="experiment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="layer_slots",
                to="experiments.experiment",
            ),
        ),
        migrations.AddField(
            model_name="layerslot",
            name="layer",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="slots", to="experiments.layer"
            ),
        ),
        migrations.AddField(
            model_name="look",
            name="experiment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="looks", to="experiments.experiment"
            ),
        ),
        migrations.AddField(
            model_name="lookestimate",
            name="look",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="estimates", to="experiments.look"
            ),
        ),
        migrations.AddField(
            model_name="rampstep",
            name="experiment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="ramp", to="experiments.experiment"
            ),
        ),
        migrations.AddField(
            model_name="sequentialplan",
            name="experiment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="plans", to="experiments.experiment"
            ),
        ),
        migrations.AddField(
            model_name="unattributed",
            name="experiment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="unattributed",
                to="experiments.experiment",
            ),
        ),
        migrations.AddField(
            model_name="variantversion",
            name="by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="variantversion",
            name="variant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="versions", to="experiments.variant"
            ),
        ),
        migrations.AddConstraint(
            model_name="allocationepoch",
            constraint=models.UniqueConstraint(fields=("experiment", "number"), name="epoch_once_per_number"),
        ),
        migrations.AddConstraint(
            model_name="allocationepoch",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at", None)),
                fields=("experiment",),
                name="epoch_one_open_per_experiment",
            ),
        ),
        migrations.AddConstraint(
            model_name="allocationepoch",
            constraint=models.CheckConstraint(
                condition=models.Q(("coverage_bp__range", (0, 10000))), name="epoch_coverage_in_basis_points"
            ),
        ),
        migrations.AddConstraint(
            model_name="allocationepoch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ended_at", None), ("ended_at__gte", models.F("started_at")), _connector="OR"
                ),
                name="epoch_times_in_order",
            ),
        ),
        migrations.AddConstraint(
            model_name="changerequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("decided_by", None),
                    models.Q(("decided_by", models.F("requested_by")), _negated=True),
                    ("is_approved", False),
                    _connector="OR",
                ),
                name="change_approved_by_another",
            ),
        ),
        migrations.AddConstraint(
            model_name="changerequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_at", None), ("decided_by", None), ("is_approved", None)),
                    models.Q(("decided_at__isnull", False), ("is_approved__isnull", False)),
                    _connector="OR",
                ),
                name="change_decided_in_full",
            ),
        ),
        migrations.AddConstraint(
            model_name="experimentmetric",
            constraint=models.UniqueConstraint(
                fields=("experiment", "key"), name="metric_key_once_per_experiment"
            ),
        ),
        migrations.AddConstraint(
            model_name="experimentmetric",
            constraint=models.UniqueConstraint(
                condition=models.Q(("role", "primary")), fields=("experiment",), name="metric_one_primary"
            ),
        ),
        migrations.AddConstraint(
            model_name="experimentmetric",
            constraint=models.CheckConstraint(
                condition=models.Q(("key__regex", "\\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\\Z")),
                name="experiment_metric_key_is_valid",
            ),
        ),
        migrations.AddConstraint(
            model_name="experimentmetric",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "quantile"), _negated=True),
                    models.Q(("quantile__gt", 0), ("quantile__lt", 1)),
                    _connector="OR",
                ),
                name="metric_quantile_says_which",
            ),
        ),
        migrations.AddConstraint(
            model_name="exposedunit",
            constraint=models.UniqueConstraint(
                fields=("experiment", "phase", "unit"), name="exposed_once_per_phase"
            ),
        ),
        migrations.AddConstraint(
            model_name="exposedvalue",
            constraint=models.UniqueConstraint(
                fields=("exposed", "slot", "bin"), name="exposed_value_once_per_bin"
            ),
        ),
        migrations.AddConstraint(
            model_name="forcedvariant",
            constraint=models.UniqueConstraint(
                condition=models.Q(("removed_at", None)),
                fields=("experiment", "unit"),
                name="forced_once_per_unit",
            ),
        ),
        migrations.AddConstraint(
            model_name="forcedvariant",
            constraint=models.CheckConstraint(
                condition=models.Q(("unit", ""), _negated=True), name="forced_unit_is_not_empty"
            ),
        ),
        migrations.AddConstraint(
            model_name="layerslot",
            constraint=models.CheckConstraint(
                condition=models.Q(("end__lte", 10000), ("first__gte", 0), ("first__lt", models.F("end"))),
                name="layer_slot_in_order",
            ),
        ),
        migrations.AddIndex(
            model_name="look",
            index=models.Index(fields=["experiment", "phase", "-at"], name="look_at"),
        ),
        migrations.AddConstraint(
            model_name="lookestimate",
            constraint=models.UniqueConstraint(
                fields=("look", "metric", "variant"), name="estimate_once_per_look"
            ),
        ),
        migrations.AddConstraint(
            model_name="rampstep",
            constraint=models.UniqueConstraint(
                fields=("experiment", "position"), name="ramp_step_once_per_position"
            ),
        ),
        migrations.AddConstraint(
            model_name="rampstep",
            constraint=models.CheckConstraint(
                condition=models.Q(("coverage_bp__range", (0, 10000))), name="ramp_coverage_in_basis_points"
            ),
        ),
        migrations.AddConstraint(
            model_name="sequentialplan",
            constraint=models.UniqueConstraint(
                fields=("experiment", "phase", "metric", "variant"), name="plan_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="unattributed",
            constraint=models.UniqueConstraint(
                fields=("experiment", "reason"), name="unattributed_once_per_reason"
            ),
        ),
        migrations.AddConstraint(
            model_name="variantversion",
            constraint=models.UniqueConstraint(fields=("variant", "number"), name="variant_version_once"),
        ),
    ]
