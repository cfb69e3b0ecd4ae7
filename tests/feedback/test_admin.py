import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from uuid_utils.compat import uuid7

from feedback import ingest
from feedback.authentication import grant_of
from feedback.models import ApiKey, FactKind, Feedback, LedgerEntry, QualityMetric, Response, Scope
from feedback.shapes import FeedbackShape, ResponseShape
from feedback.tables import FEEDBACK, RESPONSES
from triageops.admin import EstimatedPaginator

pytestmark = pytest.mark.django_db


@pytest.fixture
def key() -> ApiKey:
    made = ApiKey(name="triage-api", scopes=[Scope.RESPONSES_WRITE.value])
    made.take_secret(ApiKey.new_secret())
    made.save()
    return made


def respond(key: ApiKey, response_id: str, days_ago: float = 0.0, **fields: Any) -> Response:
    now = timezone.now() - timedelta(days=days_ago)
    ingest.record(RESPONSES, ResponseShape(response_id=response_id, **fields), key.pk, now)
    return Response.objects.get(response_id=response_id)


def give_feedback(key: ApiKey, response_id: str, **fields: Any) -> Feedback:
    given = {"response_id": response_id, "feedback_type": "negative", "user_id": "u"} | fields
    item = FeedbackShape(**given)
    ingest.record(FEEDBACK, item, key.pk, timezone.now())
    return Feedback.objects.get(response_id=response_id, user_id="u")


def listed(client: Client, model: str, query: str = "") -> str:
    answer = client.get(reverse(f"admin:feedback_{model}_changelist") + query)
    assert answer.status_code == 200
    html = answer.content.decode()
    return html[html.index('id="changelist"') :]


def opened(client: Client, model: str, pk: object) -> str:
    answer = client.get(reverse(f"admin:feedback_{model}_change", args=[pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def add_key(client: Client, **changes: Any) -> Any:
    given = {"name": "web", "scopes": [Scope.FEEDBACK_WRITE.value], "requests_per_minute": "60"} | changes
    return client.post(reverse("admin:feedback_apikey_add"), given)


def test_api_key_added_is_shown_once_and_works(admin_client: Client) -> None:
    answer = add_key(admin_client)
    (secret,) = re.findall(r'id="new-api-key">([^<]+)<', answer.content.decode())
    key = ApiKey.objects.get()
    grant, _ = grant_of(secret, timezone.now())
    assert grant is not None
    assert grant.scopes == {Scope.FEEDBACK_WRITE}
    assert "no-store" in answer["Cache-Control"]
    assert "data-copy" in answer.content.decode()
    for page in (listed(admin_client, "apikey"), opened(admin_client, "apikey", key.pk)):
        assert secret not in page
        assert key.digest not in page
        assert key.prefix in page


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": []},
        {"scopes": ["everything:write"]},
        {"name": ""},
        {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
    ],
    ids=["no scope", "unknown scope", "no name", "expired already"],
)
def test_api_key_with_a_mistake_is_not_made(admin_client: Client, changes: dict[str, Any]) -> None:
    answer = add_key(admin_client, **changes)
    assert "new-api-key" not in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_api_key_changed_keeps_its_secret(admin_client: Client, key: ApiKey) -> None:
    given = {"name": "renamed", "scopes": [Scope.LEDGER_READ.value], "requests_per_minute": ""}
    admin_client.post(reverse("admin:feedback_apikey_change", args=[key.pk]), given)
    changed = ApiKey.objects.get()
    assert (changed.name, changed.scopes, changed.digest) == ("renamed", [Scope.LEDGER_READ], key.digest)


@pytest.mark.django_db(transaction=True)
def test_api_key_revoke_asks_first_then_refuses_the_key(admin_client: Client) -> None:
    secret = re.findall(r'id="new-api-key">([^<]+)<', add_key(admin_client).content.decode())[0]
    key = ApiKey.objects.get()
    assert grant_of(secret, timezone.now())[0] is not None
    address = reverse("admin:feedback_apikey_revoke", args=[key.pk])
    asked = admin_client.get(address).content.decode()
    assert "Revoke this key?" in asked
    assert "cannot be undone" in asked
    assert ApiKey.objects.get().revoked_at is None

    done = admin_client.post(address, {"_form_submitted": "True"})
    assert done["HX-Redirect"] == reverse("admin:feedback_apikey_changelist")
    assert grant_of(secret, timezone.now())[0] is None
    assert LogEntry.objects.filter(object_id=key.pk, change_message__contains="Revoked").exists()


def test_api_key_revoked_can_only_be_looked_at(admin_client: Client, key: ApiKey) -> None:
    ApiKey.objects.update(revoked_at=timezone.now())
    page = opened(admin_client, "apikey", key.pk)
    assert "revoked" in page
    assert 'name="scopes"' not in page
    address = reverse("admin:feedback_apikey_revoke", args=[key.pk])
    assert address not in page
    given = {"name": "again", "scopes": [Scope.LEDGER_READ.value]}
    assert admin_client.post(reverse("admin:feedback_apikey_change", args=[key.pk]), given).status_code == 403


def test_api_key_page_of_no_key_is_not_found(admin_client: Client) -> None:
    assert admin_client.get("/admin/feedback/apikey/x/change/").status_code in {302, 404}


def test_api_key_cannot_be_deleted(admin_client: Client, key: ApiKey) -> None:
    address = reverse("admin:feedback_apikey_delete", args=[key.pk])
    assert admin_client.post(address, {"post": "yes"}).status_code == 403
    assert ApiKey.objects.exists()


def save_metric(client: Client, **changes: Any) -> str:
    given = {
        "key": "tone",
        "kind": "bounded",
        "direction": "higher",
        "unit": "",
        "low": "0",
        "high": "1",
    } | changes
    answer = client.post(reverse("admin:feedback_qualitymetric_add"), given)
    return "" if answer.status_code == 302 else answer.content.decode()


def test_metric_bounded_with_bounds_is_saved(admin_client: Client) -> None:
    assert save_metric(admin_client) == ""
    assert QualityMetric.objects.get(key="tone").bounds == (0.0, 1.0)


@pytest.mark.parametrize(("given", "expected"), [("", 0.5), ("0.7", 0.7), ("1", 1.0)])
def test_metric_line_of_good_is_saved_or_the_middle(
    admin_client: Client, given: str, expected: float
) -> None:
    assert save_metric(admin_client, good_from=given) == ""
    assert QualityMetric.objects.get(key="tone").good_line == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"high": ""}, "A bounded score needs both bounds."),
        ({"low": "1", "high": "1"}, "Must be larger than the smallest value, 1.00."),
        ({"kind": "rate"}, "Only a bounded score has bounds; leave this empty."),
        ({"low": "nan"}, "Enter a number."),
        ({"good_from": "1.5"}, "Must lie within the bounds, 0 to 1.00."),
        (
            {"kind": "rate", "low": "", "high": "", "good_from": "-1"},
            "Must lie within the bounds, 0 to 1.00.",
        ),
    ],
)
def test_metric_with_wrong_bounds_is_refused_at_the_field(
    admin_client: Client, changes: dict[str, str], said: str
) -> None:
    assert said in save_metric(admin_client, **changes)
    assert not QualityMetric.objects.filter(key="tone").exists()


def test_metrics_discovered_ones_come_first_with_a_badge(admin_client: Client) -> None:
    QualityMetric.objects.create(key="zeal")
    page = listed(admin_client, "qualitymetric")
    assert page.index("zeal") < page.index("cache_hit")
    assert "classify" in page


@pytest.mark.parametrize("model", ["response", "qualityrecord", "feedback", "ledgerentry"])
def test_facts_cannot_be_added_by_hand(admin_client: Client, model: str) -> None:
    assert admin_client.get(reverse(f"admin:feedback_{model}_add")).status_code == 403


def test_facts_cannot_be_changed_or_deleted(admin_client: Client, key: ApiKey) -> None:
    response = respond(key, "r-1", model="gpt-4")
    change = reverse("admin:feedback_response_change", args=[response.pk])
    assert admin_client.post(change, {"model": "other"}).status_code == 403
    delete = reverse("admin:feedback_response_delete", args=[response.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    assert Response.objects.get().model == "gpt-4"


def test_responses_list_shows_the_last_week_and_finds_old_ids(admin_client: Client, key: ApiKey) -> None:
    # The time in the primary key is when a row was made; the filter reads it, as the index does.
    response = Response.objects.get(pk=respond(key, "young-response").pk)
    response.pk, response.response_id = uuid.UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), "old-response"
    response.save(force_insert=True)
    respond(key, "new-response")
    page = listed(admin_client, "response")
    assert "new-response" in page
    assert "old-response" not in page
    assert "old-response" in listed(admin_client, "response", "?stored=ever")
    found = listed(admin_client, "response", "?q=old-")
    assert "old-response" in found
    assert "new-response" not in found


def test_response_page_shows_what_was_said_of_it(admin_client: Client, key: ApiKey) -> None:
    response = respond(key, "r-1", metrics={"helpfulness": 0.8125}, attributes={"language": "es"})
    feedback = give_feedback(key, "r-1", comment="my knee hurts")
    page = opened(admin_client, "response", response.pk)
    assert "0.812" in page
    assert "language" in page
    assert reverse("admin:feedback_feedback_change", args=[feedback.pk]) in page
    assert "my knee hurts" not in page


def test_response_content_is_shown_only_where_it_was_kept(admin_client: Client, key: ApiKey) -> None:
    response = respond(key, "r-1")
    assert "Content" not in re.findall(
        r"<h2[^>]*>\s*([^<]+?)\s*<", opened(admin_client, "response", response.pk)
    )
    response.pk, response.response_id, response.prompt, response.answer = (
        uuid7(),
        "r-2",
        "what helps?",
        "rest",
    )
    response.save(force_insert=True)
    assert "what helps?" in opened(admin_client, "response", response.pk)


def test_feedback_comment_is_on_its_own_page_only(admin_client: Client, key: ApiKey) -> None:
    feedback = give_feedback(key, "r-1", comment="my knee hurts")
    assert "my knee hurts" not in listed(admin_client, "feedback")
    assert "my knee hurts" in opened(admin_client, "feedback", feedback.pk)


def test_feedback_page_shows_its_history(admin_client: Client, key: ApiKey) -> None:
    give_feedback(key, "r-1", comment="first word")
    feedback = give_feedback(key, "r-1", comment="second word")
    page = opened(admin_client, "feedback", feedback.pk)
    assert "first word" in page
    assert "changed, revision 2" in page


def test_feedback_comment_with_markup_is_shown_as_text(admin_client: Client, key: ApiKey) -> None:
    feedback = give_feedback(key, "r-1", comment="<img src=x onerror=alert(1)>")
    assert "<img src=x" not in opened(admin_client, "feedback", feedback.pk)


def test_ledger_sums_the_shards_of_a_day_and_closes(admin_client: Client, key: ApiKey) -> None:
    day = timezone.now().date()
    for shard in range(3):
        LedgerEntry.objects.create(
            api_key=key,
            day=day,
            kind=FactKind.FEEDBACK,
            shard=shard,
            received_count=600 + shard,
            stored_count=500,
            repeated_count=100,
            rejected_count=shard,
        )
    page = listed(admin_client, "ledgerentry")
    cells = [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", page, re.DOTALL)]
    narrow = "\N{NARROW NO-BREAK SPACE}"
    assert [f"1{narrow}803", f"1{narrow}500", "300", "3", "closes"] == cells[-5:]
    assert page.count("closes</span>") == 1


def test_paginator_counts_small_tables_exactly_and_guesses_large_ones(key: ApiKey) -> None:
    for number in range(5):
        respond(key, f"r-{number}")
    rows = Response.objects.all()
    assert str(EstimatedPaginator(rows, 50).count) == "5"
    pages = EstimatedPaginator(rows, 2)
    pages.exact_limit = 3
    assert pages.count >= 4
    assert str(pages.count).startswith("about ")


def test_paginator_never_offers_pages_that_nobody_could_wait_for(key: ApiKey) -> None:
    for number in range(6):
        respond(key, f"r-{number}")
    pages = EstimatedPaginator(Response.objects.order_by("id"), 1)
    pages.page_limit = 4
    assert pages.num_pages == 4
