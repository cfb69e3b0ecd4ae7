"""An export as one page: read and printed without the product, with the exact data inside and its own checksum at the end."""

import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from monitoring.drawing import Point, Span, drawn
from monitoring.exports.export_words import EFFECT, OF_BUCKETS, OURSELVES, actor_of, measured, sentence
from monitoring.exports.masking import SENTENCE
from triageops import wording

DATA_ID = "incident-export"
_END = re.compile(r"<!-- sha256 of everything before this comment: ([0-9a-f]{64}) -->\s*\Z")
_DATA = re.compile(rf'<script type="application/json" id="{DATA_ID}">\n(.*?)\n</script>', re.DOTALL)
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2937; --quiet: #64748b; --grid: #e2e8f0; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e7eb; --quiet: #94a3b8; --grid: #334155; --paper: #111827; } }
@media print { :root { --ink: #000; --quiet: #444; --grid: #bbb; --paper: #fff; } }
body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; break-after: avoid; }
.quiet { color: var(--quiet); } .wide { overflow-x: auto; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } tr { break-inside: avoid; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--grid); }
hr { border: 0; border-top: 1px dotted var(--grid); } code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
"""
_ROWSOF_BUCKETS = 60


class UnreadablePage(ValueError):
    """Not a page that was made here."""


def as_html(exported: Mapping[str, Any]) -> str:
    """The same page for the same export."""
    incident = exported["incident"]
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(incident['title'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(incident['title'])}</h1>",
        f'<p class="quiet">Incident <code>{_text(incident["id"])}</code>, exported {_at(exported["exported_at"])} '
        f"from {_text(exported['product']['url'])}. All times are UTC.</p>",
        f"<p>{_text(SENTENCE)}</p>" if exported["is_masked"] else "",
        f"<p>{_text(sentence(exported))}</p>",
        _section("Summary", _pairs(_summary(exported))),
        _section("Around the onset", _plot(exported)),
        _section("Buckets", _buckets(exported)),
        _section("Labels", _pairs(exported["labels"].items())),
        _section("Evidence", _pairs(exported["evidence"].items())),
        _section("Monitor", _pairs((exported["monitor"] or {}).items())),
        _section("Experiment", _pairs((exported["experiment"] or {}).items())),
        _section(
            "Flags", _table(("kind", "why", "who", "since", "until", "ended_at"), _flags(exported["flags"]))
        ),
        _section("What happened", _events(exported["events"])),
        _section("Who was told", _deliveries(exported["deliveries"])),
        _section("Checking this page", _checking(exported)),
        f'<script type="application/json" id="{DATA_ID}">\n{_embedded(exported)}\n</script>',
        "</body></html>\n",
    ]
    text = "\n".join(part for part in parts if part)
    return f"{text}<!-- sha256 of everything before this comment: {_sha256(text)} -->\n"


def data_in(page: str) -> tuple[dict[str, Any], bool]:
    """The export in a page, and whether the page is as it was made. Raises UnreadablePage."""
    found = _DATA.findall(page)
    if len(found) != 1:
        raise UnreadablePage("The page has no data of an incident in it, or more than one.")
    try:
        exported = json.loads(found[0])
    except (ValueError, RecursionError):
        raise UnreadablePage("The data in the page are not JSON any more.") from None
    if not isinstance(exported, dict):
        raise UnreadablePage("The data in the page are not an export.")
    end = _END.search(page)
    return exported, end is not None and _sha256(page[: end.start()]) == end[1]


def _summary(exported: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    incident, times = exported["incident"], exported["times"]
    yield from ((name, incident[name]) for name in ("state", "severity", "resolution", "usefulness"))
    yield from ((name, _at(incident[name])) for name in ("onset_at", "opened_at", "resolved_at"))
    for name, words in (
        ("detect", "found after"),
        ("acknowledge", "acknowledged after"),
        ("resolve", "resolved after"),
    ):
        seconds = times[f"to_{name}_seconds"]
        yield words, None if seconds is None else wording.seconds(seconds)
    effect = exported["effect"]
    ordered = [*EFFECT, *(name for name in effect if name not in EFFECT)]
    yield from ((EFFECT.get(name, name), effect.get(name)) for name in ordered)
    yield from incident["annotations"].items()


def _plot(exported: Mapping[str, Any]) -> str:
    buckets = [one for one in exported["evaluations"]["buckets"] if one["mean"] is not None]
    if not buckets:
        return ""
    points = [_point(one, buckets) for one in buckets]
    incident = exported["incident"]
    onset, found = _unix(incident["onset_at"]), _unix(incident["opened_at"])
    end = max(_unix(buckets[-1]["bucket_at"]), found)
    last = min(end, _unix(incident["resolved_at"])) if incident["resolved_at"] else end
    text = f"Began {_at(incident['onset_at'])}, found {_at(incident['opened_at'])}"
    return drawn(
        points,
        [Span(max(onset, points[0].at), max(found, points[0].at), max(last, points[0].at), text)],
        title=incident["title"],
        unit=f"{measured(exported)}, by bucket",
        zone=ZoneInfo("UTC"),
        watched_from=points[0].at,
        end_at=max(end, points[0].at + 1),
    )


def _point(bucket: Mapping[str, Any], buckets: Sequence[Mapping[str, Any]]) -> Point:
    usual = bucket["expected"] if bucket["expected"] is not None else buckets[0]["mean"]
    value = bucket["mean"] if bucket["n"] else None
    return Point(_unix(bucket["bucket_at"]), value, usual, bucket["log_evidence"])


def _buckets(exported: Mapping[str, Any]) -> str:
    """Those nearest to the end; the rest is in the data."""
    buckets = exported["evaluations"]["buckets"]
    if not buckets:
        return ""
    titles = {**OF_BUCKETS, "mean": measured(exported)}
    shown = _table(tuple(titles), buckets[-_ROWSOF_BUCKETS:], titles)
    rest = len(buckets) - _ROWSOF_BUCKETS
    return shown + (f'<p class="quiet">{rest} earlier ones are in the data.</p>' if rest > 0 else "")


def _flags(flags: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**one, "who": one["who"] or OURSELVES} for one in flags]


def _events(events: Sequence[Mapping[str, Any]]) -> str:
    named = [{**_sealed(one), "actor": actor_of(one)} for one in events]
    return _table(("seq", "at", "kind", "actor", "details", "hash"), named)


def _deliveries(deliveries: Sequence[Mapping[str, Any]]) -> str:
    names = ("channel", "kind", "status", "reason", "because", "created_at", "delivered_at", "attempts")
    return _table(names, deliveries)


def _checking(exported: Mapping[str, Any]) -> str:
    return (
        "<p>Each event is sealed by the hash of all before it; the last one is "
        f"<code>{_text(exported['head'])}</code>. Every message that was sent carries the hash of the event that it tells."
        " <code>bin/manage alerts verify FILE</code> checks this file, and compares it with the database. The hashes need no key: "
        "that somebody wrote the whole file anew is shown only by that comparison, or by the hash in a message.</p>"
    )


def _section(title: str, body: str) -> str:
    return f'<section><h2>{_text(title)}</h2><div class="wide">{body}</div></section>' if body else ""


def _pairs(pairs: Iterable[tuple[str, Any]]) -> str:
    rows = "".join(
        f"<tr><th>{_text(name.replace('_', ' '))}</th><td>{_cell(value)}</td></tr>"
        for name, value in pairs
        if value not in (None, "", [], {})
    )
    return f"<table>{rows}</table>" if rows else ""


def _table(
    names: Sequence[str], rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str] | None = None
) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{_text((titles or {}).get(name, name.replace('_', ' ')))}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(_shown(name, row[name]))}</td>' for name in names)}</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _shown(name: str, value: Any) -> Any:
    return _at(value) if name.endswith("_at") or name in {"at", "since", "until"} else value


def _sealed(event: Mapping[str, Any]) -> dict[str, Any]:
    """In pieces, so that it can be broken between them."""
    return {**event, "hash": " ".join(re.findall(".{1,16}", event["hash"]))}


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        known = {name: one for name, one in value.items() if one not in (None, "", [], {})}
        return "<br>".join(f"{_text(name)}: {_inner(one)}" for name, one in known.items())
    if isinstance(value, list):
        is_flat = not any(isinstance(one, dict | list) for one in value)
        return (", " if is_flat else "<hr>").join(map(_cell, value))
    return _text(f"{value:.6g}" if isinstance(value, float) else str(value))


def _inner(value: Any) -> str:
    return f"({_cell(value).replace('<br>', '; ')})" if isinstance(value, dict) else _cell(value)


def _at(text: str | None) -> str:
    return "" if text is None else f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _embedded(exported: Mapping[str, Any]) -> str:
    """JSON in which nothing can end the element: < stands as an escape, which is the same to a reader of JSON."""
    text = json.dumps(exported, ensure_ascii=False, allow_nan=False, indent=1)
    return text.replace("<", "\\u003c")


def _text(text: object) -> str:
    return html.escape(str(text))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
