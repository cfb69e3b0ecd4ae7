"""Statistics of feedback per group, and how much of the responses it covers."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import connection

from feedback.models import FeedbackRollup, FeedbackType
from feedback.stats.cuts import EVERY_RESPONSE, IN_WINDOW, Cut, Group, Window, window_values
from feedback.stats.quality import quality_stats
from feedback.tallies import UNMATCHED
from triageops.stats.interval import Interval, wilson


@dataclass(frozen=True)
class TypeStats:
    """Feedback of one type in one group."""

    count: int
    share: Interval | None
    average_rating: float | None
    rating_count: int
    comment_count: int


@dataclass(frozen=True)
class FeedbackStats:
    """Feedback on the responses of one group; `coverage` is the share of them that have any."""

    group: Group
    responses: int
    responses_with_feedback: int
    coverage: float | None
    coverage_interval: Interval | None
    by_type: dict[str, TypeStats]


def _responses(window: Window, cut: Cut) -> dict[Group, int]:
    return {stats.group: stats.n for stats in quality_stats(window, cut, [EVERY_RESPONSE])}


def _tallies(window: Window, cut: Cut) -> dict[Group, dict[str, tuple[int, int, list[int]]]]:
    """Group -> type -> (count, comments, how many rated 1 to 5)."""
    condition, values = cut.condition()
    ratings = ", ".join(f"sum(r.rating_counts[{rating}])" for rating in range(1, 6))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {cut.columns()} r.feedback_type, sum(r.count), sum(r.comment_count), {ratings}"
            " FROM feedback_feedbackrollup r JOIN feedback_slice s ON s.id = r.slice_id"
            f" WHERE {IN_WINDOW} AND {condition} GROUP BY {cut.columns()} r.feedback_type",
            [*window_values(window), *values],
        )
        rows = cursor.fetchall()
    width = len(cut.group_by)
    found: dict[Group, dict[str, tuple[int, int, list[int]]]] = defaultdict(dict)
    for row in rows:
        numbers = [int(number) for number in row[width + 1 :]]
        found[row[:width]][row[width]] = (numbers[0], numbers[1], numbers[2:])
    return found


def feedback_stats(window: Window, cut: Cut) -> list[FeedbackStats]:
    """Feedback per group, with how much of the responses it covers."""
    responses = _responses(window, cut)
    tallies = _tallies(window, cut)
    groups = sorted({*responses, *tallies})
    return [_feedback_of(group, responses.get(group, 0), tallies.get(group, {})) for group in groups]


def unmatched_count(window: Window) -> int:
    """Pieces of feedback given in the window whose response was not seen yet."""
    condition, values = "s.attribute = %s", [UNMATCHED]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(r.count), 0) FROM feedback_feedbackrollup r JOIN feedback_slice s"
            f" ON s.id = r.slice_id WHERE {IN_WINDOW} AND {condition}",
            [*window_values(window), *values],
        )
        return int(cursor.fetchone()[0])


def _feedback_of(
    group: Group, responses: int, tallies: Mapping[str, tuple[int, int, list[int]]]
) -> FeedbackStats:
    total = sum(tallies.get(name, (0, 0, []))[0] for name in FeedbackType.values)
    covered = tallies.get(FeedbackRollup.ANY, (0, 0, []))[0]
    by_type = {name: _type_stats(tallies.get(name, (0, 0, [0] * 5)), total) for name in FeedbackType.values}
    return FeedbackStats(
        group,
        responses,
        covered,
        covered / responses if responses and 0 <= covered <= responses else None,
        _wilson(covered, responses),
        by_type,
    )


def _wilson(count: int, total: int) -> Interval | None:
    """No answer where the parts do not fit: an attribute that is watched since later than its responses, until
    `rebuild_rollups` counts them anew; or a rollup between two queries."""
    return wilson(count, total) if 0 <= count <= total else None


def _type_stats(tally: tuple[int, int, list[int]], total: int) -> TypeStats:
    count, comments, ratings = tally
    rated = sum(ratings)
    average = (
        sum(rating * how_many for rating, how_many in enumerate(ratings, start=1)) / rated if rated else None
    )
    return TypeStats(count, _wilson(count, total), average, rated, comments)
