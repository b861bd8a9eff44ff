"""Prints the frames of a run: streaming text, a line per tool call, widgets as tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from agentsite.management.terminal.client import Frame
from agentsite.management.terminal.widgets import clean, draw_widget, show_value

LONGEST_ARGUMENTS = 100
LONGEST_RESULT = 300
PLAIN_ENDS = {"model_stop", "awaiting_confirmation", "stopped"}


class Screen:
    """Knows whether the cursor stands in the middle of a line."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._in_line = False
        self._labels: dict[str, str] = {}
        self._drawers: dict[str, Callable[[dict[str, Any]], None]] = {
            "text_delta": self._show_text,
            "thinking_delta": self._show_thinking,
            "tool_call_start": self._show_call,
            "tool_call_result": self._show_result,
            "tool_log": self._show_log,
            "widget": self._show_widget,
            "skill_activated": lambda data: self.note(f"skill: {data.get('skill')}"),
            "provider_switched": self._show_switch,
            "notice": lambda data: self.note(data.get("message"), "yellow"),
            "run_resumed": self._show_resumption,
            "compaction_start": lambda data: self.note("summing up the older conversation"),
            "approved": lambda data: self.note(f"approved: {data.get('action')}", "green"),
            "denied": lambda data: self.note(f"denied: {data.get('action')}", "red"),
            "error": lambda data: self.note(f"error: {data.get('message')}", "bold red"),
            "done": self._show_end,
        }

    def show(self, frame: Frame) -> None:
        """Print what a frame means to a reader; many mean nothing."""
        draw = self._drawers.get(frame.event)
        if draw is not None:
            draw(frame.data)

    def line(self, content: RenderableType) -> None:
        """Print on a line of its own."""
        if self._in_line:
            self.console.print()
            self._in_line = False
        self.console.print(content)

    def note(self, message: object, style: str = "dim") -> None:
        self.line(Text(clean(str(message)), style=style))

    def _show_text(self, data: dict[str, Any]) -> None:
        self._write(data.get("delta", ""), "")

    def _show_thinking(self, data: dict[str, Any]) -> None:
        self._write(data.get("delta", ""), "dim italic")

    def _write(self, text: str, style: str) -> None:
        text = clean(text)
        if text:
            self.console.print(Text(text, style=style), end="", soft_wrap=True)
            self._in_line = not text.endswith("\n")

    def _show_call(self, data: dict[str, Any]) -> None:
        arguments = ", ".join(f"{k}={show_value(v)}" for k, v in (data.get("args") or {}).items())
        if len(arguments) > LONGEST_ARGUMENTS:
            arguments = arguments[:LONGEST_ARGUMENTS] + "…"
        label = data.get("running_label") or f"{data.get('name')}({arguments})"
        self._labels[str(data.get("id"))] = data.get("completed_label") or str(data.get("name"))
        self.note(f"→ {label}", "cyan")

    def _show_result(self, data: dict[str, Any]) -> None:
        label = self._labels.pop(str(data.get("id")), data.get("name"))
        took = data.get("duration_ms")
        duration = f" ({took} ms)" if took is not None else ""
        if data.get("status") == "error":
            reason = show_value(data.get("error") or data.get("result"))[:LONGEST_RESULT]
            self.note(f"✗ {label}{duration}: {reason}", "red")
        else:
            self.note(f"✓ {label}{duration}", "green")

    def _show_log(self, data: dict[str, Any]) -> None:
        self.note(f"  {data.get('tool_name')}: {data.get('message')}")

    def _show_widget(self, data: dict[str, Any]) -> None:
        widget = str(data.get("widget_type") or data.get("type"))
        for part in draw_widget(widget, data.get("data")):
            self.line(part)

    def _show_switch(self, data: dict[str, Any]) -> None:
        self.note(f"{data.get('from')} failed, {data.get('to')} answers", "yellow")

    def _show_resumption(self, data: dict[str, Any]) -> None:
        self.note("the server took the run up again; what follows replaces the above", "yellow")

    def _show_end(self, data: dict[str, Any]) -> None:
        reason = data.get("reason")
        if self._in_line:
            self.console.print()
            self._in_line = False
        usage = data.get("usage") or {}
        parts = [f"{usage.get('total_tokens', 0):,} tokens"]
        micros = (data.get("cost") or {}).get("estimatedCostMicros")
        if micros is not None:
            parts.append(f"${micros / 1_000_000:.4f}")
        if reason not in PLAIN_ENDS:
            parts.insert(0, f"ended: {reason}")
        if reason != "awaiting_confirmation":
            self.note(" · ".join(parts))
