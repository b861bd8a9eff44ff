"""Secrets in answers that stream: a piece that may be the beginning of one waits for the next.

Law: what leaves never holds a known secret, however the stream was cut. What waits is shorter
than the longest secret, and nothing else waits.
"""

from __future__ import annotations

from agentsite.engine.deltas import Delta, TextDelta, ThinkingDelta, ToolCallStarted
from agentsite.engine.redaction import REDACTED, SHORTEST, Redactor


class TextCleaner:
    """One text that comes in pieces."""

    __slots__ = ("_redactor", "_rest")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._rest = ""

    def push(self, piece: str) -> str:
        """What may leave now."""
        text = self._rest + piece if self._rest else piece
        if self._redactor.is_innocent(text):
            self._rest = ""
            return text
        safe = self._redactor.find_safe_end(text)
        self._rest = text[safe:]
        return self._redactor.text(text[:safe]) if safe >= SHORTEST else text[:safe]

    def end(self) -> str:
        """What is left when nothing more comes; most of a secret counts as all of it."""
        if not self._rest:
            return ""
        left, self._rest = self._redactor.text(self._rest), ""
        return REDACTED if self._redactor.begins_secret(left) else left


class AnswerCleaner:
    """The deltas of one answer."""

    def __init__(self, redactor: Redactor) -> None:
        self._text = TextCleaner(redactor)
        self._thinking = TextCleaner(redactor)
        self._idle = not redactor

    def clean(self, batch: tuple[Delta, ...]) -> tuple[Delta, ...]:
        """The batch without secrets; its end may stay behind."""
        if self._idle:
            return batch
        texts = [delta.text for delta in batch if type(delta) is TextDelta]
        if texts and len(texts) == len(batch):  # by far the most frequent: once for all of them
            text = self._text.push("".join(texts))
            return (*self._end_thinking(), TextDelta(text)) if text else self._end_thinking()
        cleaned: list[Delta] = []
        for delta in batch:
            if isinstance(delta, TextDelta):
                cleaned += self._end_thinking()
                text = self._text.push(delta.text)
                cleaned += [TextDelta(text)] if text else []
            elif isinstance(delta, ThinkingDelta):
                cleaned += self._end_text()
                cleaned.append(self._think(delta))
            else:
                cleaned += self.end() if isinstance(delta, ToolCallStarted) else ()
                cleaned.append(delta)
        return tuple(cleaned)

    def _think(self, delta: ThinkingDelta) -> ThinkingDelta:
        text = self._thinking.push(delta.text)
        if delta.provider_data is not None:  # it ends the block
            text += self._thinking.end()
        return ThinkingDelta(text, delta.provider_data)

    def end(self) -> tuple[Delta, ...]:
        """What stayed behind, when another block begins or the answer ends."""
        return (*self._end_thinking(), *self._end_text())

    def _end_text(self) -> tuple[Delta, ...]:
        left = self._text.end()
        return (TextDelta(left),) if left else ()

    def _end_thinking(self) -> tuple[Delta, ...]:
        left = self._thinking.end()
        return (ThinkingDelta(left),) if left else ()
