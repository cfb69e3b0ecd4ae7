"""Clients of the API, and what all refusals look like."""

from typing import Any

from django.test import Client

from feedback.models import ApiKey, Scope


def client_with(*scopes: Scope, name: str = "ci") -> Client:
    key = ApiKey(name=name, scopes=list(scopes))
    secret = ApiKey.new_secret()
    key.take_secret(secret)
    key.save()
    return Client(headers={"Authorization": f"Bearer {secret}"})


def writer() -> Client:
    return client_with(Scope.INCIDENTS_READ, Scope.MONITORS_WRITE)


def post(client: Client, path: str, body: Any = None, status: int = 200) -> dict[str, Any]:
    return _said(client.post(f"/api/v1/{path}", {} if body is None else body, "application/json"), status)


def patch(client: Client, path: str, body: Any, status: int = 200, *, seen: str = "") -> dict[str, Any]:
    headers = {"If-Match": seen} if seen else None
    return _said(client.patch(f"/api/v1/{path}", body, "application/json", headers=headers), status)


def get(client: Client, path: str, status: int = 200) -> dict[str, Any]:
    return _said(client.get(f"/api/v1/{path}"), status)


def _said(answer: Any, status: int) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert answer.status_code == status, body
    assert status < 400 or answer["Content-Type"] == "application/problem+json"
    return body
