from django.db import migrations, models

# Assignments go on while the index is made; then the constraint takes it over in an instant.
FORWARD = (
    """
    CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS assignment_once_per_generation
        ON experiments_assignment (unit, experiment_id, generation)
    """,
    "SET lock_timeout = '5s'",
    """
    ALTER TABLE experiments_assignment
        ADD CONSTRAINT assignment_once_per_generation UNIQUE USING INDEX assignment_once_per_generation,
        DROP CONSTRAINT assignment_once_per_unit
    """,
    "RESET lock_timeout",
)
BACKWARD = (
    """
    CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS assignment_once_per_unit
        ON experiments_assignment (unit, experiment_id)
    """,
    "SET lock_timeout = '5s'",
    """
    ALTER TABLE experiments_assignment
        ADD CONSTRAINT assignment_once_per_unit UNIQUE USING INDEX assignment_once_per_unit,
        DROP CONSTRAINT assignment_once_per_generation
    """,
    "RESET lock_timeout",
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("experiments", "0003_lifecycle")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(FORWARD, BACKWARD)],
            state_operations=[
                migrations.RemoveConstraint(model_name="assignment", name="assignment_once_per_unit"),
                migrations.AddConstraint(
                    model_name="assignment",
                    constraint=models.UniqueConstraint(
                        fields=("unit", "experiment", "generation"), name="assignment_once_per_generation"
                    ),
                ),
            ],
        )
    ]
