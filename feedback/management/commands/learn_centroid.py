from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.utils import timezone

from feedback import embeddings
from feedback.models import EmbeddingCentroid


class Command(BaseCommand):
    help = "Learn the usual direction of embeddings anew: distances measured before and after are not comparable."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--model", help="The embedding model; without it, all that have a centroid.")

    def handle(self, *args: Any, **options: Any) -> None:
        known = EmbeddingCentroid.objects.order_by("embedding_model").values_list(
            "embedding_model", flat=True
        )
        models = list(known.distinct()) if options["model"] is None else [options["model"]]
        if not models:
            raise CommandError(f"No model has {embeddings.LEARN_FROM} embeddings yet.")
        for model in models:
            try:
                learned = embeddings.relearn(model, timezone.now())
            except embeddings.TooFewEmbeddings as error:
                raise CommandError(f"{model!r}: {error}") from error
            for centroid in learned:
                self.stdout.write(f"{centroid}: learned from {centroid.n} embeddings.")
