"""Bring an empty installation to life: tables, the first admin, the first API key. Safe to repeat."""

import os
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, call_command
from django.db import connection

from feedback.models import ALL_SCOPES, ApiKey

# Two starts at the same time must not make two admins; any number that nothing else uses.
_LOCK = 7_246_311


class Command(BaseCommand):
    help = "Migrate, and create the first admin and the first API key where there are none."

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            try:
                call_command("migrate", interactive=False, verbosity=0)
                self._first_admin()
                self._first_key()
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])

    def _first_admin(self) -> None:
        users = get_user_model().objects
        if users.filter(is_superuser=True).exists():
            return
        given = os.environ.get("TRIAGEOPS_ADMIN_PASSWORD", "")
        password = given or secrets.token_urlsafe(12)
        users.create_superuser("admin", password=password)
        shown = "the password you gave in TRIAGEOPS_ADMIN_PASSWORD" if given else f"password {password}"
        self.stdout.write(f"First admin: user admin, {shown}")

    def _first_key(self) -> None:
        if ApiKey.objects.exists():
            return
        given = os.environ.get("TRIAGEOPS_API_KEY", "")
        secret = given or ApiKey.new_secret()
        key = ApiKey(name="first key", scopes=list(ALL_SCOPES))
        key.take_secret(secret)
        key.save()
        if settings.IS_DEMO:
            # bin/up made it, and says where it is.
            return
        shown = "the one you gave in TRIAGEOPS_API_KEY" if given else f"{secret}   (shown only now)"
        self.stdout.write(f"First API key: {shown}")
