"""What is wrong with a condition, and where."""


class InvalidCondition(ValueError):
    """path: where, such as `$or[1].country.$in`, empty for the condition itself. problem: what, and how to mend it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


def joined(path: str, name: str) -> str:
    """The path of what stands under a name at that path."""
    return f"{path}.{name}" if path else name
