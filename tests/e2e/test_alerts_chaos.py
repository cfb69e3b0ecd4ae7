"""A thousand incidents to three receivers that misbehave, while workers, beat, Redis and PostgreSQL are killed."""

import itertools
import random
import re
import secrets
import threading
import time
from collections import Counter, defaultdict, deque
from pathlib import Path

import psycopg2
import pytest

from tests.e2e.alerting import LATER, Killer, Report, Reporters, said_by, set_up
from tests.e2e.misdeeds import EVERYWHERE, MISDEEDS, PAGERDUTY, SLACK, WEBHOOK, Whims
from tests.e2e.product import Product, running
from tests.e2e.receivers import Receivers, Taken, running_receivers

INCIDENTS = 1_000
PAGED_EVERY = 16
"""PagerDuty takes 120 events a minute: two for each of these incidents fit into a minute."""
OPENING_SECONDS = 35.0
MISBEHAVING_SECONDS = 50.0
ENDING_SECONDS = 20.0
SETTLING_SECONDS = 150.0
VICTIMS = {("celery", "worker"): 2, ("celery", "beat"): 1, ("redis-server",): 2, ("postgres", "-D"): 2}
"""How often each is killed while incidents open; and each once more while they end."""
pytestmark = pytest.mark.timeout(420)


def _reports(seed: int) -> list[Report]:
    chance = random.Random(seed)
    found = []
    for number in range(INCIDENTS):
        opens_at = chance.uniform(0, OPENING_SECONDS)
        over_at = opens_at + chance.uniform(3, 20)
        if number % 20 == 0:
            # Before anybody could be told.
            over_at = opens_at
        elif number % 3:
            # Once everybody was told: nothing may be superseded.
            over_at = LATER
        is_critical = number % PAGED_EVERY == 0
        found.append(Report(number, opens_at, over_at, is_critical, is_by_webhook=number % 5 == 0))
    return found


def _kills(victims: list[tuple[str, ...]], seconds: float, seed: int) -> list[tuple[float, tuple[str, ...]]]:
    chance = random.Random(seed)
    chance.shuffle(victims)
    pace = (seconds - 8) / len(victims)
    return [(4 + pace * (place + chance.uniform(-0.3, 0.3)), words) for place, words in enumerate(victims)]


def _misbehave(receivers: Receivers) -> None:
    """Each misdeed once for certain, with good answers in between, then by chance."""
    for number, name in enumerate((WEBHOOK, PAGERDUTY, SLACK)):
        pairs = [(misdeed, None) for misdeed in (MISDEEDS if name == WEBHOOK else EVERYWHERE)]
        receivers.script[name] = deque(itertools.chain.from_iterable(pairs))
        receivers.whims[name] = Whims(seed=number, hang_count=2)


def _go_away_for_a_while(receivers: Receivers) -> None:
    time.sleep(MISBEHAVING_SECONDS / 2)
    with receivers.away():
        time.sleep(4)


def _wait_until_settled(product: Product) -> None:
    """Until no message waits any more."""
    start = time.monotonic()
    waiting = "SELECT status, count(*) FROM monitoring_outboxmessage WHERE status IN ('pending', 'leased') GROUP BY 1"
    found: object = "the database is down"
    while time.monotonic() < start + SETTLING_SECONDS:
        try:
            found = product.rows(waiting)
        except psycopg2.OperationalError:
            time.sleep(0.5)
            continue
        if not found:
            return
        time.sleep(0.5)
    raise AssertionError(f"messages still wait: {found}")


_ROWS = """
SELECT incident.id::text, incident.state, message.id::text, channel.name, message.kind, message.status,
    message.batch::text, incident.title
FROM monitoring_incident incident
LEFT JOIN monitoring_outboxmessage message ON message.incident_id = incident.id
LEFT JOIN monitoring_channel channel ON channel.id = message.channel_id
WHERE incident.source <> ''
ORDER BY incident.id, channel.name, message.seq
"""


def _check_database(product: Product) -> dict[str, dict[str, str]]:
    """By channel, what became of each incident there: “delivered” or “superseded”, always both messages alike."""
    rows = product.rows(_ROWS)
    incidents = {row[0] for row in rows}
    assert len(incidents) == INCIDENTS
    assert {row[1] for row in rows} == {"resolved"}
    messages: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for incident, _, _, channel, kind, status, _, _ in rows:
        messages[channel, incident].append((kind, status))
    found: dict[str, dict[str, str]] = {WEBHOOK: {}, PAGERDUTY: {}, SLACK: {}}
    for (channel, incident), told in messages.items():
        (first, status), (last, last_status) = told
        assert (first, last) == ("trigger", "resolve"), told
        assert status == last_status, (channel, incident, told)
        assert status in {"delivered", "superseded"}, (channel, incident, told)
        found[channel][incident] = status
    assert len(found[WEBHOOK]) == len(found[SLACK]) == INCIDENTS
    lasting = {row[0] for row in rows if _number_of(row[7]) % 20 and _number_of(row[7]) % 3}
    assert len(lasting) > INCIDENTS / 2
    for name in (WEBHOOK, SLACK):
        assert {found[name][incident] for incident in lasting} == {"delivered"}
    return found


def _number_of(title: str) -> int:
    return int(re.sub(r"\D", "", title))


def _check_receiver(name: str, taken: list[Taken], expected: dict[str, str]) -> None:
    """After the receiver's own deduplication: one trigger, then one resolve, of each incident that was not superseded."""
    stories: dict[str, list[str]] = defaultdict(list)
    for line in taken:
        if line.receiver == name and not line.is_repeat:
            stories[line.incident].append(line.action)
    told = {incident for incident, status in expected.items() if status == "delivered"}
    assert set(stories) == told, (len(stories), len(told))
    wrong = {incident: story for incident, story in stories.items() if story != ["trigger", "resolve"]}
    assert not wrong


def _check_slack(product: Product, taken: list[Taken]) -> None:
    """Each call's message says how many fire and are over: what the database says went in it. Repeats say that they are."""
    batches: dict[str, Counter[str]] = defaultdict(Counter)
    batch_of: dict[str, str] = {}
    for _, _, message, channel, kind, status, batch, _ in product.rows(_ROWS):
        if channel == SLACK and status == "delivered":
            batches[batch]["firing" if kind == "trigger" else "resolved"] += 1
            batch_of[f"msg_{message.replace('-', '')}"] = batch
    seen: dict[str, list[Taken]] = defaultdict(list)
    for line in taken:
        if line.receiver == SLACK:
            seen[batch_of[line.message]].append(line)
    assert set(seen) == set(batches)
    for batch, lines in seen.items():
        assert all(line.is_repeat for line in lines[1:]), [line.note for line in lines]
        assert {_counts(line.text) for line in lines} == {_counts_of(batches[batch])}
    assert max(sum(batch.values()) for batch in batches.values()) > 10


def _counts(text: str) -> tuple[int, int]:
    said = {name: count for count, name in re.findall(r"([\d\u202f]+) (firing|resolved)", text)}
    if not said:
        return (1, 0) if text.startswith("FIRING") else (0, 1)
    firing, resolved = (int(said.get(name, "0").replace("\u202f", "")) for name in ("firing", "resolved"))
    return firing, resolved


def _counts_of(batch: Counter[str]) -> tuple[int, int]:
    return batch["firing"], batch["resolved"]


def _check_rate(times: list[float], *, per_second: float, burst: int) -> None:
    """No window of time has more calls than its rate allows, with some seconds' grace for calls that were held up."""
    for first, start in enumerate(times):
        for count, end in enumerate(times[first:], 1):
            assert count <= burst + per_second * (end - start + 5), (count, end - start)


def _check_evidence(product: Product) -> None:
    """The audit finds nothing, and every incident's log is as it was written."""
    audit = "from monitoring import tasks\nfrom monitoring.models import DeliveryAudit\ntasks.audit_deliveries()\n"
    assert said_by(product, audit + "found = DeliveryAudit.objects.get().findings") == []
    said = product.manage("alerts", "verify", "all")
    assert re.match(r"[\d\u202f]+ logs are intact", said), said


def _go_through_it(product: Product, receivers: Receivers) -> None:
    set_up(product, receivers)
    _misbehave(receivers)
    reporters = Reporters(product, _reports(seed=5))
    victims = [words for words, count in VICTIMS.items() for _ in range(count)]
    killer = Killer(product, _kills(victims, MISBEHAVING_SECONDS, seed=5))
    away = threading.Thread(target=_go_away_for_a_while, args=[receivers])
    end = threading.Timer(MISBEHAVING_SECONDS, receivers.whims.clear)
    for thread in (killer, away, end):
        thread.start()
    reporters.run()
    for thread in (killer, away, end):
        thread.join()
    assert Counter(killer.killed) == Counter({words[-1]: count for words, count in VICTIMS.items()})
    _wait_until_settled(product)
    killer = Killer(product, _kills(list(VICTIMS), ENDING_SECONDS, seed=6))
    killer.start()
    reporters.end(ENDING_SECONDS)
    killer.join()
    assert Counter(killer.killed) == Counter(words[-1] for words in VICTIMS)
    _wait_until_settled(product)


def test_thousand_incidents_through_kills_and_misdeeds_are_told_exactly_once(folder: Path) -> None:
    secret = "whsec_" + secrets.token_bytes(24).hex()
    with (
        running_receivers(folder / "journal.jsonl", secret) as receivers,
        running(folder, TRIAGEOPS_OUTBOUND_ALLOW="127.0.0.0/8", LOG_LEVEL="WARNING") as product,
    ):
        _go_through_it(product, receivers)
        expected = _check_database(product)
        taken = receivers.taken()
        for name in (WEBHOOK, PAGERDUTY):
            _check_receiver(name, taken, expected[name])
        _check_slack(product, taken)
        assert receivers.refused == []
        assert receivers.trap_count == 0
        assert set(MISDEEDS) <= set(receivers.met[WEBHOOK]), receivers.met
        assert all(len(set(EVERYWHERE) & set(met)) >= 4 for met in receivers.met.values()), receivers.met
        _check_rate(receivers.call_times[SLACK], per_second=1, burst=1)
        _check_rate(receivers.call_times[PAGERDUTY], per_second=2, burst=10)
        _check_evidence(product)
