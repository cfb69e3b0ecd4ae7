import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that PostgreSQL's own account may pass through when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="triageops-e2e-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)
