"""Exports one chat of a model with the official OpenTelemetry SDK: a span and a log record, over HTTP in protobuf.

Usage: tell_otlp.py BASE KEY TRACE_ID none|gzip
"""

import json
import sys

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

base, key, trace_id, compression = sys.argv[1:5]
to = {"headers": {"authorization": f"Bearer {key}"}, "compression": Compression(compression)}
resource = Resource.create({"service.name": "planner", "service.version": "3.1"})

spans = TracerProvider(resource=resource)
spans.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{base}/v1/traces", **to)))
logs = LoggerProvider(resource=resource)
logs.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(endpoint=f"{base}/v1/logs", **to)))

parent = SpanContext(int(trace_id, 16), 0x00F067AA0BA902B7, is_remote=True, trace_flags=TraceFlags(1))
context = trace.set_span_in_context(NonRecordingSpan(parent))
asked = [{"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}]}]
said = [{"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Paris"}}]}]
with spans.get_tracer("planner").start_as_current_span("chat m-1", context=context) as span:
    span.set_attribute("gen_ai.operation.name", "chat")
    span.set_attribute("gen_ai.request.model", "m-1")
    span.set_attribute("gen_ai.response.model", "m-1-0901")
    span.set_attribute("gen_ai.input.messages", json.dumps(asked))
    span.set_attribute("gen_ai.output.messages", json.dumps(said))
    logs.get_logger("planner").emit(
        LogRecord(
            timestamp=1,
            context=trace.set_span_in_context(span),
            severity_number=SeverityNumber.INFO,
            event_name="gen_ai.system.message",
            body={"content": "Be brief."},
        )
    )
spans.shutdown()
logs.shutdown()
