"""Server-sent events, as far as model streams need them: bytes in, `data` payloads out.

Incremental and indifferent to where the bytes are cut; CR, LF and CRLF, comments, other
fields and several `data` lines are understood. Event names repeat what the payload says.
"""

from __future__ import annotations

_LARGEST_EVENT = 32 * 1024 * 1024


class EventTooLarge(ValueError):
    """An event did not end within 32 MB."""


class SseSplitter:
    """Feed it what the network brings; it returns the payloads that are complete."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the payloads of the events that end in `chunk`; EventTooLarge is an error."""
        buffer = self._rest + chunk if self._rest else chunk
        if b"\r" in buffer:
            buffer, held = unify_line_ends(buffer)
        else:
            held = b""
        blocks = buffer.split(b"\n\n")
        self._rest = blocks.pop() + held
        if len(self._rest) > _LARGEST_EVENT:
            raise EventTooLarge("an event of the stream is larger than 32 MB")
        payloads = []
        for block in blocks:
            at = block.find(b"data:")
            if at >= 0 and (at == 0 or block[at - 1] == 10) and block.find(b"\n", at) < 0:
                # The usual case: one data line, the last of its block.
                start = at + 6 if block[at + 5 : at + 6] == b" " else at + 5
                payloads.append(block[start:])
            else:
                payload = read_block(block)
                if payload is not None:
                    payloads.append(payload)
        return payloads

    @property
    def rest(self) -> bytes:
        """What has come since the last complete event."""
        return self._rest

    def finish(self) -> list[bytes]:
        """Return what the stream's end completes: some servers leave out the last blank line."""
        rest, self._rest = self._rest, b""
        return self.feed(rest + b"\n\n") if rest.strip() else []


def unify_line_ends(buffer: bytes) -> tuple[bytes, bytes]:
    """Return the buffer with LF alone, and a final CR that may be half of a CRLF."""
    held = b""
    if buffer.endswith(b"\r"):
        buffer, held = buffer[:-1], b"\r"
    return buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), held


def read_block(block: bytes) -> bytes | None:
    """Return the joined data lines of one event, or None when it has none."""
    lines = []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value[:1] == b" " else value)
        elif line == b"data":
            lines.append(b"")
    return b"\n".join(lines) if lines else None
