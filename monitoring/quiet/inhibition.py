"""Inhibition: while one incident is open, others that follow from it are held back. Rules only, no rows.

Three rules are built in. Further ones are rows of InhibitRule, with Alertmanager's meaning.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from monitoring.models import Severity, Signal
from monitoring.routing.matchers import Matcher, matches_all
from monitoring.slices import ALL
from monitoring.sources import VOLUME

OF_ONE_CHECK = "(check)"
"""Slice key of what is wrong with the check of one monitor; what all checks have in common inhibits nothing."""

EQUAL = ("model", "endpoint", "variant")
"""An outage explains the quality of the same model, endpoint and variant, and of nothing else."""

ERROR, SILENT = "error", "silent"
OPERATIONS = frozenset(
    {ERROR, VOLUME, "latency_seconds", "cost", "input_tokens", "output_tokens", "cache_hit"}
)
"""What is no quality of answers."""

_OF_RECORDS = (Signal.DRIFT, Signal.ANOMALY)
_SEVERE = (Severity.CRITICAL, Severity.ERROR)


@dataclass(frozen=True)
class Party:
    """An open incident, as inhibitions see it. trouble: of a check; current: of the metric, since the onset."""

    id: UUID
    labels: Mapping[str, str]
    slice_key: str
    signal: str
    severity: str
    opened_at: datetime
    monitor_id: int | None = None
    metric: str = ""
    place: tuple[str, ...] = ("", "", "")
    """The values of EQUAL."""
    trouble: str = ""
    current: float | None = None

    @property
    def is_of_records(self) -> bool:
        return self.monitor_id is not None and self.signal in _OF_RECORDS

    @property
    def is_of_check(self) -> bool:
        return self.signal == Signal.CHECK and self.slice_key == OF_ONE_CHECK

    @property
    def is_outage(self) -> bool:
        if self.metric == ERROR:
            return self.is_of_records and self.severity in _SEVERE
        return self.metric == VOLUME and (
            self.trouble == SILENT or (self.is_of_records and self.current == 0)
        )


@dataclass(frozen=True)
class Rule:
    """A row of InhibitRule, read. A label that is missing on both sides is equal."""

    name: str
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]

    def values(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(labels.get(name, "") for name in self.equal)


@dataclass(frozen=True)
class Inhibition:
    source: Party
    why: str


@dataclass
class Sources:
    """Open incidents, kept so that those which hold another back are found without asking each. held_by: what is held by what."""

    rules: tuple[Rule, ...] = ()
    held_by: dict[UUID, UUID] = field(default_factory=dict)
    _by_monitor: dict[int, list[Party]] = field(default_factory=lambda: defaultdict(list))
    _outages: dict[tuple[str, ...], list[Party]] = field(default_factory=lambda: defaultdict(list))
    _by_rule: dict[tuple[int, tuple[str, ...]], list[tuple[Party, bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, parties: Iterable[Party]) -> None:
        for party in sorted(parties, key=lambda one: (one.opened_at, one.id)):
            if party.monitor_id is not None and (party.is_of_check or party.slice_key == ALL):
                self._by_monitor[party.monitor_id].append(party)
            if party.is_outage:
                self._outages[party.place].append(party)
            for number, rule in enumerate(self.rules):
                if matches_all(rule.source, party.labels):
                    is_both = matches_all(rule.target, party.labels)
                    self._by_rule[number, rule.values(party.labels)].append((party, is_both))

    def check_of(self, target: Party) -> Party | None:
        """The trouble of the check of its own monitor."""
        if not target.is_of_records or target.monitor_id is None:
            return None
        return next((one for one in self._by_monitor.get(target.monitor_id, ()) if one.is_of_check), None)

    def holding(self, target: Party) -> Inhibition | None:
        """What holds it back: the oldest, by the first rule that does."""
        for found in self._candidates(target):
            if found.source.id != target.id and not self._is_held_by(found.source, target):
                return found
        return None

    def _candidates(self, target: Party) -> Iterable[Inhibition]:
        check = self.check_of(target)
        if check is not None:
            yield Inhibition(check, "its monitor's own check is in trouble")
        if target.is_of_records and target.metric not in OPERATIONS:
            for one in self._outages.get(target.place, ()):
                yield Inhibition(one, "there is an outage in the same place")
        if target.is_of_records and target.slice_key != ALL and target.monitor_id is not None:
            for one in self._by_monitor.get(target.monitor_id, ()):
                if one.is_of_records and (one.opened_at, one.id) < (target.opened_at, target.id):
                    yield Inhibition(one, "the whole of what it is a part of was told before")
        yield from self._by_rows(target)

    def _by_rows(self, target: Party) -> Iterable[Inhibition]:
        for number, rule in enumerate(self.rules):
            if not matches_all(rule.target, target.labels):
                continue
            is_source_too = matches_all(rule.source, target.labels)
            for one, is_both in self._by_rule.get((number, rule.values(target.labels)), ()):
                # As in Alertmanager: of those that match both sides none holds another back.
                if not (is_source_too and is_both):
                    yield Inhibition(one, f"the rule “{rule.name}” says so")

    def _is_held_by(self, source: Party, target: Party) -> bool:
        """Whether the source is itself held back by the target, also through others: of a ring nobody would hear."""
        at: UUID | None = source.id
        seen: set[UUID] = set()
        while at is not None and at not in seen:
            seen.add(at)
            at = self.held_by.get(at)
            if at == target.id:
                return True
        return False
