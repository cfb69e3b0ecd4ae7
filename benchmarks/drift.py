"""False alarms per budget and delays of the product's drift detectors, and what others make of the same streams.

A budget is one false alarm in 2000 checks, of all monitors of a row together. met: on average at most 1, with a 95 % upper
bound of at most 1.2; a delay of at most 1.15 times that of the design's independent simulation. unsettled: the simulation is
too short to say. MISSED: neither. Delays count from a detector that knows nothing yet, in checks, the alarm's own included;
">" when some streams ended without an alarm.

river (ADWIN, PageHinkley, KSWIN) is not part of the product's environment. For its columns:
  python3 -m venv /tmp/peers && /tmp/peers/bin/pip install river==0.26.1
  PEERS_PYTHON=/tmp/peers/bin/python benchmarks/drift
"""

import argparse
import os
import sys
import time
from collections import Counter

from benchmarks.drifting import peers
from benchmarks.drifting.results import MOST_DELAY, Delay, Result, simulated
from benchmarks.drifting.rows import rows


def shown(delay: Delay | None) -> str:
    if delay is None:
        return "–"
    if delay.misses == len(delay.checks):
        return f">{delay.most}"
    return f"{'>' if delay.misses else ''}{delay.mean:.1f}"


def line(label: str, own: str, goal: str, verdict: str, others: list[str]) -> str:
    return f"  {label:24} {own:>16} {goal:>8}  {verdict:10}" + "".join(f"{one:>12}" for one in others)


def lines(result: Result) -> list[str]:
    alarms = result.alarms
    found = [f"\n{result.row.title}  [{result.row.key}: {len(alarms.counts)} runs]"]
    others = [f"{result.others[name]:.2f}" if name in result.others else "–" for name in peers.NAMES]
    found.append(
        line(
            "false alarms per budget",
            f"{alarms.mean:.2f} (≤ {alarms.bound:.2f})",
            "≤ 1",
            alarms.verdict,
            others,
        )
    )
    for change in result.row.changes:
        delay = result.delays[change.label]
        goal = "" if change.goal is None else f"≤ {MOST_DELAY * change.goal:.1f}"
        each = result.delays_of_others.get(change.label, {})
        found.append(
            line(
                f"delay, {change.label}",
                shown(delay),
                goal,
                delay.verdict(change.goal),
                [shown(each.get(name)) for name in peers.NAMES],
            )
        )
    return found


def verdicts(results: list[Result]) -> Counter[str]:
    """Of all goals."""
    found: Counter[str] = Counter()
    for result in results:
        found[result.alarms.verdict] += 1
        for change in result.row.changes:
            if change.goal is not None:
                found[result.delays[change.label].verdict(change.goal)] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, help="runs of each row at most (default: each one's own, 8 to 200)"
    )
    parser.add_argument("--peer-runs", type=int, default=3, help="runs of the others; 0 leaves them out")
    parser.add_argument("--only", action="append", default=[], help="a part of a row's key; may be repeated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    chosen = [row for row in rows() if not arguments.only or any(part in row.key for part in arguments.only)]
    python = os.environ.get("PEERS_PYTHON", sys.executable)
    with_river = arguments.peer_runs > 0 and peers.has_river(python)
    if arguments.peer_runs and not with_river:
        print(f"{python} has no river, so its columns are empty: see --help")
    print(line("", "ours", "goal", "", list(peers.NAMES)))
    began = time.monotonic()
    results: list[Result] = []
    for result in simulated(
        chosen,
        seed=arguments.seed,
        runs=arguments.runs,
        peer_runs=arguments.peer_runs,
        python=python if with_river else None,
        processes=arguments.processes,
    ):
        results.append(result)
        print("\n".join(lines(result)), flush=True)
    summary = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts(results).items()))
    print(f"\nseed {arguments.seed}, {time.monotonic() - began:.0f} s, goals: {summary}")


if __name__ == "__main__":
    main()
