"""The admin as a browser uses it: addresses, what a form sends, what a reader sees."""

import re
from html import unescape
from typing import Any

from django.utils.html import strip_tags

from experiments.models import Experiment

LIST = "/admin/experiments/experiment/"
ADD = "/admin/experiments/experiment/add/"
ASSIGNMENTS = "/admin/experiments/assignment/"
IMPORT = "/admin/experiments/experiment/import/"
LAYERS = "/admin/experiments/layer/"
HOLDOUT = "/admin/experiments/holdout/"
ARMS = [("gpt-4", "50", True), ("claude-2", "30", False), ("llama2-70b", "20", False)]


def page(experiment: Experiment, action: str = "change") -> str:
    return f"{LIST}{experiment.pk}/{action}/"


def text(answer: Any) -> str:
    """What a reader sees: no tags, single spaces."""
    body = re.sub(r"(?s)<(script|style|head).*?</\1>", "", answer.content.decode())
    return re.sub(r"\s+", " ", unescape(strip_tags(body)))


def form(
    arms: list[tuple[str, str, bool]], experiment: Experiment | None = None, **changes: Any
) -> dict[str, Any]:
    """What a browser sends for an experiment with these (key, weight in %, is control); known keys are edited rows."""
    known = {} if experiment is None else {row.key: row for row in experiment.variants.all()}
    rows = sorted(arms, key=lambda arm: arm[0] not in known)
    data = {
        "key": "llm_model_ab_test",
        "name": "Which model",
        "unit_kind": "user",
        "coverage_bp": "100",
        "layer_share_bp": "100",
        "obeys_holdout": "on",
        "design": "always_valid",
        "alpha": "5",
        "correction": "holm",
        "minimum_sample": "100",
        "minimum_days": "7",
        "bandit_floor_bp": "5",
        "bandit_hours": "24",
        "seen_version": "" if experiment is None else experiment.version,
        "variants-TOTAL_FORMS": len(rows),
        "variants-INITIAL_FORMS": sum(arm[0] in known for arm in rows),
        "metrics-TOTAL_FORMS": 0,
        "metrics-INITIAL_FORMS": 0,
        "ramp-TOTAL_FORMS": 0,
        "ramp-INITIAL_FORMS": 0,
    }
    for number, (key, weight, is_control) in enumerate(rows):
        data |= {f"variants-{number}-key": key, f"variants-{number}-weight_bp": weight}
        data |= {f"variants-{number}-config": f'{{"model": "{key}"}}'}
        data |= {f"variants-{number}-is_control": "on"} if is_control else {}
        if key in known:
            data |= {
                f"variants-{number}-id": known[key].pk,
                f"variants-{number}-experiment": known[key].experiment_id,
            }
    return data | changes


def metric(number: int = 0, row: Any = None, **changes: Any) -> dict[str, Any]:
    """One row of metrics, as a browser sends it; `row` is the stored one."""
    fields = {
        "preset": "", "key": "", "name": "", "role": "secondary", "kind": "ratio", "source": "", "per": "value",
        "better": "higher", "margin": "0.0", "cap": "", "window_days": "", "quantile": "", "worth": "", "is_adjusted": "on",
        "halts": "on", "alpha": "",
    } | changes  # fmt: skip
    sent = {f"metrics-{number}-{name}": value for name, value in fields.items()}
    if row is not None:
        sent |= {f"metrics-{number}-id": row.pk, f"metrics-{number}-experiment": row.experiment_id}
    return sent
