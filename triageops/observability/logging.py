"""JSON logs, one object a line, the same in web, workers, beat and commands.

Every line carries timestamp (UTC), level, logger, message (the static event), service, and from the context
request_id, task_id and user_id when there are any. Prompts, answers and comments are never logged.
"""

import logging
import logging.config
import re
from typing import Any

import structlog

SERVICE = "llm-triage"
_DETAIL = re.compile(r"((?:DETAIL|CONTEXT|QUERY|STATEMENT):)[^\n]*")


def _add_service(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event["service"] = SERVICE
    return event


def _leave_out_details(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """A request's address and the database's DETAIL lines may hold what people said or who they are."""
    event.pop("request", None)
    if "exception" in event:
        event["exception"] = _DETAIL.sub(r"\1 (left out)", str(event["exception"]))
    return event


_SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _add_service,
    _leave_out_details,
)


def configure(level: str) -> None:
    """Replace all handlers by one that prints JSON to standard error."""
    options: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.EventRenamer("message"),
                    structlog.processors.JSONRenderer(),
                ],
                # Lines of libraries that know only `logging`.
                "foreign_pre_chain": [*_SHARED[:4], structlog.stdlib.ExtraAdder(), *_SHARED[4:]],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # A refused request is the client's affair and is counted; our own line carries its id.
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
        },
    }
    logging.config.dictConfig(options)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
