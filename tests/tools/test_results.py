"""What tools give back is always something that can be stored and sent."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from agentsite.engine.messages import ImagePart, TextPart
from agentsite.tools.base import ToolError, ToolResult
from agentsite.tools.results import IMAGE_BYTES

PNG = b"\x89PNG\r\n\x1a\n"


def data_uri(raw: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(raw).decode()}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ({"a": [1, 2.5, None, True]}, '{"a":[1,2.5,null,true]}'),
        (None, "null"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ("", "(no output)"),
        ("a\x00b\ud800", "a\ufffdb\ufffd"),
        ({"a\x00": ["\ud800"]}, '{"a\ufffd":["\ufffd"]}'),
        ({"error": "x", "code": 4}, '{"error":"x","code":4}'),
    ],
)
def test_values_become_text(value: Any, text: str) -> None:
    assert ToolResult.ok(value) == ToolResult((TextPart(text),))


def test_an_object_that_says_error_and_no_more_is_a_failure() -> None:
    result = ToolResult.ok({"error": "no such order"})
    assert (result.error, result.text) == (True, "no such order")


def test_a_value_that_is_not_json_is_named() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (object(), {"a": object()}, loop):
        with pytest.raises(ToolError, match=f"a {type(value).__name__} that is not JSON"):
            ToolResult.ok(value)


def test_pictures_become_images_of_the_type_their_bytes_prove() -> None:
    result = ToolResult.ok({"shot": data_uri(PNG + b"1", "image/jpeg"), "n": 1})
    assert result.text == '{"shot":"[image 1]","n":1}'
    image = result.parts[1]
    assert image == ImagePart("image/png", data=base64.b64encode(PNG + b"1").decode())
    assert ToolResult.ok(data_uri(PNG)).parts == (
        ImagePart("image/png", data=base64.b64encode(PNG).decode()),
    )


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        (data_uri(PNG + b"0" * IMAGE_BYTES), "[image too large: image/png, 1.0MB]"),
        (data_uri(PNG + b"0" * 3_000_000), "[image too large: image/png, 3.0MB]"),
        (data_uri(b"<svg/>", "image/svg+xml"), "[image not readable: image/svg+xml]"),
        ("data:image/png;base64,###", "[image not readable: image/png]"),
        ("data:text/plain;base64,aGk=", "data:text/plain;base64,aGk="),
    ],
)
def test_pictures_that_no_vendor_takes_are_named_instead(uri: str, text: str) -> None:
    assert ToolResult.ok(uri) == ToolResult((TextPart(text),))


def test_all_pictures_together_have_a_limit() -> None:
    result = ToolResult.ok([data_uri(PNG + b"0" * 900_000)] * 7)
    assert sum(isinstance(part, ImagePart) for part in result.parts) == 5
    assert result.text.count("[image too large: image/png, 0.9MB]") == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("aé\x00\ud800 "),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_any_json_value_can_be_stored_and_sent(value: Any) -> None:
    result = ToolResult.ok(value)
    assert msgspec.json.encode(result.parts)
    assert result.text.strip()
    assert "\x00" not in result.text


def test_cutting_says_how_much_is_missing_and_keeps_images() -> None:
    image = ImagePart("image/png", data="AAAA")
    result = ToolResult((TextPart("a" * 10), image)).cut(4)
    assert result.parts == (TextPart("aaaa\n[... 6 more characters were not kept]"), image)
