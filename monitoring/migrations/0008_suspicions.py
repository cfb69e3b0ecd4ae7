"""A suspicion has no evidence yet: it gets its own, once, when it becomes an incident."""

from django.db import migrations

TRIGGER = """
SET LOCAL lock_timeout = '5s';
DROP TRIGGER incident_evidence_frozen ON monitoring_incident;
CREATE TRIGGER incident_evidence_frozen
    BEFORE UPDATE OF evidence, experiment, experiment_event ON monitoring_incident
    FOR EACH ROW
    WHEN ((NEW.evidence, NEW.experiment, NEW.experiment_event)
        IS DISTINCT FROM (OLD.evidence, OLD.experiment, OLD.experiment_event){unless})
    EXECUTE FUNCTION monitoring_freeze_evidence();
"""
UNLESS = """
        AND NOT (OLD.state = 'suspect' AND OLD.evidence = '{}'::jsonb
            AND (NEW.experiment, NEW.experiment_event) IS NOT DISTINCT FROM (OLD.experiment, OLD.experiment_event))"""


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0007_alerts")]

    operations = [migrations.RunSQL(TRIGGER.replace("{unless}", UNLESS), TRIGGER.replace("{unless}", ""))]
