"""`present`: shows a widget in the chat, from data the model has put together."""

from __future__ import annotations

from typing import Any

from agentsite.engine.events import WidgetShown
from agentsite.tools.base import Tool, ToolContext, ToolResult, object_schema

ENTITY = "{mac, manufacturer, protocols[], zone, suspicion_score, tag_status, …}"
WIDGETS = {
    "data-table": "{columns: [name or {key, label}], rows: [[cell] or {key: cell}], title?}",
    "info-card": "{title, subtitle?, description?, fields: [{label, value}], tags?, "
    "status?: ok|warning|critical|info, actions?: [{label, message}]}",
    "metric": "{label, value, unit?, trend?: up|down|flat, description?, previous_value?}",
    "timeline": "{events: [{timestamp, label, type?, severity?}], label?}",
    "status-board": "{title?, items: [{id, label, severity: low|medium|high|critical, status, "
    "description?, updated_at?}]}",
    "score-breakdown": "{label?, total_score, max_score?, "
    "factors: [{name, value, max?, description?}]}",
    "alert-card": "{id, type, zone, severity, description, involved_devices[], detected_at}",
    "entity-card": f"{ENTITY}, or {{title, subtitle?, fields: [{{label, value}}], tags?, status?}}",
    "entity-list": "{devices: [entity as in entity-card], title?, max_display?}",
    "comparison": "{items: [entity as in entity-card], title?, highlight_differences?}",
    "scope-map": "{highlight_zones?, highlight_devices?, label?, show_all_devices?}",
    "credential-input": "{connection_name, app_id, fields: [{name, label, type: text|password, "
    "required?}]}",
    "document-preview": "{preview_id, resource_type: kb_document|tool|skill|subagent|automation, "
    "title, body, category?, action: create|update, proposal_id?}",
}
"""Every widget that clients know, and the shape of its data."""


async def show_widget(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    context.emit(WidgetShown(arguments["widget"], arguments["data"], context.call_id))
    return ToolResult.of_text(f"The {arguments['widget']} is shown to the user.")


PRESENT = Tool(
    name="present",
    description="Show the user structured data as a widget. Prefer it to a Markdown table. Do not "
    "repeat the data in text afterwards. Shapes of `data`:\n"
    + "\n".join(f"- {name}: {shape}" for name, shape in WIDGETS.items()),
    parameters=object_schema(
        {
            "widget": {"type": "string", "enum": list(WIDGETS)},
            "data": {"type": "object", "description": "The data, in the widget's shape."},
        },
        ["widget", "data"],
    ),
    call=show_widget,
    idempotent=True,
    inside=True,
)
