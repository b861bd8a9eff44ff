"""Traces in the GenAI conventions, read back from OpenTelemetry's own SDK."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.requirements import requirement

TRACED = """
import json
from opentelemetry import context, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from agentsite.telemetry import record, spans

kept, reader = InMemorySpanExporter(), InMemoryMetricReader()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
spans.follow_caller({"traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"})
with record.running("desk", "sess_1", "run_1", 2) as span:
    record.model_called(
        agent="desk", provider="google", model="gemini", purpose="main",
        tokens={"input": 10, "cache_read": 5, "output": 7, "reasoning": 2},
        cost_micros=None, first_token_ms=20, total_ms=40, error="",
    )
    record.model_called(
        agent="desk", provider="openai", model="vectors", purpose="embedding",
        tokens={"input": 3}, cost_micros=1, first_token_ms=None, total_ms=4, error="",
    )
    record.tool_called("desk", "lookup", "tc_1", 15, "error")
    record.ended(span, "desk", "model_stop")
print(json.dumps({
    "spans": [json.loads(each.to_json()) for each in kept.get_finished_spans()],
    "metrics": json.loads(reader.get_metrics_data().to_json()),
}))
"""


@requirement("ops.traces")
def test_a_run_is_a_trace_in_the_genai_conventions() -> None:
    # A process of its own: the SDK's providers are set once and for all.
    ran = subprocess.run(
        [sys.executable, "-c", TRACED], capture_output=True, text=True, check=True, timeout=60
    )
    told = json.loads(ran.stdout)
    spans = {each["name"]: each for each in told["spans"]}
    assert set(spans) == {
        "chat gemini", "embeddings vectors", "execute_tool lookup", "invoke_agent desk"
    }  # fmt: skip
    embedded = spans["embeddings vectors"]["attributes"]
    assert embedded["gen_ai.operation.name"] == "embeddings"
    whole, chat, tool = (
        spans["invoke_agent desk"],
        spans["chat gemini"],
        spans["execute_tool lookup"],
    )
    assert whole["context"]["trace_id"] == "0x" + "ab" * 16
    assert whole["parent_id"] == "0x" + "cd" * 8
    assert {chat["parent_id"], tool["parent_id"]} == {whole["context"]["span_id"]}
    assert whole["attributes"]["gen_ai.conversation.id"] == "sess_1"
    assert chat["attributes"]["gen_ai.provider.name"] == "gcp.gemini"
    assert chat["attributes"]["gen_ai.usage.input_tokens"] == 15
    assert chat["attributes"]["gen_ai.usage.output_tokens"] == 9
    assert tool["status"]["status_code"] == "ERROR"
    text = json.dumps(told["metrics"])
    assert "gen_ai.client.operation.duration" in text
    assert "gen_ai.client.token.usage" in text
