from typing import Any

import pytest
from django.core.exceptions import ValidationError

from monitoring.models import Monitor
from tests.monitoring.factories import make_metric

pytestmark = pytest.mark.django_db

VALUES: dict[str, Any] = {
    "name": "compared",
    "kind": "distribution",
    "metric": "helpfulness",
    "reference_mode": "variant",
    "control": {"variant": "a"},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"split_by": ["variant"]}, "split by “variant”"),
        ({"where": {"variant": "a"}}, "the records that are watched"),
        ({"where": {"variant": "a", "model": "m"}}, "the records that are watched"),
        ({"where": {"language": "de"}, "control": {"channel": "web"}}, "one attribute at a time"),
        ({"split_by": ["language"], "control": {"channel": "web"}}, "one attribute at a time"),
    ],
)
def test_control_that_cannot_be_compared_is_refused(changes: dict[str, Any], words: str) -> None:
    make_metric()
    with pytest.raises(ValidationError) as refused:
        Monitor(**VALUES | changes).clean()
    assert list(refused.value.message_dict) == ["control"]
    assert words in refused.value.message_dict["control"][0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"where": {"variant": "b"}},
        {"where": {"variant": "b", "model": "m"}, "control": {"variant": "a", "model": "m"}},
        {"where": {"language": "de"}, "control": {"language": "en"}},
        {"where": {"language": "de"}, "split_by": ["endpoint"]},
    ],
)
def test_control_of_other_records_is_accepted(changes: dict[str, Any]) -> None:
    make_metric()
    Monitor(**VALUES | changes).full_clean()
