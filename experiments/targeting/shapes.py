"""What the parts of a condition are by their shape."""

JUNCTIONS = ("$and", "$or", "$nor")
SCALARS = (str, int, float, type(None))
TYPES = ("array", "boolean", "null", "number", "object", "string")


def has_operators(value: object) -> bool:
    """Whether all names in an object are operators, as in {"$gt": 2}; an object without names is one, too."""
    return isinstance(value, dict) and all(name.startswith("$") for name in value)


def is_about_items(operand: object) -> bool:
    """Whether $elemMatch tests items themselves, not their fields."""
    return isinstance(operand, dict) and has_operators(operand) and operand.keys().isdisjoint(JUNCTIONS)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_of(value: object) -> str:
    """One of TYPES, for a value of JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"
