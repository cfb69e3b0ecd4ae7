"""What is said, in lines."""

from collections.abc import Mapping, Sequence
from typing import Any

from triageops import wording

Row = Mapping[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Columns as wide as what is in them."""
    texts = [list(head), *([_text(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    ]


def monitors(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["There are no monitors."]
    return table(
        ["id", "name", "kind", "metric", "state", "false alarms in 30 days", "last check"],
        [
            [row["id"], row["name"], row["kind"], row["metric"], row["state"], wording.number(row["promised_alarms"]), row["checked_at"]]
            for row in rows
        ],
    )  # fmt: skip


def monitor(row: Row) -> list[str]:
    hidden = {"slices", "id", "name", "state"}
    lines = [f"{row['name']} ({row['id']}): {row['state']}"]
    lines += [f"  {name}: {_text(value)}" for name, value in row.items() if name not in hidden]
    if row.get("slices"):
        shown = [
            [one["name"], "–" if one["evidence_share"] is None else wording.share(one["evidence_share"]), one["bucket_at"]]
            for one in row["slices"]
        ]  # fmt: skip
        lines += ["", *table(["slice", "evidence, of the alarm line", "last bucket"], shown)]
    return lines


def report(found: Row) -> list[str]:
    """Of a finished backtest: alarms, then how soon changes would have been found."""
    window, budget = found["window"], found["budget"]
    alarms = [(one["name"], alarm) for one in found["slices"] for alarm in one["alarms"]]
    lines = [
        f"Replayed {window['start']} to {window['end']} ({wording.plural(round(window['days']), 'day')}):"
        f" {wording.plural(found['alarm_count'], 'alarm')} and"
        f" {wording.plural(found['signal_count'], 'single bucket')};"
        f" at most {wording.number(budget['promised'])} false ones were promised on average.",
    ]
    if alarms:
        shown = [
            [name, alarm["at"], alarm["onset_at"], alarm["complaint"], wording.number(alarm["value"]), wording.number(alarm["usual"])]
            for name, alarm in alarms
        ]  # fmt: skip
        lines += ["", *table(["slice", "alarm", "since", "what", "value", "usual"], shown)]
    if found["injections"]:
        delays = [
            [one["name"], f"{one['found']} of {one['tries']}", wording.seconds(one["median_seconds"])]
            for one in found["injections"]
        ]
        lines += ["", *table(["change put into the past", "found", "median delay"], delays)]
    return [*lines, *(["", *found["notes"]] if found["notes"] else [])]


def effects(found: Row) -> list[str]:
    since = "since the onset of the open incident" if found["is_since_onset"] else "in the last 24 hours"
    lines = [
        f"{found['key']}: {wording.plural(found['current']['n'], 'record')} {since}, beside "
        f"{wording.plural(found['reference']['n'], 'record')} of the reference."
    ]
    sizes = [("PSI", "psi"), ("Kolmogorov–Smirnov", "ks"), ("Wasserstein, in sd", "wasserstein")]
    shown = [
        [name, wording.number(found[key]["value"]), wording.number(found[key]["null_quantile"])]
        for name, key in sizes
        if found[key] is not None
    ]
    lines += ["", *table(["effect size", "now", "95 % of what chance makes is below"], shown)]
    pairs = [
        [f"p{pair['q'] * 100:.0f}", wording.number(pair["current"]), wording.number(pair["reference"])]
        for pair in found["quantiles"]
    ]
    return [*lines, "", *table(["quantile", "now", "reference"], pairs)]


def evaluations(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["No bucket was checked yet."]
    return table(
        ["bucket", "slice", "n", "mean", "usual", "log evidence", "alarm"],
        [
            [row["bucket_at"], row["slice"], row["n"], wording.number(row["mean"]), wording.number(row["expected"]), wording.number(row["log_evidence"]), _verdict(row)]
            for row in rows
        ],
    )  # fmt: skip


def markers(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["There are no markers."]
    shown = [
        [row["id"], row["kind"], row["name"], row["starts_at"], row["ends_at"], row["where"]] for row in rows
    ]
    return table(["id", "kind", "name", "begins", "ends", "where"], shown)


def budget(found: Row) -> list[str]:
    ledger = found["last_30_days"]
    shown = [
        [
            row["name"],
            row["state"],
            wording.number(row["promised_alarms"]),
            row["alarm_count"],
            row["signal_count"],
        ]
        for row in found["monitors"]
    ]
    return [
        f"At most {wording.number(found['alarms_per_30_days'])} false alarms in 30 days are allowed to all together.",
        f"In the last 30 days {wording.number(ledger['promised'])} were promised at most on average;"
        f" {wording.plural(ledger['alarm_count'], 'alarm')} and"
        f" {wording.plural(ledger['signal_count'], 'single bucket')} came,"
        f" and {ledger['false_count']} were called false.",
        "",
        *table(["monitor", "state", "promised in 30 days", "alarms", "single buckets"], shown),
    ]


def _verdict(row: Row) -> str:
    if row["is_frozen"]:
        return "marker"
    return "alarm" if row["is_alarm"] else "single bucket" if row["is_signal"] else ""


def _text(value: object) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_text(one)}" for name, one in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(_text(one) for one in value) or "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
