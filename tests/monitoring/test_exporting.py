"""An incident as evidence: what is in the file, and that whatever is changed in it, or in the log, is found."""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection
from django.test import Client
from django.urls import reverse

from experiments.models import State
from feedback.models import Scope
from monitoring import checks, guardrails, incidents
from monitoring.exports import verifying
from monitoring.exports.export_page import as_html, data_in
from monitoring.exports.exporting import RELEASE, as_json, digest_of, export
from monitoring.exports.verifying import Finding, compare, verify_export, verify_incident
from monitoring.history import chain
from monitoring.models import Incident, IncidentEvent, Resolution, Source, Usefulness
from tests.monitoring.callers import client_with
from tests.monitoring.factories import START, add_bucket, close, make_channel, make_monitor, now_after
from tests.monitoring.halts import AT, EVIDENCE, SOON, change, halt, running
from tests.monitoring.silencing import opened
from tests.project.tree import ROOT

pytestmark = pytest.mark.django_db

NOW = START + timedelta(hours=3)
Exported = dict[str, Any]


def found_by_a_monitor() -> Incident:
    """With buckets before and after the onset, acknowledged, commented on and resolved."""
    make_monitor(channels=(make_channel(),), split_by=[], is_whole_watched=True)
    for number in range(24):
        add_bucket(number, 0.9 if number < 6 else 0.5)
    close(23)
    checks.run_due(now_after(23))
    incident = Incident.objects.open().get()
    at = incident.opened_at
    incidents.acknowledge(incident.pk, actor="ann", now=at + timedelta(minutes=5))
    incidents.comment(incident.pk, "rolled back </script><b>", actor="ann", now=at + timedelta(minutes=9))
    incidents.resolve(incident.pk, Resolution.FIXED, actor="ann", now=at + timedelta(minutes=10))
    incidents.judge(incident.pk, Usefulness.USEFUL, actor="ann", now=at + timedelta(minutes=11))
    return Incident.objects.select_related("monitor").get(pk=incident.pk)


def reported() -> Incident:
    labels = {"alertname": "Disk", "größe": "<b>&"}
    incident = incidents.report(
        Source.API, "disk", title="Disk <is> full", severity="error", labels=labels, annotations={"summary": "95 %"},
        onset_at=START, actor="API key “ci”", now=START,
    )  # fmt: skip
    incidents.acknowledge(incident.pk, actor="ann", now=START + timedelta(minutes=1))
    incidents.comment(incident.pk, "on it: ünïcode 🔥", actor="ann", now=START + timedelta(minutes=2))
    incidents.resolve(incident.pk, Resolution.FIXED, actor="ann", now=START + timedelta(minutes=3))
    return Incident.objects.get(pk=incident.pk)


def exported_of(incident: Incident) -> Exported:
    """As it is read back from a file."""
    found: Exported = json.loads(as_json(export(incident, NOW)))
    return found


def as_bytes(exported: Exported) -> bytes:
    return json.dumps(exported, ensure_ascii=False).encode()


def test_export_of_a_monitors_incident_has_all_that_is_known() -> None:
    incident = found_by_a_monitor()
    found = exported_of(incident)
    assert found["incident"]["id"] == str(incident.pk)
    assert found["times"] == {
        "to_detect_seconds": (incident.opened_at - incident.onset_at).total_seconds(),
        "to_acknowledge_seconds": 300.0,
        "to_resolve_seconds": 600.0,
    }
    assert found["monitor"]["settings"]["parameters"] == {"level": 0.8, "margin": 0.05}
    assert found["monitor"]["channels"] == ["ops"]
    assert found["labels"]["metric"] == "helpfulness"
    assert {"current", "level", "difference"} <= found["effect"].keys()
    assert "m2" not in found["effect"]
    assert [event["kind"] for event in found["events"]][-2:] == ["resolved", "judged"]
    assert found["head"] == found["events"][-1]["hash"] != chain.START
    assert {one["kind"] for one in found["deliveries"]} == {"trigger", "acknowledge", "resolve"}
    buckets = found["evaluations"]["buckets"]
    assert [one["bucket_at"] for one in buckets] == sorted(one["bucket_at"] for one in buckets)
    assert len(buckets) >= 12
    assert buckets[0]["bucket_at"] < found["incident"]["onset_at"]
    assert "rolled back" in as_json(found)


def test_export_of_a_halted_experiment_says_who_resumed_it_and_why() -> None:
    experiment = running()
    halt(experiment, reason="guardrail")
    guardrails.open_halts(SOON)
    found = exported_of(Incident.objects.get(experiment=experiment.key))
    assert (found["experiment"]["key"], found["experiment"]["variant"]) == (experiment.key, "claude-2")
    change(experiment, "resume", State.RUNNING, at=AT + timedelta(hours=1), reason="the prompt was mended")
    later = exported_of(Incident.objects.get(experiment=experiment.key))
    said = [(one["action"], one["reason"]) for one in later["experiment"]["changes"]]
    assert said == [("halt", "guardrail"), ("resume", "the prompt was mended")]
    assert found["evidence"]["headline"] == EVIDENCE["headline"]
    assert verify_export(as_bytes(found)).is_intact


def test_release_is_that_of_the_changelog() -> None:
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading is not None
    assert heading[1] == RELEASE


@pytest.mark.parametrize("make", [found_by_a_monitor, reported], ids=["monitor", "reported"])
def test_file_and_page_are_intact_and_fit_the_database(make: Callable[[], Incident]) -> None:
    incident = make()
    exported = export(incident, NOW)
    for data in (as_json(exported).encode(), as_html(exported).encode()):
        finding = compare(data, verify_export(data))
        assert finding.wrong == ()
        assert (finding.event_count, finding.head) == (incident.version, exported["head"])
    assert verify_incident(incident).is_intact


def test_page_holds_the_exact_data_and_nothing_that_runs() -> None:
    incident = found_by_a_monitor()
    exported = exported_of(incident)
    page = as_html(exported)
    assert data_in(page) == (exported, True)
    assert page.count("</script>") == 1
    assert not [word for word in ("<b>", "onload", "http-equiv") if word in page]
    assert not re.search(r"(src|href)=", page)
    assert page.count("<svg") == 1
    assert all(word in page for word in ("prefers-color-scheme: dark", "@media print"))


def test_page_of_an_incident_without_a_monitor_needs_no_plot() -> None:
    page = as_html(exported_of(reported()))
    assert "<svg" not in page
    assert "Disk &lt;is&gt; full" in page


def sealed_anew(exported: Exported) -> Exported:
    """What a forger does who knows how the digest is made."""
    return exported | {"digest": digest_of(exported)}


def _drop(exported: Exported) -> None:
    del exported["events"][1]


def _truncate(exported: Exported) -> None:
    del exported["events"][-1]
    exported["head"] = exported["events"][-1]["hash"]


def _reorder(exported: Exported) -> None:
    exported["events"][1:3] = reversed(exported["events"][1:3])


def _renumber(exported: Exported) -> None:
    _drop(exported)
    for number, event in enumerate(exported["events"], 1):
        event["seq"] = number


def _reword(exported: Exported) -> None:
    exported["events"][2]["details"]["note"] += "."


def _repeat(exported: Exported) -> None:
    exported["events"].append(dict(exported["events"][-1]))


def _rename(exported: Exported) -> None:
    exported["events"][1]["actor"] = "bob"


def _unseal(exported: Exported) -> None:
    exported["events"][-1]["details"]["note"] = "nothing happened"
    exported["events"][-1]["hash"] = ""
    exported["head"] = chain.verify(_events(exported)).head


def _shift(exported: Exported) -> None:
    exported["events"][1]["at"] = exported["events"][1]["at"].replace("12:01", "12:00")


def _change_head(exported: Exported) -> None:
    exported["head"] = "0" * 64


def _events(exported: Exported) -> list[chain.Sealed]:
    stored = Incident.objects.get(pk=exported["incident"]["id"]).events.order_by("seq")
    told = zip(stored, exported["events"], strict=True)
    return [
        chain.Sealed(
            str(one.incident_id),
            one.seq,
            one.kind,
            one.at,
            one.by_id,
            one.actor,
            said["details"],
            said["hash"],
        )
        for one, said in told
    ]


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (_drop, "is missing"),
        (_truncate, "end is missing"),
        (_reorder, "is missing"),
        (_renumber, "does not fit its hash"),
        (_reword, "does not fit its hash"),
        (_repeat, "is missing"),
        (_rename, "does not fit its hash"),
        (_unseal, "has no hash"),
        (_shift, "does not fit its hash"),
        (_change_head, "last hash"),
    ],
)
def test_forged_log_is_found_even_with_a_new_digest(forge: Callable[[Exported], None], reason: str) -> None:
    exported = exported_of(reported())
    forge(exported)
    finding = verify_export(as_bytes(sealed_anew(exported)))
    assert not finding.is_intact
    assert reason in finding.text


def test_every_single_changed_character_of_a_file_is_found() -> None:
    exported = export(reported(), NOW)
    for text in (as_json(exported), as_html(exported)):
        intact = verify_export(text.encode())
        assert intact.is_intact
        for place in range(0, len(text), 97):
            if text[place].isspace():
                continue
            changed = text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]
            assert not verify_export(changed.encode()).is_intact, text[place - 30 : place + 30]


def test_log_that_was_forged_from_the_beginning_differs_from_the_database() -> None:
    exported = exported_of(reported())
    exported["events"][2]["details"]["note"] = "never happened"
    previous = chain.START
    for event, sealed in zip(exported["events"], _events(exported), strict=True):
        event["hash"] = previous = chain.seal(previous, sealed)
    exported["head"] = previous
    exported["deliveries"] = []
    data = as_bytes(sealed_anew(exported))
    alone = verify_export(data)
    assert alone.is_intact
    assert "Event 3 is not the one in the database." in compare(data, alone).text


def test_changed_evidence_differs_from_the_database() -> None:
    exported = exported_of(found_by_a_monitor())
    exported["evidence"]["more"] = 1
    data = as_bytes(sealed_anew(exported))
    assert "Its evidence" in compare(data, verify_export(data)).text


def test_older_export_of_an_incident_that_went_on_is_intact() -> None:
    incident = reported()
    data = as_json(export(incident, NOW)).encode()
    incidents.comment(incident.pk, "later", actor="ann", now=NOW)
    assert compare(data, verify_export(data)).is_intact


def test_message_that_tells_another_event_is_found() -> None:
    exported = exported_of(found_by_a_monitor())
    told = next(one for one in exported["deliveries"] if one["payload"].get("event_hash"))
    told["payload"]["event_hash"] = "f" * 64
    assert "tells another event" in verify_export(as_bytes(sealed_anew(exported))).text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"\xff",
        b"<html></html>",
        b"null",
        b'{"format": "x", "format_version": 1}',
        b"[" * 99_999,
    ],
)
def test_what_is_no_export_is_said_to_be_none(data: bytes) -> None:
    finding = verify_export(data)
    assert not finding.is_intact
    assert finding.text.startswith("The export is not as it was written.")


# The log in the database


def tampered(statement: str) -> None:
    """What only somebody can do who rules the database."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement)
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE monitoring_incidentevent SET actor = 'bob' WHERE seq = 2", "does not fit its hash"),
        ("DELETE FROM monitoring_incidentevent WHERE seq = 2", "is missing"),
        ("DELETE FROM monitoring_incidentevent WHERE seq = 4", "end is missing"),
        ("UPDATE monitoring_incidentevent SET hash = '' WHERE seq = 4", "has no hash"),
    ],
)
def test_changed_log_in_the_database_is_found(statement: str, reason: str) -> None:
    incident = reported()
    tampered(statement)
    finding = verify_incident(Incident.objects.get(pk=incident.pk))
    assert reason in finding.text


# The command


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    call_command("alerts", *words)
    return capsys.readouterr().out


def test_command_exports_and_verifies(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    incident = reported()
    for form in ("json", "html"):
        file = str(tmp_path / f"incident.{form}")
        options = ["--html"] if form == "html" else []
        said(capsys, "export", str(incident.pk), "--output", file, *options)
        assert "is intact: 4 events" in said(capsys, "verify", file)
    assert "is intact: 4 events" in said(capsys, "verify", str(incident.pk))
    assert said(capsys, "verify", "all") == "1 log is intact.\n"
    assert json.loads(said(capsys, "export", str(incident.pk)))["incident"]["title"] == "Disk <is> full"


def test_command_fails_with_a_sentence_where_a_log_was_changed(tmp_path: Path) -> None:
    incident = reported()
    file = tmp_path / "incident.json"
    file.write_bytes(as_bytes(exported_of(incident)))
    tampered("UPDATE monitoring_incidentevent SET actor = 'bob' WHERE seq = 2")
    for subject in (str(incident.pk), str(file), "all"):
        with pytest.raises(CommandError, match="is not as it was written") as failure:
            call_command("alerts", "verify", subject)
        assert failure.value.returncode == 1


@pytest.mark.parametrize("subject", ["nothing.json", "nothing", "00000000-0000-4000-8000-000000000000"])
def test_command_says_what_it_cannot_find(subject: str) -> None:
    with pytest.raises(CommandError) as failure:
        call_command("alerts", "verify", subject)
    assert failure.value.returncode == 2


# Over REST


def test_export_is_a_file_over_rest() -> None:
    incident = reported()
    api = client_with(Scope.INCIDENTS_READ)
    for form, kind in (("json", "application/json"), ("html", "text/html; charset=utf-8")):
        answer = api.get(f"/api/v1/incidents/{incident.pk}/export?format={form}")
        assert (answer.status_code, answer["Content-Type"]) == (200, kind)
        assert answer["Content-Disposition"] == f'attachment; filename="incident-{incident.pk}.{form}"'
        assert verify_export(answer.content).is_intact
    assert api.get(f"/api/v1/incidents/{incident.pk}/export?format=pdf").status_code == 400
    assert api.get(f"/api/v1/incidents/{uuid4()}/export").status_code == 404
    assert client_with(Scope.ROUTING_READ).get(f"/api/v1/incidents/{incident.pk}/export").status_code == 403


def test_finding_says_what_is_wrong_in_sentences() -> None:
    assert Finding("The log", 2, "abc").text == "The log is intact: 2 events, the last hash is abc."
    assert Finding("The log", wrong=("A.", "B.")).text == "The log is not as it was written. A. B."


def test_digest_is_of_all_but_itself() -> None:
    exported = exported_of(reported())
    rest = {name: value for name, value in exported.items() if name != "digest"}
    assert exported["digest"] == hashlib.sha256(chain.canonical(rest).encode()).hexdigest()


def test_events_of_an_older_release_without_hashes_are_no_mistake() -> None:
    incident = reported()
    tampered("UPDATE monitoring_incidentevent SET hash = ''")
    assert verify_incident(Incident.objects.get(pk=incident.pk)).is_intact
    assert IncidentEvent.objects.count() == 4


# Small groups


def about_few() -> Incident:
    """Of five records, noted again and acknowledged."""
    few = {"current": 0.7123, "level": 0.8, "difference": -0.0877, "low": -0.12, "high": -0.08, "n": 5}
    incident = opened(
        make_monitor(channels=(make_channel(),)),
        now=NOW,
        key="lang=rare-tongue",
        labels={"lang": "rare-tongue"},
        effect=few,
        evidence={"explanation": {"sentence": "all of it in rare-tongue", "parts": []}},
        title="helpfulness fell for lang rare-tongue",
    )
    incidents.acknowledge(incident.pk, actor="ann", now=NOW)
    return Incident.objects.select_related("monitor").get(pk=incident.pk)


def test_group_too_small_to_be_named_is_not_in_the_file_and_the_file_can_be_verified() -> None:
    exported = export(about_few(), NOW)
    for text in (as_json(exported), as_html(exported)):
        assert not [said for said in ("rare-tongue", "0.7123", "0.0877") if said in text]
        finding = verify_export(text.encode())
        assert finding.is_intact
        assert "The details of 1 of them are withheld" in finding.text
        assert compare(text.encode(), finding).wrong == ()
    assert exported["is_masked"]
    assert "which is not named here" in exported["incident"]["title"]
    assert "fewer than 20 records" in as_html(exported)


def test_halt_because_of_a_small_variant_does_not_name_it() -> None:
    experiment = running()
    halt(experiment, reason="claude-2 is worse", evidence=EVIDENCE | {"n_treatment": 5, "affected_count": 5})
    guardrails.open_halts(SOON)
    incident = Incident.objects.get(experiment=experiment.key)
    exported = exported_of(incident)
    assert "claude-2" not in as_json(exported)
    assert (exported["experiment"]["variant"], exported["evidence"]) == ("", {})
    data = as_bytes(exported)
    assert compare(data, verify_export(data)).wrong == ()


@pytest.mark.parametrize(("name", "value"), [("actor", "bob"), ("kind", "commented"), ("hash", "f" * 64)])
def test_changed_event_whose_details_are_withheld_differs_from_the_database(name: str, value: str) -> None:
    exported = exported_of(about_few())
    exported["events"][0][name] = value
    data = as_bytes(sealed_anew(exported))
    assert not compare(data, verify_export(data)).is_intact


def test_changed_event_after_one_that_is_withheld_is_found_in_the_file_alone() -> None:
    exported = exported_of(about_few())
    assert exported["events"][0]["details"] is None
    exported["events"][1]["actor"] = "bob"
    assert "event 2 does not fit its hash" in verify_export(as_bytes(sealed_anew(exported))).text.lower()


def test_withheld_event_without_a_hash_is_no_proof() -> None:
    exported = exported_of(about_few())
    exported["events"][0]["hash"] = ""
    assert "neither its details nor a hash" in verify_export(as_bytes(sealed_anew(exported))).text


def test_small_groups_within_a_large_one_are_not_named() -> None:
    parts = [
        {"dimension": "lang", "value": "rare-tongue", "n": 7, "contribution": 0.2},
        {"dimension": "lang", "value": "common", "n": 700, "contribution": 0.7},
    ]
    incident = opened(make_monitor(), now=NOW, evidence={"explanation": {"sentence": "s", "parts": parts}})
    incidents.note_slice(incident, "lang=other-rare", {"title": "worse for other-rare"}, now=NOW)
    incident = Incident.objects.select_related("monitor").get(pk=incident.pk)
    exported = exported_of(incident)
    assert not exported["is_masked"]
    assert [one["value"] for one in exported["evidence"]["explanation"]["parts"]] == ["common"]
    assert "rare" not in as_json(exported)
    assert exported["events"][0]["details"]["effect"]["n"] == 400
    data = as_bytes(exported)
    assert compare(data, verify_export(data)).wrong == ()


def test_log_without_any_hash_is_not_sealed() -> None:
    exported = exported_of(reported())
    for event in exported["events"]:
        event["hash"] = ""
    exported["events"][1]["actor"] = "forged"
    exported["deliveries"] = []
    exported["head"] = chain.verify(verifying._sealed(exported, one) for one in exported["events"]).head
    finding = verify_export(as_bytes(sealed_anew(exported)))
    assert not finding.is_intact
    assert "is not sealed" in finding.text


def test_file_from_the_admin_is_that_of_rest(admin_client: Client) -> None:
    incident = reported()
    for form in ("json", "html"):
        answer = admin_client.get(reverse("admin:monitoring_incident_evidence", args=[incident.pk, form]))
        assert verify_export(answer.content).is_intact


# What stands beside the log


def _put(path: str, value: Any) -> Callable[[Exported], None]:
    def change_it(exported: Exported) -> None:
        *way, last = path.split(".")
        place: Any = exported
        for name in way:
            place = place[int(name)] if isinstance(place, list) else place[name]
        place[last] = value

    return change_it


def _without_last(path: str) -> Callable[[Exported], None]:
    return lambda exported: exported[path].pop()


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (_put("incident.title", "All is well"), "Its title is not that in the database."),
        (_put("incident.severity", "info"), "Its severity is not that in the database."),
        (_put("incident.state", "firing"), "Its state is not that in the database."),
        (_put("incident.onset_at", "2026-03-01T00:00:00.000000+00:00"), "Its onset is not that in the database."),
        (_put("incident.usefulness", "noise"), "Its usefulness is not that in the database."),
        (_put("labels.host", "db-2"), "Labels are not those in the database: host."),
        (_put("labels.severity", "info"), "Labels are not those in the database: severity."),
        (_put("effect.difference", 0.0), "Its effect is not that in the database."),
        (_put("times.to_acknowledge_seconds", 1.0), "Its times are not those in the database."),
        (_put("deliveries.0.status", "delivered"), "message to ops is not as the database has it."),
        (_put("deliveries.0.channel", "nobody"), "message to nobody is not as the database has it."),
        (_put("deliveries.0.id", "msg_1"), "message to ops is not in the database."),
        (_without_last("deliveries"), "message to ops is missing, which the database has."),
        (_put("deliveries.0.attempts", [{"number": 1}]), "message to ops is not as the database has it."),
        (_put("evaluations.buckets.3.mean", 0.99), "is not as the database has it."),
        (_put("flags", [{"kind": "silenced", "cause": "", "since": "", "why": "", "who": "", "until": None, "ended_at": None}]), "The flag “silenced”"),
    ],
)  # fmt: skip
def test_forgery_beside_the_log_is_named_by_the_comparison_only(
    forge: Callable[[Exported], None], said: str
) -> None:
    exported = exported_of(found_by_a_monitor())
    forge(exported)
    data = as_bytes(sealed_anew(exported))
    finding = verify_export(data)
    assert finding.is_intact
    assert said in compare(data, finding).text


def test_parts_of_another_shape_are_no_comparison_but_a_finding() -> None:
    exported = exported_of(found_by_a_monitor())
    exported["flags"] = [1]
    data = as_bytes(sealed_anew(exported))
    assert "not what an export has in their place" in compare(data, verify_export(data)).text


def test_older_export_of_an_incident_that_became_worse_and_ended_is_intact() -> None:
    def report(severity: str, at: Any) -> Incident:
        return incidents.report(
            Source.API, "disk", title=f"Disk: {severity}", severity=severity, labels={}, annotations={}, onset_at=START,
            actor="ci", now=at,
        )  # fmt: skip

    make_channel()
    incident = report("warning", START)
    data = as_json(export(incident, START)).encode()
    report("critical", START + timedelta(minutes=5))
    incidents.resolve(incident.pk, Resolution.FIXED, actor="ann", now=START + timedelta(minutes=6))
    assert compare(data, verify_export(data)).wrong == ()


def test_detection_of_a_report_without_an_onset_is_not_known() -> None:
    incident = reported()
    assert export(incident, NOW)["times"]["to_detect_seconds"] is None
    assert "when it began was not reported" in as_html(export(incident, NOW))


def test_file_that_the_database_does_not_know_says_what_was_not_looked_at() -> None:
    exported = exported_of(reported())
    finding = Finding("The export", 4, "abc", incident_id=str(uuid4()))
    assert "only the file was looked at" in compare(as_bytes(exported), finding).text


def test_command_verifies_a_file_without_a_database(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "incident.json"
    file.write_bytes(as_bytes(exported_of(reported())))

    def refuse(*args: Any) -> Finding:
        raise ProgrammingError("relation monitoring_incident does not exist")

    monkeypatch.setattr("monitoring.management.alerts.verify.compare", refuse)
    monkeypatch.setattr("monitoring.management.alerts.verify.verify_incident", refuse)
    shown = said(capsys, "verify", str(file))
    assert "is intact: 4 events" in shown
    assert "TRIAGEOPS_DATA_DIR" in shown
    with pytest.raises(CommandError, match="TRIAGEOPS_DATA_DIR"):
        call_command("alerts", "verify", "all")


def test_page_begins_with_a_sentence_and_names_units_and_who_acted() -> None:
    shown = as_html(export(found_by_a_monitor(), NOW))
    assert "over after 10 min (fixed)" in shown.replace("\N{NO-BREAK SPACE}", " ").replace(
        "\N{NARROW NO-BREAK SPACE}", " "
    )
    assert "Nobody was told." in shown
    assert shown.index("ann acknowledged it") < shown.index("<h2>Summary</h2>")
    for said_so in (
        "mean helpfulness",
        "records since the onset",
        "0 is the alarm line",
        "<td>TriageOps</td>",
    ):
        assert said_so in shown
