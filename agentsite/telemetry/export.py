"""Sending traces and metrics over OTLP: set up once a process, on whoever asks for it.

Everything about where and how is OpenTelemetry's own environment (`OTEL_EXPORTER_OTLP_*`,
`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`), which its SDK reads itself.
"""

from __future__ import annotations

from typing import Any


class ExtraMissing(Exception):
    """Telemetry is asked for, but what sends it is not installed."""


def begin_export(version: str) -> list[Any]:
    """Start sending; what must be shut down in the end. Raises `ExtraMissing`."""
    try:
        from opentelemetry import metrics, trace
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as missing:
        raise ExtraMissing(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry's SDK is not installed "
            f"({missing.name} is missing). Install the extra: pip install 'agentsite[otel]'."
        ) from None
    resource = Resource.create({"service.name": "agentsite", "service.version": version})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(traces)
    numbers = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource)
    metrics.set_meter_provider(numbers)
    return [traces, numbers]
