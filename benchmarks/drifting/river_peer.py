"""river's detectors over streams of values, with their defaults. Run by a Python that has river; needs numpy besides.

Arguments: a file of numpy (npz) with arrays "0", "1", ...; JSON with `shown` (of each array, how many values belong to the
reference), `is_first_enough` (stop at the first alarm after those), `most` values and `runs` (detector -> how many at most).
Prints JSON: name of the detector -> for each array the positions of the values that raised an alarm.
"""

import importlib
import json
import sys
from typing import Any

import numpy as np


def detectors() -> dict[str, Any]:
    drift = importlib.import_module("river.drift")
    return {
        "ADWIN": drift.ADWIN(),
        "PageHinkley": drift.PageHinkley(),
        "KSWIN": drift.KSWIN(seed=1),
    }


def alarms(detector: Any, values: list[float], shown: int, *, is_first_enough: bool) -> list[int]:
    found = []
    for position, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(position)
            if is_first_enough and position >= shown:
                break
    return found


def main() -> None:
    options = json.loads(sys.argv[2])
    found: dict[str, list[list[int]]] = {}
    with np.load(sys.argv[1]) as arrays:
        for number, shown in enumerate(options["shown"]):
            values = arrays[str(number)].tolist()
            for name, detector in detectors().items():
                if number >= options["runs"].get(name, len(options["shown"])):
                    continue
                own = values[: options["most"].get(name)]
                raised = alarms(detector, own, shown, is_first_enough=options["is_first_enough"])
                found.setdefault(name, []).append(raised)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
