"""What happened to an incident stays as it was written."""

from django.db import migrations

# Whoever holds the table keeps us waiting, and everybody else waits behind us: not for long.
REFUSE = """
SET LOCAL lock_timeout = '5s';
CREATE FUNCTION monitoring_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER incident_event_append_only
    BEFORE UPDATE OR DELETE ON monitoring_incidentevent
    FOR EACH ROW EXECUTE FUNCTION monitoring_refuse_change();
"""
ALLOW = """
SET LOCAL lock_timeout = '5s';
DROP TRIGGER incident_event_append_only ON monitoring_incidentevent;
DROP FUNCTION monitoring_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0001_initial")]

    operations = [migrations.RunSQL(REFUSE, ALLOW)]
