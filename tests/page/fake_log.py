"""A session of the fake server: its log, its scripted run, and whoever follows it.

Law: lives on the event loop of the fake's thread alone. A run goes on whether or not
anybody listens; only `interrupt` ends it early.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

Frame = tuple[int, str, dict[str, Any]]
Step = tuple[str, Any]
"""`("frame", (event, data))`, `("pause", name)` or `("skip", n)` (leave n numbers out)."""

_ids = itertools.count(1)
NOW = "2026-11-20T10:00:00Z"


class FakeSession:
    """State of one session; `lived` is set as soon as anything in the log changes."""

    def __init__(self, **fields: Any) -> None:
        number = next(_ids)
        self.id = f"sess_{number:016d}"
        self.fields = {"title": "", "status": "active", "updated_at": NOW, **fields}
        self.messages: list[dict[str, Any]] = []
        self.pending: list[dict[str, Any]] = []
        self.log: list[Frame] = []
        self.first_seq = 1
        self.run_id: str | None = None
        self.changed = asyncio.Condition()
        self.interrupted = asyncio.Event()
        self.next_seq = 1

    async def add(self, event: str, data: dict[str, Any]) -> None:
        kind = {} if event == "widget" else {"type": event}
        self.log.append((self.next_seq, event, {**kind, "timestamp": NOW, **data}))
        self.next_seq += 1
        async with self.changed:
            self.changed.notify_all()

    async def run(
        self, text: str, images: int, steps: list[Step], gates: dict[str, asyncio.Event]
    ) -> None:
        """Play a script from `init` to `done`; images are named by address, as the server does."""
        self.run_id = f"run_{next(_ids):016d}"
        self.first_seq = self.next_seq
        self.interrupted.clear()
        self.fields["status"] = "running"
        message = {"id": f"msg_{next(_ids)}", "type": "user", "role": "user", "text": text}
        source = {"mediaType": "image/png", "attachmentId": "att_1"}
        pictures = [{"type": "image", "source": source} for _ in range(images)]
        blocks = [{"type": "text", "text": text}, *pictures]
        self.messages.append({**message, "timestamp": NOW, "contentBlocks": blocks})
        opening = {"sessionId": self.id, "session_id": self.id, "runId": self.run_id}
        await self.add("init", {**opening, "message": self.messages[-1]})
        reason = await self._play(steps, gates)
        self._remember()
        self.fields["status"] = "active"
        run_id, self.run_id = self.run_id, None
        usage = {"input_tokens": 1200, "output_tokens": 34, "total_tokens": 1234}
        cost = {"currency": "USD", "estimatedCostMicros": 4100}
        await self.add("done", {"reason": reason, "usage": usage, "cost": cost, "runId": run_id})

    async def _play(self, steps: list[Step], gates: dict[str, asyncio.Event]) -> str:
        for kind, value in steps:
            if kind == "frame":
                await self.add(*value)
            elif kind == "skip":
                self.next_seq += value
            elif not await self._wait(gates[value]):
                return "user_abort"
        return "error" if self.log[-1][1] == "error" else "model_stop"

    async def _wait(self, gate: asyncio.Event) -> bool:
        """Whether the gate opened before somebody stopped the run."""
        waits = [asyncio.create_task(event.wait()) for event in (gate, self.interrupted)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return not self.interrupted.is_set()

    def _remember(self) -> None:
        """The run's text as one message: enough for a reload after the end."""
        own = [frame for frame in self.log if frame[0] >= self.first_seq]
        text = "".join(data["delta"] for _, event, data in own if event == "text_delta")
        if text:
            item = {"id": f"msg_{next(_ids)}", "type": "assistant_text", "role": "assistant"}
            self.messages.append({**item, "text": text, "timestamp": NOW})

    def describe(self) -> dict[str, Any]:
        run = {"id": self.run_id, "status": "running", "firstSeq": self.first_seq}
        last = self.log[-1][0] if self.log else 0
        live = {"run": run} if self.run_id else {}
        return {"id": self.id, **self.fields, **live, "lastSeq": last}
