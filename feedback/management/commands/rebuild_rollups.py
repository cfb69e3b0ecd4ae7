from typing import Any

from django.core.management import BaseCommand
from django.utils import timezone

from feedback import rollups


class Command(BaseCommand):
    help = "Count all facts anew, for instance after the database was restored into a new cluster."

    def handle(self, *args: Any, **options: Any) -> None:
        rollups.rebuild()
        count = rollups.roll_up(timezone.now())
        self.stdout.write(f"Counted {count} facts anew.")
