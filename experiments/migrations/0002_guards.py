"""What must hold whoever writes: triggers, and the assignments' foreign key."""

from django.db import migrations

# Whoever holds a table keeps us waiting, and everybody else waits behind us.
BOUNDED = "SET LOCAL lock_timeout = '5s'"

# An experiment is born a draft, starts complete, and never becomes a draft again; what its assignments rest on stays.
EXPERIMENT_GUARD = """
CREATE FUNCTION experiments_guard_experiment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    variants bigint;
    controls bigint;
    weights bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'draft' THEN
            RAISE EXCEPTION 'a new experiment is a draft' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.salt <> OLD.salt THEN
        RAISE EXCEPTION 'the salt of an experiment never changes' USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.state <> 'draft' AND (
        (NEW.key, NEW.unit_kind, NEW.coverage_bp, NEW.started_at)
            IS DISTINCT FROM (OLD.key, OLD.unit_kind, OLD.coverage_bp, OLD.started_at)
        OR NEW.state = 'draft'
        OR (OLD.stopped_at IS NOT NULL AND NEW.stopped_at IS DISTINCT FROM OLD.stopped_at)
    ) THEN
        RAISE EXCEPTION 'the experiment % has started, so this is fixed', OLD.key USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.state = 'draft' AND NEW.state <> 'draft' THEN
        SELECT count(*), count(*) FILTER (WHERE is_control), coalesce(sum(weight_bp), 0)
            INTO variants, controls, weights FROM experiments_variant WHERE experiment_id = NEW.id;
        IF variants < 2 OR controls <> 1 OR weights <> 10000 THEN
            RAISE EXCEPTION 'the experiment % is not complete', NEW.key USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER experiments_guard_experiment BEFORE INSERT OR UPDATE ON experiments_experiment
    FOR EACH ROW EXECUTE FUNCTION experiments_guard_experiment();
"""

# The shared lock makes a start wait for variants that are being edited, and the edit for a start that came first.
VARIANT_GUARD = """
CREATE FUNCTION experiments_guard_variant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM experiments_experiment WHERE id IN (OLD.experiment_id, NEW.experiment_id) FOR SHARE;
    IF EXISTS (
        SELECT FROM experiments_experiment WHERE id IN (OLD.experiment_id, NEW.experiment_id) AND state <> 'draft'
    ) THEN
        RAISE EXCEPTION 'variants are frozen once their experiment has started' USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER experiments_guard_variant BEFORE INSERT OR UPDATE OR DELETE ON experiments_variant
    FOR EACH ROW EXECUTE FUNCTION experiments_guard_variant();
"""

WRITTEN_ONCE = """
CREATE FUNCTION experiments_written_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are written once', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER experiments_assignment_written_once BEFORE UPDATE OR DELETE ON experiments_assignment
    FOR EACH ROW EXECUTE FUNCTION experiments_written_once();
CREATE TRIGGER experiments_event_written_once BEFORE UPDATE OR DELETE ON experiments_experimentevent
    FOR EACH ROW EXECUTE FUNCTION experiments_written_once();
"""

# One key on both columns: the variant belongs to the experiment, and a new row takes one lock instead of two.
ASSIGNMENT_KEY = """
ALTER TABLE experiments_assignment ADD CONSTRAINT assignment_variant_of_its_experiment
    FOREIGN KEY (experiment_id, variant_id) REFERENCES experiments_variant (experiment_id, id)
    DEFERRABLE INITIALLY DEFERRED;
"""


class Migration(migrations.Migration):
    dependencies = [("experiments", "0001_initial")]

    operations = [
        migrations.RunSQL(BOUNDED, migrations.RunSQL.noop),
        migrations.RunSQL(
            EXPERIMENT_GUARD,
            """
            DROP TRIGGER experiments_guard_experiment ON experiments_experiment;
            DROP FUNCTION experiments_guard_experiment();
            """,
        ),
        migrations.RunSQL(
            VARIANT_GUARD,
            """
            DROP TRIGGER experiments_guard_variant ON experiments_variant;
            DROP FUNCTION experiments_guard_variant();
            """,
        ),
        migrations.RunSQL(
            WRITTEN_ONCE,
            """
            DROP TRIGGER experiments_assignment_written_once ON experiments_assignment;
            DROP TRIGGER experiments_event_written_once ON experiments_experimentevent;
            DROP FUNCTION experiments_written_once();
            """,
        ),
        migrations.RunSQL(
            ASSIGNMENT_KEY,
            "ALTER TABLE experiments_assignment DROP CONSTRAINT assignment_variant_of_its_experiment",
        ),
        # The way back runs from the last to the first.
        migrations.RunSQL(migrations.RunSQL.noop, BOUNDED),
    ]
