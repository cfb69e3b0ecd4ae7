"""Fields that people fill in: percentages with two decimals, and objects of JSON."""

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from experiments.assignment import BASIS_POINTS


def equal_weights(count: int) -> list[int]:
    """Basis points that sum to 10 000 and differ by at most one; the first arms get the rest."""
    share, rest = divmod(BASIS_POINTS, count)
    return [share + (position < rest) for position in range(count)]


class PercentField(forms.Field):
    """Shows and reads basis points as a percentage with at most two decimals."""

    default_error_messages = {
        "invalid": "Enter a percentage, such as 33.34.",
        "range": "Enter a percentage from 0 to 100.",
        "digits": "Enter at most two decimals; a unit is one of 10 000 buckets.",
    }

    def __init__(self, **options: Any) -> None:
        attributes = {"type": "number", "inputmode": "decimal", "min": "0", "max": "100", "step": "0.01"}
        super().__init__(widget=UnfoldAdminTextInputWidget(attributes), **options)

    def prepare_value(self, value: Any) -> Any:
        return f"{value / 100:g}" if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        try:
            basis_points = Decimal(str(value).strip()) * 100
        except InvalidOperation:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None
        if basis_points.is_nan():
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        if not 0 <= basis_points <= BASIS_POINTS:
            raise ValidationError(self.error_messages["range"], code="range")
        if basis_points != int(basis_points):
            raise ValidationError(self.error_messages["digits"], code="digits")
        return int(basis_points)

    def has_changed(self, initial: Any, data: Any) -> bool:
        # 12.50 and 12.5 are one number.
        try:
            return bool(initial != self.to_python(data))
        except ValidationError:
            return True


class ShareField(PercentField):
    """Shows and reads a share in [0, 1] as a percentage."""

    default_error_messages = {"digits": "Enter at most two decimals, such as 5 or 0.25."}

    def prepare_value(self, value: Any) -> Any:
        return f"{100 * value:g}" if isinstance(value, float) else value

    def to_python(self, value: Any) -> Any:
        basis_points = super().to_python(value)
        return None if basis_points is None else basis_points / BASIS_POINTS


def with_native_times(form: forms.BaseForm) -> None:
    """The browser's own fields for dates and times, where the admin's scripts are not on the page."""
    for field in form.fields.values():
        if isinstance(field, forms.SplitDateTimeField):
            for widget, kind in zip(field.widget.widgets, ("date", "time"), strict=True):
                widget.input_type = kind


class JsonField(forms.Field):
    """A JSON object, indented for people; empty text is `empty`, and wrong text comes back as it was."""

    def __init__(
        self,
        *,
        what: str = "config",
        placeholder: str = "",
        rows: int = 4,
        empty: Any = None,
        check: Callable[[Any], None] | None = None,
        **options: Any,
    ) -> None:
        self.what, self.empty, self.check = what, empty, check
        attributes = {"rows": rows, "spellcheck": "false", "placeholder": placeholder}
        widget = UnfoldAdminTextareaWidget(attributes)
        super().__init__(widget=widget, required=False, **options)
        widget.attrs["class"] += " ex-code"

    def prepare_value(self, value: Any) -> Any:
        if not value and not isinstance(value, str):
            return ""
        return json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict) else value

    def to_python(self, value: Any) -> Any:
        if not (value or "").strip():
            return None if self.empty is None else dict(self.empty)
        try:
            read = json.loads(value, object_pairs_hook=_refuse_repeated)
        except RecursionError:
            raise ValidationError(f"The {self.what} is nested too deep.") from None
        except ValueError as error:
            raise ValidationError(f"This is not JSON: {error}.") from None
        if self.check is not None:
            self.check(read)
        return read

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or None) != (self.to_python(data) or None))
        except ValidationError:
            return True


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A repeated name is a slip of the pen, and Python would silently keep the last one.
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the name {name!r} stands twice in one object")
    return dict(pairs)
