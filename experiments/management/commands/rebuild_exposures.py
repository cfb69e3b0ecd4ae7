"""Collect all exposed units anew, for instance after a restore or a change of TRIAGEOPS_SLICE_ATTRIBUTES."""

from typing import Any

from django.core.management import BaseCommand
from django.utils import timezone

from experiments.exposures import collect


class Command(BaseCommand):
    help = "Collect exposed units anew from the facts. Looks that were made stay as they are."

    def handle(self, *args: Any, **options: Any) -> None:
        collect.rebuild()
        count = collect.collect(timezone.now())
        self.stdout.write(f"{count} responses were collected.")
