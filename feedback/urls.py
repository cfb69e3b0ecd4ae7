from django.urls import path

from feedback import reports, views

urlpatterns = [
    path("feedback", views.FeedbackListView.as_view()),
    path("feedback/bulk", views.FeedbackBulkView.as_view()),
    path("feedback/stats", reports.FeedbackStatsView.as_view()),
    path("feedback/token", views.FeedbackTokenView.as_view()),
    path("feedback/<uuid:feedback_id>", views.FeedbackView.as_view()),
    path("responses", views.ResponsesView.as_view()),
    path("responses/bulk", views.ResponsesBulkView.as_view()),
    path("responses/<path:response_id>", views.ResponseView.as_view()),
    path("quality", views.QualityRecordsView.as_view()),
    path("quality/bulk", views.QualityRecordsBulkView.as_view()),
    path("quality/stats", reports.QualityStatsView.as_view()),
    path("quality/metrics", views.QualityMetricsView.as_view()),
    path("quality/<uuid:record_id>", views.QualityRecordView.as_view()),
    path("ledger", reports.LedgerView.as_view()),
    path("export/responses", reports.ExportResponsesView.as_view()),
    path("export/quality", reports.ExportQualityView.as_view()),
    path("export/feedback", reports.ExportFeedbackView.as_view()),
]
