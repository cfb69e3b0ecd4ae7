"""Epochs and versions for what runs already; then the triggers that keep anybody from going around the audit."""

from typing import Any

from django.db import migrations

from experiments.assignment import BASIS_POINTS
from experiments.definition import config_hash
from experiments.ranges import first_segments

BOUNDED = "SET LOCAL lock_timeout = '5s'"


def first_epochs(apps: Any, schema_editor: object) -> None:
    """What started before there were epochs is in its first one."""
    experiments = apps.get_model("experiments", "Experiment").objects.exclude(state="draft")
    epoch = apps.get_model("experiments", "AllocationEpoch")
    version = apps.get_model("experiments", "VariantVersion")
    for experiment in experiments:
        arms = list(experiment.variants.order_by("position"))
        epoch.objects.create(
            experiment=experiment,
            number=1,
            phase=1,
            kind="start",
            salt=experiment.salt,
            coverage_bp=experiment.coverage_bp,
            weights={arm.key: arm.weight_bp for arm in arms},
            versions={arm.key: 1 for arm in arms},
            ranges=first_segments(
                [arm.key for arm in arms],
                [arm.weight_bp for arm in arms],
                experiment.coverage_bp / BASIS_POINTS,
            ),
            started_at=experiment.started_at,
            ended_at=experiment.stopped_at,
        )
        for arm in arms:
            version.objects.create(
                variant=arm,
                number=1,
                config=arm.config,
                config_hash=config_hash(arm.config),
                created_at=experiment.started_at,
            )
        experiments.filter(pk=experiment.pk).update(epoch=1)


EXPERIMENT_GUARD = """
CREATE OR REPLACE FUNCTION experiments_guard_experiment() RETURNS trigger LANGUAGE plpgsql AS $$
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
    IF NEW.version <= OLD.version THEN
        RAISE EXCEPTION 'a change of an experiment makes a new version' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state <> OLD.state AND NOT (OLD.state || '>' || NEW.state) = ANY (ARRAY[
        'draft>review', 'draft>scheduled', 'draft>running', 'draft>archived',
        'review>draft', 'review>scheduled', 'review>running', 'review>archived',
        'scheduled>draft', 'scheduled>running', 'scheduled>archived',
        'running>paused', 'running>halted', 'running>stopped',
        'paused>running', 'paused>halted', 'paused>stopped',
        'halted>running', 'halted>stopped',
        'stopped>shipped', 'stopped>archived', 'shipped>stopped', 'shipped>archived'
    ]) THEN
        RAISE EXCEPTION 'an experiment cannot go from % to %', OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.state <> 'draft' AND (
        (NEW.key, NEW.unit_kind, NEW.unit_attribute, NEW.targeting, NEW.layer_id, NEW.layer_share_bp,
         NEW.obeys_holdout, NEW.design, NEW.alpha, NEW.correction, NEW.minimum_sample, NEW.planned_sample,
         NEW.config_schema, NEW.requires_review)
        IS DISTINCT FROM
        (OLD.key, OLD.unit_kind, OLD.unit_attribute, OLD.targeting, OLD.layer_id, OLD.layer_share_bp,
         OLD.obeys_holdout, OLD.design, OLD.alpha, OLD.correction, OLD.minimum_sample, OLD.planned_sample,
         OLD.config_schema, OLD.requires_review)
        OR (NEW.coverage_bp <> OLD.coverage_bp AND OLD.state NOT IN ('running', 'paused', 'halted'))
    ) THEN
        RAISE EXCEPTION 'the experiment % is no draft, so this is fixed', OLD.key USING ERRCODE = 'check_violation';
    END IF;
    IF (OLD.started_at IS NOT NULL AND NEW.started_at IS DISTINCT FROM OLD.started_at)
        OR (OLD.stopped_at IS NOT NULL AND NEW.stopped_at IS DISTINCT FROM OLD.stopped_at)
    THEN
        RAISE EXCEPTION 'the experiment % has started or ended when it did', OLD.key
            USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.started_at IS NULL AND NEW.state = 'running' THEN
        SELECT count(*), count(*) FILTER (WHERE is_control), coalesce(sum(weight_bp), 0)
            INTO variants, controls, weights FROM experiments_variant WHERE experiment_id = NEW.id;
        IF variants < 2 OR controls <> 1 OR weights <> 10000 THEN
            RAISE EXCEPTION 'the experiment % is not complete', NEW.key USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.requires_review AND NOT EXISTS (
            SELECT FROM experiments_experimentevent
            WHERE experiment_id = NEW.id AND action = 'approve'
                AND (after ->> 'version')::int = NEW.approved_version
                AND by_id IS NOT NULL AND by_id IS DISTINCT FROM NEW.review_requested_by_id
        ) THEN
            RAISE EXCEPTION 'nobody else approved the experiment %', NEW.key USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    RETURN NEW;
END $$;
"""

# The shared lock makes a start wait for variants that are being edited, and the edit for a start that came first.
VARIANT_GUARD = """
CREATE OR REPLACE FUNCTION experiments_guard_variant() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    state text;
BEGIN
    PERFORM 1 FROM experiments_experiment WHERE id IN (OLD.experiment_id, NEW.experiment_id) FOR SHARE;
    SELECT max(e.state) INTO state FROM experiments_experiment e
        WHERE e.id IN (OLD.experiment_id, NEW.experiment_id) AND e.state <> 'draft';
    IF state IS NOT NULL THEN
        IF TG_OP <> 'UPDATE' OR state NOT IN ('running', 'paused', 'halted')
            OR (NEW.experiment_id, NEW.key, NEW.position, NEW.is_control)
            IS DISTINCT FROM (OLD.experiment_id, OLD.key, OLD.position, OLD.is_control)
        THEN
            RAISE EXCEPTION 'variants are frozen once their experiment has started'
                USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.config IS DISTINCT FROM OLD.config AND NEW.version <= OLD.version THEN
            RAISE EXCEPTION 'a new config is a new version of the variant' USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;
"""

FORMER_EXPERIMENT_GUARD = """
CREATE OR REPLACE FUNCTION experiments_guard_experiment() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE OR REPLACE FUNCTION experiments_guard_variant() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""

# Metrics and the ramp belong to the definition; that a step was reached is written later.
PART_GUARD = """
CREATE FUNCTION experiments_guard_part() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    former jsonb := to_jsonb(OLD) - 'reached_at';
BEGIN
    IF TG_OP = 'UPDATE' AND former = to_jsonb(NEW) - 'reached_at' THEN
        RETURN NEW;
    END IF;
    PERFORM 1 FROM experiments_experiment WHERE id IN (OLD.experiment_id, NEW.experiment_id) FOR SHARE;
    IF EXISTS (
        SELECT FROM experiments_experiment WHERE id IN (OLD.experiment_id, NEW.experiment_id) AND state <> 'draft'
    ) THEN
        RAISE EXCEPTION 'metrics and ramp are fixed once their experiment is no draft'
            USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER experiments_metric_guard BEFORE INSERT OR UPDATE OR DELETE ON experiments_experimentmetric
    FOR EACH ROW EXECUTE FUNCTION experiments_guard_part();
CREATE TRIGGER experiments_ramp_guard BEFORE INSERT OR UPDATE OR DELETE ON experiments_rampstep
    FOR EACH ROW EXECUTE FUNCTION experiments_guard_part();
"""

WRITTEN_ONCE = """
CREATE TRIGGER experiments_version_written_once BEFORE UPDATE OR DELETE ON experiments_variantversion
    FOR EACH ROW EXECUTE FUNCTION experiments_written_once();
CREATE TRIGGER experiments_look_written_once BEFORE UPDATE OR DELETE ON experiments_look
    FOR EACH ROW EXECUTE FUNCTION experiments_written_once();
CREATE TRIGGER experiments_estimate_written_once BEFORE UPDATE OR DELETE ON experiments_lookestimate
    FOR EACH ROW EXECUTE FUNCTION experiments_written_once();
CREATE TRIGGER experiments_plan_written_once BEFORE UPDATE OR DELETE ON experiments_sequentialplan
    FOR EACH ROW EXECUTE FUNCTION experiments_written_once();
CREATE FUNCTION experiments_ends_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ending text := TG_ARGV[0];
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(OLD) - ending = to_jsonb(NEW) - ending
        AND to_jsonb(OLD) ->> ending IS NULL
    THEN
        RETURN NEW;
    END IF;
    -- Before the start nothing happened with it, and a variant must be able to go with what is forced to it.
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'experiments_forcedvariant' AND EXISTS (
        SELECT FROM experiments_experiment WHERE id = OLD.experiment_id AND state = 'draft'
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'rows of % are written once; only their end comes later', TG_TABLE_NAME
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER experiments_epoch_ends_once BEFORE UPDATE OR DELETE ON experiments_allocationepoch
    FOR EACH ROW EXECUTE FUNCTION experiments_ends_once('ended_at');
CREATE TRIGGER experiments_forced_ends_once BEFORE UPDATE OR DELETE ON experiments_forcedvariant
    FOR EACH ROW EXECUTE FUNCTION experiments_ends_once('removed_at');
CREATE TRIGGER experiments_slot_ends_once BEFORE UPDATE OR DELETE ON experiments_layerslot
    FOR EACH ROW EXECUTE FUNCTION experiments_ends_once('released_at');
"""

# Ten thousand numbers for each layer: an exclusion over one range needs no extension of PostgreSQL.
EXCLUSION = """
ALTER TABLE experiments_layerslot ADD CONSTRAINT layer_slots_exclude_each_other EXCLUDE USING gist (
    int8range(layer_id * 10000 + first, layer_id * 10000 + "end") WITH &&
) WHERE (released_at IS NULL);
"""

# At the end of the transaction: whoever changes a definition has left an audit row in the same transaction.
AUDIT = """
CREATE FUNCTION experiments_ask_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    IF TG_TABLE_NAME = 'experiments_experiment' THEN
        changed := coalesce(NEW.id, OLD.id);
    ELSE
        changed := coalesce(NEW.experiment_id, OLD.experiment_id);
    END IF;
    IF EXISTS (SELECT FROM experiments_experiment WHERE id = changed) AND NOT EXISTS (
        SELECT FROM experiments_experimentevent
        WHERE experiment_id = changed AND tx = pg_current_xact_id()
    ) THEN
        RAISE EXCEPTION 'a change of the experiment with the id % is not in its audit', changed
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
"""
AUDITED = (
    "experiment",
    "variant",
    "experimentmetric",
    "rampstep",
    "forcedvariant",
    "allocationepoch",
    "layerslot",
    "changerequest",
)

# What is served is what the open epoch and the versions say.
CONSISTENT = """
CREATE FUNCTION experiments_ask_consistent() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
    one record;
BEGIN
    IF TG_TABLE_NAME = 'experiments_experiment' THEN
        changed := NEW.id;
    ELSE
        changed := NEW.experiment_id;
    END IF;
    SELECT e.key, e.state, e.epoch, e.coverage_bp, a.number, a.coverage_bp AS epoch_coverage_bp, a.weights, a.versions
        INTO one FROM experiments_experiment e
        LEFT JOIN experiments_allocationepoch a ON a.experiment_id = e.id AND a.ended_at IS NULL
        WHERE e.id = changed;
    IF one.state IN ('running', 'paused', 'halted') THEN
        IF one.number IS NULL OR one.number <> one.epoch OR one.epoch_coverage_bp <> one.coverage_bp
            OR EXISTS (
                SELECT FROM experiments_variant v LEFT JOIN experiments_variantversion w
                    ON w.variant_id = v.id AND w.number = v.version
                WHERE v.experiment_id = changed AND (
                    (one.weights ->> v.key)::int IS DISTINCT FROM v.weight_bp
                    OR (one.versions ->> v.key)::int IS DISTINCT FROM v.version
                    OR w.config IS DISTINCT FROM v.config
                )
            )
        THEN
            RAISE EXCEPTION 'the experiment % differs from its open epoch', one.key USING ERRCODE = 'check_violation';
        END IF;
    ELSIF one.number IS NOT NULL THEN
        RAISE EXCEPTION 'the experiment % is %, but an epoch of it is open', one.key, one.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER experiments_experiment_consistent AFTER INSERT OR UPDATE ON experiments_experiment
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION experiments_ask_consistent();
CREATE CONSTRAINT TRIGGER experiments_variant_consistent AFTER UPDATE ON experiments_variant
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION experiments_ask_consistent();
CREATE CONSTRAINT TRIGGER experiments_epoch_consistent AFTER INSERT OR UPDATE ON experiments_allocationepoch
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION experiments_ask_consistent();
"""

# A unit's row is written again with every response; room in the page keeps that off the indexes.
ROOM = "ALTER TABLE experiments_exposedunit SET (fillfactor = 70)"


def audit_triggers() -> str:
    return AUDIT + "".join(
        f"""
        CREATE CONSTRAINT TRIGGER experiments_{table}_audited AFTER INSERT OR UPDATE OR DELETE ON experiments_{table}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION experiments_ask_audit();
        """
        for table in AUDITED
    )


def no_audit_triggers() -> str:
    drops = "".join(f"DROP TRIGGER experiments_{table}_audited ON experiments_{table};" for table in AUDITED)
    return f"{drops} DROP FUNCTION experiments_ask_audit();"


class Migration(migrations.Migration):
    dependencies = [("experiments", "0004_generations")]

    operations = [
        migrations.RunSQL(BOUNDED, migrations.RunSQL.noop),
        migrations.RunPython(first_epochs, migrations.RunPython.noop),
        # A table whose foreign keys are still to be checked cannot be changed.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.RunSQL(EXPERIMENT_GUARD + VARIANT_GUARD, FORMER_EXPERIMENT_GUARD),
        migrations.RunSQL(
            PART_GUARD,
            """
            DROP TRIGGER experiments_metric_guard ON experiments_experimentmetric;
            DROP TRIGGER experiments_ramp_guard ON experiments_rampstep;
            DROP FUNCTION experiments_guard_part();
            """,
        ),
        migrations.RunSQL(
            WRITTEN_ONCE,
            """
            DROP TRIGGER experiments_version_written_once ON experiments_variantversion;
            DROP TRIGGER experiments_look_written_once ON experiments_look;
            DROP TRIGGER experiments_estimate_written_once ON experiments_lookestimate;
            DROP TRIGGER experiments_plan_written_once ON experiments_sequentialplan;
            DROP TRIGGER experiments_epoch_ends_once ON experiments_allocationepoch;
            DROP TRIGGER experiments_forced_ends_once ON experiments_forcedvariant;
            DROP TRIGGER experiments_slot_ends_once ON experiments_layerslot;
            DROP FUNCTION experiments_ends_once();
            """,
        ),
        migrations.RunSQL(
            EXCLUSION, "ALTER TABLE experiments_layerslot DROP CONSTRAINT layer_slots_exclude_each_other"
        ),
        migrations.RunSQL(audit_triggers(), no_audit_triggers()),
        migrations.RunSQL(
            CONSISTENT,
            """
            DROP TRIGGER experiments_experiment_consistent ON experiments_experiment;
            DROP TRIGGER experiments_variant_consistent ON experiments_variant;
            DROP TRIGGER experiments_epoch_consistent ON experiments_allocationepoch;
            DROP FUNCTION experiments_ask_consistent();
            """,
        ),
        migrations.RunSQL(ROOM, "ALTER TABLE experiments_exposedunit RESET (fillfactor)"),
        # The way back runs from the last to the first.
        migrations.RunSQL(migrations.RunSQL.noop, BOUNDED),
    ]
