"""History made fit for any vendor: repaired, with old results cleared and long ones cut.

Law: pure functions on tuples of messages; what needs no change keeps its identity,
so that a prompt stays byte-stable from turn to turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agentsite.engine.messages import (
    ImagePart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

CLEARED = "[Tool result cleared to save context space]"
UNFINISHED = "No result: this call did not finish."
"""Says nothing about the cause, which may be a crash, a stop or a timeout."""
RESULT_LIMIT = 20_000
"""Characters of one result that a model is shown."""
RESULT_ENDS = 2_000
"""Characters that a cut leaves at either end."""

Content = tuple[TextPart | ImagePart, ...]


def repair(messages: Sequence[Message]) -> tuple[Message, ...]:
    """History that the strictest vendor accepts; repairing twice changes nothing more.

    Every call is followed directly by exactly one result, in call order. A result that
    stands elsewhere is moved to its call, one without a call is dropped, a missing one
    becomes `interrupted`. A message that repeats the one before, a call id used before,
    blank text and assistant messages that say nothing are dropped.
    """
    results: dict[str, ToolResultPart] = {}
    for message in messages:
        for result in message.tool_results:
            results.setdefault(result.call_id, result)
    repaired: list[Message] = []
    seen_calls: set[str] = set()
    last: tuple[Message, Message] | None = None
    """The message before, other than results: as it came, as it was kept."""
    for message in messages:
        if message.role == "tool":
            if repaired and repaired[-1].role == "tool" and repaired[-1].parts == message.parts:
                repaired[-1] = message  # keeps the stored message's id and identity
            continue
        kept = _keep_parts(message, seen_calls)
        if not kept.parts or (last is not None and (message == last[0] or kept == last[1])):
            continue
        last = message, kept
        repaired.append(kept)
        if calls := kept.tool_calls:
            seen_calls.update(call.id for call in calls)
            answers = tuple(results.get(call.id) or interrupted(call) for call in calls)
            repaired.append(Message(role="tool", parts=answers))
    return tuple(repaired)


def interrupted(call: ToolCallPart, text: str = UNFINISHED) -> ToolResultPart:
    """The result of a call that has none."""
    return ToolResultPart(call.id, call.name, "interrupted", (TextPart(text),))


def _keep_parts(message: Message, seen_calls: set[str]) -> Message:
    """The parts that may stand in a message of this role."""
    kept: list[Part] = []
    own_calls: set[str] = set()
    for part in message.parts:
        match part:
            case TextPart(text=text):
                keep = bool(text.strip())
            case ToolCallPart(id=call_id):
                fresh = call_id not in seen_calls and call_id not in own_calls
                keep = message.role == "assistant" and fresh
                own_calls.add(call_id)
            case ThinkingPart():
                keep = message.role == "assistant"
            case ToolResultPart():
                keep = False
            case _:
                keep = True
        if keep:
            kept.append(part)
    if all(isinstance(part, ThinkingPart) for part in kept):
        kept = []  # reasoning that led to nothing is refused by two of the vendors
    if len(kept) == len(message.parts):
        return message
    return msgspec.structs.replace(message, parts=tuple(kept))


def clear_old_results(
    messages: Sequence[Message], keep: int = 5, above: int = 15
) -> tuple[Message, ...]:
    """Replace the text of old results by a marker, once more than `above` tool messages are whole.

    At least the newest `keep` tool messages stay whole. Clearing goes in steps of
    `above - keep + 1` messages, so that the prompt's prefix, and with it the vendor's
    cache, stays the same for many turns; ids stay, and clearing twice changes nothing.
    """
    places = [index for index, message in enumerate(messages) if message.role == "tool"]
    step = above - keep + 1
    old = max(0, (len(places) - keep) // step * step)
    cleared = list(messages)
    for index in places[:old]:
        cleared[index] = _clear(messages[index])
    return tuple(cleared)


def _clear(message: Message) -> Message:
    marker = (TextPart(CLEARED),)
    parts = tuple(
        msgspec.structs.replace(part, content=marker) if isinstance(part, ToolResultPart) else part
        for part in message.parts
    )
    return message if parts == message.parts else msgspec.structs.replace(message, parts=parts)


def cut_result(text: str, call_id: str, limit: int = RESULT_LIMIT) -> str:
    """Beyond `limit` characters: both ends, and between them how to read the rest."""
    if len(text) <= limit:
        return text
    ends = min(RESULT_ENDS, limit // 2)
    marker = (
        f"\n\n[{len(text) - 2 * ends} of {len(text)} characters are left out here. Read them with "
        f'read_tool_result: call_id "{call_id}", offset {ends}.]\n\n'
    )
    return text[:ends] + marker + text[-ends:]


def cut_content(content: Content, call_id: str, limit: int = RESULT_LIMIT) -> Content:
    """`cut_result` for a result's parts: long text is joined and cut, images stay."""
    texts = [part.text for part in content if isinstance(part, TextPart)]
    if sum(map(len, texts)) <= limit:
        return content
    images = [part for part in content if isinstance(part, ImagePart)]
    return (TextPart(cut_result("\n".join(texts), call_id, limit)), *images)
