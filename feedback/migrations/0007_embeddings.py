from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import feedback.models


def define(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("feedback", "QualityMetric").objects.get_or_create(
        key="embedding_distance",
        defaults={
            "kind": "bounded",
            "low": 0.0,
            "high": 2.0,
            "direction": "none",
            "description": "How far an answer's embedding points away from the usual direction.",
        },
    )


def forget(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("feedback", "QualityMetric").objects.filter(key="embedding_distance").delete()


FORWARD = """
ALTER TABLE feedback_embedding ALTER COLUMN vector SET STORAGE EXTERNAL;
CREATE TRIGGER feedback_embedding_append_only BEFORE UPDATE ON feedback_embedding
    FOR EACH ROW EXECUTE FUNCTION feedback_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("feedback", "0006_agreement"),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.CreateModel(
            name="Embedding",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("response_id", models.CharField(max_length=128)),
                ("embedding_model", models.CharField(blank=True, max_length=128)),
                ("dims", models.IntegerField()),
                ("vector", models.BinaryField()),
                (
                    "tx",
                    feedback.models.TransactionIdField(
                        db_default=feedback.models.CurrentTransactionId(), editable=False
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(fields=["tx"], name="embedding_tx"),
                    models.Index(fields=["embedding_model", "dims", "id"], name="embedding_by_model"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("response_id",), name="embedding_once_per_response")
                ],
            },
        ),
        migrations.CreateModel(
            name="EmbeddingCentroid",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("embedding_model", models.CharField(blank=True, max_length=128)),
                ("dims", models.IntegerField()),
                ("version", models.IntegerField()),
                ("vector", models.BinaryField(help_text="float64 numbers, little-endian.")),
                ("n", models.IntegerField(help_text="How many embeddings it is the mean of.")),
                (
                    "learned_at",
                    models.DateTimeField(help_text="Measures the embeddings of responses received since."),
                ),
            ],
            options={
                "ordering": ("embedding_model", "dims", "version"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("embedding_model", "dims", "version"),
                        name="embedding_centroid_once_per_version",
                    )
                ],
            },
        ),
        # Numbers do not compress; an attempt at each would only cost.
        migrations.RunSQL(FORWARD, migrations.RunSQL.noop),
        migrations.RunPython(define, forget),
    ]
