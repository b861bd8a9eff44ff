"""Log lines as JSON, one object a line, with the ids of the work they are about.

Keys: `timestamp` (ISO 8601, UTC), `level`, `logger`, `message`, the ids of `telemetry.ids`,
`trace_id` and `span_id` while something is traced, `exception`, and whatever `extra=` gave.
"""

from __future__ import annotations

import copy
import logging
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

from agentsite.telemetry.ids import carried

NAMES = {"levelname": "level", "name": "logger", "exc_info": "exception", "stack_info": "stack"}


class JsonLines(JsonFormatter):
    """The formatter of `LOG_FORMAT=json`."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s", rename_fields=NAMES)

    def format(self, record: logging.LogRecord) -> str:
        """One line. A traceback that was cleaned already is taken as it is, not made anew."""
        if record.exc_text:
            record = copy.copy(record)
            record.exc_info = None
        return super().format(record)

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        """The time first, then the record's own words, then the ids."""
        log_data["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat()
        super().add_fields(log_data, record, message_dict)
        log_data.update(carried())
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            log_data["trace_id"] = trace.format_trace_id(span.trace_id)
            log_data["span_id"] = trace.format_span_id(span.span_id)
