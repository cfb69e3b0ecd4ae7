"""Clients of the API with a key of their own."""

from django.test import Client

from feedback.models import ApiKey, Scope


def key(*scopes: Scope, **changes: object) -> str:
    """The secret of a new key."""
    secret = ApiKey.new_secret(scopes)
    row = ApiKey(**({"name": "test", "scopes": list(scopes)} | changes))
    row.take_secret(secret)
    row.save()
    return secret


def client(*scopes: Scope, **changes: object) -> Client:
    return Client(headers={"authorization": f"Bearer {key(*scopes, **changes)}"})
