from typing import ClassVar

from django.db import migrations

# Facts do not change: not by our code, not by hand. The id of the transaction may (rebuild_rollups), and feedback may
# with a new revision, whose former state is kept.
FORWARD = """
SET LOCAL lock_timeout = '5s';
CREATE FUNCTION feedback_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE former record := OLD;
BEGIN
    former.tx := NEW.tx;
    IF former IS DISTINCT FROM NEW THEN
        RAISE EXCEPTION 'facts in % do not change', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION feedback_ask_revision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE former record := OLD;
BEGIN
    former.tx := NEW.tx;
    IF former IS DISTINCT FROM NEW AND (
        NEW.revision <> OLD.revision + 1
        OR NOT EXISTS (SELECT 1 FROM feedback_feedbackrevision WHERE feedback_id = OLD.id AND revision = OLD.revision)
    ) THEN
        RAISE EXCEPTION 'feedback changes with a new revision only' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER feedback_response_append_only BEFORE UPDATE ON feedback_response
    FOR EACH ROW EXECUTE FUNCTION feedback_refuse_change();
CREATE TRIGGER feedback_qualityrecord_append_only BEFORE UPDATE ON feedback_qualityrecord
    FOR EACH ROW EXECUTE FUNCTION feedback_refuse_change();
CREATE TRIGGER feedback_feedbackrevision_append_only BEFORE UPDATE ON feedback_feedbackrevision
    FOR EACH ROW EXECUTE FUNCTION feedback_refuse_change();
CREATE TRIGGER feedback_feedback_keeps_history BEFORE UPDATE ON feedback_feedback
    FOR EACH ROW EXECUTE FUNCTION feedback_ask_revision();
"""
BACKWARD = """
SET LOCAL lock_timeout = '5s';
DROP TRIGGER feedback_feedback_keeps_history ON feedback_feedback;
DROP TRIGGER feedback_feedbackrevision_append_only ON feedback_feedbackrevision;
DROP TRIGGER feedback_qualityrecord_append_only ON feedback_qualityrecord;
DROP TRIGGER feedback_response_append_only ON feedback_response;
DROP FUNCTION feedback_ask_revision();
DROP FUNCTION feedback_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("feedback", "0002_first_rows")]

    operations: ClassVar = [migrations.RunSQL(FORWARD, BACKWARD)]
