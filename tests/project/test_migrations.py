"""Migrations have names given by a person, one line of descent, and a way back."""

import re

import pytest
from django.db.migrations import Migration, RunPython, RunSQL
from django.db.migrations.loader import MigrationLoader

from tests.project.tree import PACKAGES

LOADER = MigrationLoader(None)
OURS: dict[str, Migration] = {
    f"{app}.{name}": migration
    for (app, name), migration in LOADER.disk_migrations.items()
    if type(migration).__module__.split(".")[0] in PACKAGES
}


def test_migrations_are_found() -> None:
    assert OURS


@pytest.mark.parametrize("name", OURS)
def test_migration_has_a_name_given_by_a_person(name: str) -> None:
    assert not re.search(r"_auto_\d|_alter_\w+_\w+_and_more|_and_more$", name)


@pytest.mark.parametrize("name", OURS)
def test_migration_can_be_reversed(name: str) -> None:
    one_way = [
        operation
        for operation in OURS[name].operations
        if isinstance(operation, RunPython | RunSQL) and not operation.reversible
    ]
    assert one_way == []


def _waits_briefly(statements: list[str]) -> bool:
    """Whether a limit for the wait is set before the first statement that locks a table out of use."""
    sql = "\n".join(statements)
    lock = re.search(r"(CREATE|DROP) TRIGGER|ALTER TABLE \w+ (ADD|DROP|ALTER)", sql)
    return lock is None or "lock_timeout" in sql[: lock.start()]


@pytest.mark.parametrize("name", OURS)
def test_migration_that_locks_an_existing_table_does_not_wait_for_long(name: str) -> None:
    written = [operation for operation in OURS[name].operations if isinstance(operation, RunSQL)]
    assert _waits_briefly([str(operation.sql) for operation in written])
    assert _waits_briefly([str(operation.reverse_sql) for operation in reversed(written)])


@pytest.mark.parametrize("app", sorted({name.split(".")[0] for name in OURS}))
def test_migrations_of_an_app_are_one_line(app: str) -> None:
    assert len(LOADER.graph.leaf_nodes(app)) == 1
