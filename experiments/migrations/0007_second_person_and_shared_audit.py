"""Shipping and forced units under the two-person rule, and an audit of layers and the holdout, in the database too."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import feedback.models

BOUNDED = "SET LOCAL lock_timeout = '5s'"

# An approval counts once: in the transaction of the decision, which the database itself notes.
AGREED = """
CREATE FUNCTION experiments_is_agreed(of_experiment bigint, wanted text, given jsonb) RETURNS boolean LANGUAGE sql AS $$
    SELECT EXISTS (
        SELECT FROM experiments_changerequest
        WHERE experiment_id = of_experiment AND action = wanted AND arguments @> given
            AND is_approved AND decided_by_id <> requested_by_id AND decided_tx = pg_current_xact_id()
    )
$$;
"""

# That it may ship by itself what the last look found was agreed before the start.
SHIP = """
CREATE FUNCTION experiments_ask_second_person_to_ship() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    found record;
BEGIN
    IF NEW.auto_ship THEN
        SELECT decision, variant INTO found FROM experiments_look
            WHERE experiment_id = NEW.id ORDER BY id DESC LIMIT 1;
        IF found.decision IN ('ship', 'cheaper') AND found.variant = NEW.shipped_variant THEN
            RETURN NULL;
        END IF;
    END IF;
    IF NOT experiments_is_agreed(NEW.id, 'ship', jsonb_build_object('variant', NEW.shipped_variant)) THEN
        RAISE EXCEPTION 'nobody else approved to ship % of %', NEW.shipped_variant, NEW.key
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER experiments_ship_second_person AFTER UPDATE ON experiments_experiment FOR EACH ROW
    WHEN (NEW.requires_review AND NEW.state = 'shipped'
        AND (OLD.state, OLD.shipped_variant) IS DISTINCT FROM (NEW.state, NEW.shipped_variant))
    EXECUTE FUNCTION experiments_ask_second_person_to_ship();
"""

# In a draft they are part of what will be reviewed. A unit that is forced anew ends the row that it had.
FORCED = """
CREATE FUNCTION experiments_ask_second_person_to_force() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    chosen text;
BEGIN
    IF NOT EXISTS (
        SELECT FROM experiments_experiment WHERE id = NEW.experiment_id AND requires_review AND state <> 'draft'
    ) THEN
        RETURN NULL;
    END IF;
    SELECT key INTO chosen FROM experiments_variant WHERE id = NEW.variant_id;
    IF experiments_is_agreed(
        NEW.experiment_id,
        'force',
        CASE TG_OP WHEN 'INSERT' THEN jsonb_build_object('unit', NEW.unit, 'variant', chosen)
            ELSE jsonb_build_object('unit', NEW.unit) END
    ) OR (
        TG_OP = 'UPDATE'
        AND experiments_is_agreed(NEW.experiment_id, 'unforce', jsonb_build_object('unit', NEW.unit))
    ) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'nobody else approved the forced unit of the experiment with the id %', NEW.experiment_id
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER experiments_forced_second_person AFTER INSERT OR UPDATE ON experiments_forcedvariant
    FOR EACH ROW EXECUTE FUNCTION experiments_ask_second_person_to_force();
"""

# The first epoch is the start, which has its own rule; a bandit's weights and a step of the ramp were agreed then. An epoch
# that deals as the one before it changes nothing for anybody.
EPOCH = """
CREATE FUNCTION experiments_ask_second_person_to_deal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    one record;
    is_agreed boolean;
BEGIN
    SELECT key, requires_review, design INTO one FROM experiments_experiment WHERE id = NEW.experiment_id;
    IF NOT one.requires_review OR NEW.number = 1 OR (NEW.kind = 'bandit' AND one.design = 'bandit') THEN
        RETURN NULL;
    END IF;
    IF NEW.moved = '[]' AND EXISTS (
        SELECT FROM experiments_allocationepoch
        WHERE experiment_id = NEW.experiment_id AND number = NEW.number - 1
            AND (phase, salt, coverage_bp, weights, versions, ranges, filters)
            = (NEW.phase, NEW.salt, NEW.coverage_bp, NEW.weights, NEW.versions, NEW.ranges, NEW.filters)
    ) THEN
        RETURN NULL;
    END IF;
    IF NEW.kind = 'coverage' THEN
        is_agreed := EXISTS (
            SELECT FROM experiments_rampstep
            WHERE experiment_id = NEW.experiment_id AND coverage_bp = NEW.coverage_bp AND reached_at IS NULL
        ) OR experiments_is_agreed(
            NEW.experiment_id, 'change_coverage', jsonb_build_object('coverage_bp', NEW.coverage_bp)
        );
    ELSIF NEW.kind = 'revision' THEN
        is_agreed := experiments_is_agreed(NEW.experiment_id, 'revise', '{}');
    ELSE
        is_agreed := experiments_is_agreed(
            NEW.experiment_id, 'change_weights', jsonb_build_object('kind', NEW.kind, 'weights', NEW.weights)
        );
    END IF;
    IF NOT is_agreed THEN
        RAISE EXCEPTION 'nobody else approved the epoch % of %', NEW.number, one.key
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER experiments_epoch_second_person AFTER INSERT ON experiments_allocationepoch
    FOR EACH ROW EXECUTE FUNCTION experiments_ask_second_person_to_deal();
"""

DECIDED_ONCE = """
CREATE FUNCTION experiments_decided_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    decision text[] := ARRAY['decided_by_id', 'decided_at', 'is_approved', 'decided_tx'];
BEGIN
    IF TG_OP = 'INSERT' AND NEW.decided_at IS NULL THEN
        NEW.decided_tx := NULL;
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.decided_at IS NULL AND to_jsonb(OLD) - decision = to_jsonb(NEW) - decision THEN
        NEW.decided_tx := pg_current_xact_id();
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'rows of % are written once; only the decision comes later, once', TG_TABLE_NAME
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER experiments_request_decided_once BEFORE INSERT OR UPDATE OR DELETE ON experiments_changerequest
    FOR EACH ROW EXECUTE FUNCTION experiments_decided_once();
"""

# A new salt would move everybody, and give units to two experiments of one layer.
SHARED = """
CREATE TRIGGER experiments_shared_written_once BEFORE UPDATE OR DELETE ON experiments_sharedevent
    FOR EACH ROW EXECUTE FUNCTION experiments_written_once();
CREATE FUNCTION experiments_guard_shared() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'key and salt of a layer or the holdout never change' USING ERRCODE = 'check_violation';
END $$;
CREATE FUNCTION experiments_ask_shared_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed text := coalesce(NEW.key, OLD.key);
BEGIN
    IF NOT EXISTS (
        SELECT FROM experiments_sharedevent
        WHERE subject = TG_ARGV[0] AND key = changed AND tx = pg_current_xact_id()
    ) THEN
        RAISE EXCEPTION 'a change of the % % is not in its audit', TG_ARGV[0], changed
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
"""
SUBJECTS = ("layer", "holdout")


def shared_triggers() -> str:
    return SHARED + "".join(
        f"""
        CREATE TRIGGER experiments_{subject}_guard BEFORE UPDATE ON experiments_{subject} FOR EACH ROW
            WHEN ((OLD.key, OLD.salt) IS DISTINCT FROM (NEW.key, NEW.salt))
            EXECUTE FUNCTION experiments_guard_shared();
        CREATE CONSTRAINT TRIGGER experiments_{subject}_audited
            AFTER INSERT OR UPDATE OR DELETE ON experiments_{subject}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION experiments_ask_shared_audit('{subject}');
        """
        for subject in SUBJECTS
    )


def no_shared_triggers() -> str:
    drops = "".join(
        f"""
        DROP TRIGGER experiments_{subject}_audited ON experiments_{subject};
        DROP TRIGGER experiments_{subject}_guard ON experiments_{subject};
        """
        for subject in SUBJECTS
    )
    return f"""
    {drops}
    DROP TRIGGER experiments_shared_written_once ON experiments_sharedevent;
    DROP FUNCTION experiments_ask_shared_audit();
    DROP FUNCTION experiments_guard_shared();
    """


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("experiments", "0006_effects_and_margins"),
    ]

    operations = [
        migrations.RunSQL(BOUNDED, migrations.RunSQL.noop),
        migrations.CreateModel(
            name="SharedEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "subject",
                    models.CharField(
                        choices=[("layer", "layer"), ("holdout", "global holdout")], max_length=16
                    ),
                ),
                ("key", models.CharField(max_length=128)),
                ("at", models.DateTimeField()),
                ("action", models.CharField(max_length=32)),
                ("reason", models.TextField(blank=True)),
                ("before", models.JSONField()),
                ("after", models.JSONField()),
                (
                    "tx",
                    feedback.models.TransactionIdField(
                        db_default=feedback.models.CurrentTransactionId(), editable=False
                    ),
                ),
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
            ],
            options={
                "ordering": ("-id",),
                "indexes": [models.Index(fields=["subject", "key", "-id"], name="shared_event_of")],
            },
        ),
        migrations.AddField(
            model_name="changerequest",
            name="decided_tx",
            field=feedback.models.TransactionIdField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="experimentevent",
            name="evidence",
            field=models.JSONField(
                db_default={}, default=dict, help_text="What a halt was based on, or what was asked for."
            ),
        ),
        migrations.RunSQL(AGREED, "DROP FUNCTION experiments_is_agreed(bigint, text, jsonb);"),
        migrations.RunSQL(
            SHIP,
            """
            DROP TRIGGER experiments_ship_second_person ON experiments_experiment;
            DROP FUNCTION experiments_ask_second_person_to_ship();
            """,
        ),
        migrations.RunSQL(
            FORCED,
            """
            DROP TRIGGER experiments_forced_second_person ON experiments_forcedvariant;
            DROP FUNCTION experiments_ask_second_person_to_force();
            """,
        ),
        migrations.RunSQL(
            EPOCH,
            """
            DROP TRIGGER experiments_epoch_second_person ON experiments_allocationepoch;
            DROP FUNCTION experiments_ask_second_person_to_deal();
            """,
        ),
        migrations.RunSQL(
            DECIDED_ONCE,
            """
            DROP TRIGGER experiments_request_decided_once ON experiments_changerequest;
            DROP FUNCTION experiments_decided_once();
            """,
        ),
        migrations.RunSQL(shared_triggers(), no_shared_triggers()),
        # The way back runs from the last to the first.
        migrations.RunSQL(migrations.RunSQL.noop, BOUNDED),
    ]
