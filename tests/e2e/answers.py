"""The real answers beside the project as facts, and what statistics over them must be."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "llm_answers.jsonl.gz"
VARIANTS = {"gpt4_1106_preview": "gpt-4", "claude-2": "claude-2", "llama-2-70b-chat-hf": "llama2-70b"}
LANGUAGES = ("en", "es", "de")


@dataclass
class Facts:
    """What is to be sent, in the order of the file."""

    responses: list[dict[str, Any]] = field(default_factory=list)
    quality: list[dict[str, Any]] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)


def _lines() -> Iterator[dict[str, Any]]:
    if not FILE.exists():
        pytest.skip("the real answers (shared/data/llm_answers.jsonl.gz) are not beside the project")
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def facts(now: datetime) -> Facts:
    """Three models as three variants, `win` as a quality metric, half of the wins and losses also as feedback."""
    found = Facts()
    for number, line in enumerate(_lines()):
        response_id = f"{line['instruction_id']}:{line['model']}"
        variant = VARIANTS[line["model"]]
        at = (now - timedelta(seconds=60 * number)).isoformat()
        found.responses.append(
            {
                "response_id": response_id,
                "occurred_at": at,
                "endpoint": "/answer",
                "model": line["model"],
                "experiment": "llm_model_ab_test",
                "variant": variant,
                "unit": line["instruction_id"],
                "output_tokens": len(line["output"].split()),
                "latency_seconds": 0.2 + len(line["output"]) / 1500,
                "attributes": {"language": LANGUAGES[number % 3], "category": line["category"]},
                "prompt": line["instruction"],
                "answer": line["output"],
            }
        )
        found.quality.append(
            {
                "response_id": response_id,
                "evaluator_kind": "llm_judge",
                "evaluator_name": "reference-judge",
                "metrics": {"win": line["win"]},
            }
        )
        if line["win"] in {0.0, 1.0} and number % 2 == 0:
            found.feedback.append(
                {
                    "response_id": response_id,
                    "user_id": f"user-{number}",
                    "feedback_type": "positive" if line["win"] else "negative",
                    "rating": 5 if line["win"] else 1 + number % 3,
                    "comment": "" if number % 3 else "seen, thank you",
                }
            )
    return found


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
