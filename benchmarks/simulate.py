"""How often each rule claims an effect, over seeded experiments, and how that compares with what was promised.

surely met: the whole 95 % interval keeps the goal. met: the estimate does. not refuted: it does not, but the interval
contains the goal. MISSED: not even that. Rules without a goal are what others do.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

from benchmarks import plots
from benchmarks.simulations import allocation, amounts, events, latency, power, returning, several
from benchmarks.simulations.scenario import Result, Scenario, simulated

FAMILIES = (events, amounts, returning, latency, several, allocation, power)


def scenarios() -> list[Scenario]:
    return [scenario for family in FAMILIES for scenario in family.scenarios()]


def percent(share: float) -> str:
    return f"{100 * share:.1f}" if share >= 0.01 or share == 0 else f"{100 * share:.2f}"


def lines(result: Result) -> list[str]:
    found = [f"\n{result.scenario.title}  [{result.scenario.key}: {result.runs:,} runs]"]
    for rule in result.firsts:
        interval = result.interval(rule)
        goal = result.scenario.goals.get(rule)
        found.append(
            f"  {rule:46} {percent(result.share(rule)):>5} %   {percent(interval.low):>5} … {percent(interval.high):<5}"
            f"  {100 * result.stopped_at(rule):4.0f} %   {'–' if goal is None else str(goal):9} {result.verdict(rule)}"
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, help="runs of each scenario (default: each one's own, 300 to 20 000)"
    )
    parser.add_argument(
        "--only", action="append", default=[], help="a part of a scenario's key; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--plots", type=Path, help="directory for the pictures")
    arguments = parser.parse_args()
    chosen = [
        scenario
        for scenario in scenarios()
        if not arguments.only or any(part in scenario.key for part in arguments.only)
    ]
    print(f"{'rule':48} claims    95 % interval    looks used   goal")
    began, results = time.monotonic(), {}
    for scenario in chosen:
        result = simulated(
            scenario, arguments.runs or scenario.runs, arguments.seed, processes=arguments.processes
        )
        results[scenario.key] = result
        print("\n".join(lines(result)), flush=True)
    verdicts = Counter(result.verdict(rule) for result in results.values() for rule in result.scenario.goals)
    summary = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
    print(f"\nseed {arguments.seed}, {time.monotonic() - began:.0f} s, goals: {summary}")
    if arguments.plots:
        plots.write(results, arguments.plots, arguments.seed)


if __name__ == "__main__":
    main()
