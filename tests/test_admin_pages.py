"""Every page of every registered model opens, and none asks the database more than ten times."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from feedback import ingest
from feedback.models import ApiKey
from feedback.shapes import FeedbackShape, QualityShape
from feedback.tables import FEEDBACK, QUALITY_RECORDS
from tests.browser import world

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
MOST_QUERIES = 10


def name_of(model: type[Model]) -> str:
    return model._meta.label_lower.replace(".", "_")


@pytest.fixture
def full(transactional_db: None) -> None:
    """At least one row of every kind, and several where rows could each cost a query."""
    now = timezone.now()
    world.everything(now, days=0.5)
    Group.objects.create(name="readers")
    key = ApiKey.objects.get()
    for number in range(3):
        world.api_key(now, f"client-{number}")
        shape = QualityShape(
            response_id="r-1-0",
            evaluator_kind="human",
            evaluator_name=f"nurse-{number}",
            metrics={"tone": 0.5},
        )
        ingest.record(QUALITY_RECORDS, shape, key.pk, now)
    for rating in (5, 3, 1):
        changed = FeedbackShape(
            response_id="r-1-0", feedback_type="neutral", rating=rating, user_id="user-1", source="web"
        )
        ingest.record(FEEDBACK, changed, key.pk, now)


def open_within_limit(client: Client, address: str) -> None:
    client.get(address)
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(address)
    assert answer.status_code == 200, address
    said = "\n".join(query["sql"][:200] for query in queries)
    assert len(queries) <= MOST_QUERIES, f"{address}: {len(queries)} queries\n{said}"


def test_pages_of_every_model_open_within_ten_queries(admin_client: Client, full: None) -> None:
    for model in MODELS:
        open_within_limit(admin_client, reverse(f"admin:{name_of(model)}_changelist"))


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_change_form_opens_within_ten_queries(admin_client: Client, full: None, model: type[Model]) -> None:
    row = admin.site._registry[model].get_queryset(admin_client.get("/admin/").wsgi_request).first()
    assert row is not None, f"tests/browser/world.py makes no {model._meta.verbose_name}"
    open_within_limit(admin_client, reverse(f"admin:{name_of(model)}_change", args=[row.pk]))


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_add_form_opens_within_ten_queries_or_is_refused(admin_client: Client, model: type[Model]) -> None:
    address = reverse(f"admin:{name_of(model)}_add")
    request = admin_client.get("/admin/").wsgi_request
    if admin.site._registry[model].has_add_permission(request):
        open_within_limit(admin_client, address)
    else:
        assert admin_client.get(address).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_changelist_empty_opens(admin_client: Client, model: type[Model]) -> None:
    open_within_limit(admin_client, reverse(f"admin:{name_of(model)}_changelist"))
