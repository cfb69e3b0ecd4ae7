import ast

from tests.project.tree import PACKAGES, ROOT


def test_demo_talks_to_the_product_over_http_only() -> None:
    """It is the proof that a client needs nothing of ours."""
    found = {
        (name.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for path in (ROOT / "demo").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert "demo" in found
    assert found & {*PACKAGES, "django", "psycopg2", "redis", "celery"} == set()
