"""What may be said only once it is true."""

from collections.abc import Callable

from django.db import transaction


def after_commit(call: Callable[[], object]) -> None:
    """A roll-back must leave no trace in logs and counters either."""
    transaction.on_commit(lambda: call() and None)
