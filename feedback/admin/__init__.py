"""What the admin shows of facts; importing registers it."""

from feedback.admin.access import ApiKeyAdmin
from feedback.admin.definitions import QualityMetricAdmin
from feedback.admin.facts import FeedbackAdmin, QualityRecordAdmin, ResponseAdmin
from feedback.admin.ledger import LedgerEntryAdmin

__all__ = [
    "ApiKeyAdmin",
    "FeedbackAdmin",
    "LedgerEntryAdmin",
    "QualityMetricAdmin",
    "QualityRecordAdmin",
    "ResponseAdmin",
]
