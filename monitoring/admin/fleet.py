"""The page of all monitors: what they promised and raised together, and where the evidence is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from monitoring import standing
from monitoring.admin.opening import Admin, few, render, require
from monitoring.models import Monitor
from monitoring.models.monitor import BUDGET_DAYS
from monitoring.monitors.registry import is_rule
from monitoring.reading.sentences import evidence_share
from monitoring.slices import ALL
from triageops import charts, wording

ROWS_PER_PAGE = 100
MOST_COLUMNS = 8
MOST_NAMED = 50
ALL_RECORDS = "all records"
_STEPS = (0.01, 0.1, 0.3, 0.6)
"""Where the next darker shade begins."""
_WORDS = {"no_data": "no data", "frozen": "frozen", "off": "not watching"}
_FILTERS = {
    "all": "All",
    "incident": "With an incident",
    "watching": "Watching",
    "no_data": "Without data",
    "off": "Not watching",
}


@dataclass(frozen=True)
class Square:
    """One cell of the heat map. tone: its look; text: in it; said: for whoever does not see where it stands."""

    tone: str = "none"
    text: str = ""
    said: str = ""
    address: str = ""


@dataclass(frozen=True)
class Line:
    row: standing.Row
    squares: Sequence[Square] = field(default_factory=list)

    @property
    def promised(self) -> str:
        if not self.row.monitor.is_watching:
            return wording.MISSING
        if is_rule(self.row.monitor.kind):
            return "a rule"
        return few(self.row.monitor.promised_alarms)

    @property
    def expected(self) -> str:
        if is_rule(self.row.monitor.kind) and not self.row.expected:
            return wording.MISSING
        return few(self.row.expected)


def page(admin: Admin, request: HttpRequest) -> HttpResponse:
    require(request, "monitoring.view_monitor", "monitoring.change_monitor", "monitoring.view_fleetbudget")
    now = timezone.now()
    found = standing.read(now)
    return render(admin, request, "fleet", "All monitors", **context(found, request, now))


def context(found: standing.Fleet, request: HttpRequest, now: datetime) -> dict[str, Any]:
    chosen = request.GET.get("show", "all")
    chosen = chosen if chosen in _FILTERS else "all"
    asked = request.GET.get("q", "").strip()
    rows = [row for row in found.rows if _is_shown(row, chosen, asked)]
    last = max(1, -(-len(rows) // ROWS_PER_PAGE))
    number = request.GET.get("p", "1")
    number_shown = min(last, max(1, int(number))) if number.isdecimal() and len(number) < 9 else 1
    first = (number_shown - 1) * ROWS_PER_PAGE
    shown = rows[first : first + ROWS_PER_PAGE]
    columns = _columns(shown)
    kept = {name: value for name, value in (("show", chosen), ("q", asked)) if value not in {"all", ""}}
    return {
        "sentence": sentence(found),
        "tone": "look" if found.month.alarm_count > 1 + 2 * found.month.per_30_days else "neutral",
        "has_monitors": bool(found.rows),
        "chart": _chart(found, now),
        "digest": found.digest[:MOST_NAMED],
        "digest_more": len(found.digest[MOST_NAMED:]),
        "place_count": found.place_count,
        "columns": [ALL_RECORDS, *columns, *(["further"] if _has_further(shown, columns) else [])],
        "lines": [Line(row, _squares(row, columns)) for row in shown],
        "filters": [
            {
                "text": text,
                "address": "?" + urlencode({**({"q": asked} if asked else {}), "show": name}),
                "is_on": name == chosen,
            }
            for name, text in _FILTERS.items()
        ],
        "asked": asked,
        "show": chosen,
        "range": f"{first + 1} to {first + len(shown)} of {len(rows)}" if shown else "none",
        "pages": [
            (text, "?" + urlencode({**kept, "p": str(at)}))
            for text, at in (("Stronger evidence", number_shown - 1), ("Weaker evidence", number_shown + 1))
            if 1 <= at <= last
        ],
        "may_change": request.user.has_perm("monitoring.change_fleetbudget"),
        "may_add": request.user.has_perm("monitoring.add_monitor"),
    }


def sentence(found: standing.Fleet) -> str:
    month = found.month
    if not found.rows:
        return "Nothing is watched yet, so nothing is promised."
    if not month.per_30_days:
        return "No monitor watches now, so nothing is promised."
    return (
        f"All monitors together may raise {alarms(month.per_30_days)} in 30 days on average; "
        f"{few(month.promised)} {'was' if few(month.promised) == '1' else 'were'} promised so far this month, "
        f"{wording.plural(month.alarm_count, 'alarm')} came, {month.false_count} "
        f"{'was' if month.false_count == 1 else 'were'} called false."
    )


def alarms(number: float) -> str:
    return f"{few(number)} false alarm{'' if few(number) == '1' else 's'}"


def _is_shown(row: standing.Row, chosen: str, asked: str) -> bool:
    if asked and asked.lower() not in f"{row.monitor.name} {row.monitor.metric}".lower():
        return False
    if chosen == "incident":
        return row.has_incident
    if chosen == "watching":
        return row.monitor.is_watching
    if chosen == "off":
        return not row.monitor.is_watching
    if chosen == "no_data":
        return row.monitor.is_watching and (
            not row.cells or any(cell.state == "no_data" for cell in row.cells)
        )
    return True


def _columns(rows: Sequence[standing.Row]) -> list[str]:
    """The names that most monitors have a slice of."""
    counts = Counter(cell.name for row in rows for cell in row.cells if cell.name != ALL_RECORDS)
    return sorted(counts, key=lambda name: (-counts[name], name))[:MOST_COLUMNS]


def _has_further(rows: Sequence[standing.Row], columns: Sequence[str]) -> bool:
    named = {ALL_RECORDS, *columns}
    return any(cell.name not in named for row in rows for cell in row.cells)


def _squares(row: standing.Row, columns: Sequence[str]) -> list[Square]:
    by_name = {cell.name: cell for cell in row.cells}
    if not by_name and not row.monitor.is_watching:
        # It has no slices yet, and its row says why.
        by_name[ALL_RECORDS] = standing.Cell(ALL, ALL_RECORDS, "off")
    found = [_square(row.monitor, by_name.pop(name, None)) for name in (ALL_RECORDS, *columns)]
    if not by_name:
        return found
    worst = max(by_name.values(), key=lambda cell: (cell.state == "incident", cell.share or 0.0))
    square = _square(row.monitor, worst)
    more = f" and {len(by_name) - 1} more" if len(by_name) > 1 else ""
    return [*found, Square(square.tone, square.text, f"{worst.name}{more}: {square.said}", square.address)]


def _square(monitor: Monitor, cell: standing.Cell | None) -> Square:
    if cell is None:
        return Square()
    address = reverse("admin:monitoring_monitor_change", args=[monitor.pk])
    share = "no evidence" if cell.log_evidence is None else evidence_share(cell.log_evidence)
    if cell.state == "incident":
        address = reverse("admin:monitoring_incident_change", args=[cell.incident])
        return Square("incident", "! incident", f"incident open, evidence {share}", address)
    if cell.state in _WORDS:
        word = monitor.state if cell.state == "off" else _WORDS[cell.state]
        return Square(cell.state.replace("_", "-"), word, word, address)
    text = "0" if cell.log_evidence is None else share.replace("less than", "<")
    level = sum((cell.share or 0.0) >= step for step in _STEPS)
    return Square(f"level-{level}", text, f"{share} of the alarm line", address)


def _chart(found: standing.Fleet, now: datetime) -> charts.Chart:
    since = now.date() - timedelta(days=BUDGET_DAYS - 1)
    by_day = {day.day: day for day in found.days}
    days = [since + timedelta(days=number) for number in range(BUDGET_DAYS)]
    promised: list[charts.Point] = []
    came: list[charts.Point] = []
    total, count, spent = 0.0, 0, "false alarms promised"
    for day in days:
        entry = by_day.get(day)
        if entry is not None:
            total, count = total + entry.expected, count + entry.alarm_count
        promised.append(charts.Point(_noon(day), total))
        came.append(charts.Point(_noon(day), float(count)))
    is_empty = not any(day.day >= since for day in found.days)
    return charts.lines(
        key="promised",
        title=f"In 30 days {alarms(total)} at most {'was' if few(total) == '1' else 'were'} promised on average, and "
        f"{wording.plural(count, 'alarm')} came",
        unit="added up over the days; alarms of real changes are among those that came",
        series=[]
        if is_empty
        else [charts.Series(spent, promised), charts.Series("alarms that came", came, key="metric")],
        bounds=(0, None),
        control=spent,
        empty="What is promised and what came will appear here, day by day, once a monitor watches.",
    )


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), tzinfo=UTC)
