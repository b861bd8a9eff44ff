"""Files that are missing, broken, odd; the content hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsite.manifest.loader import load
from agentsite.manifest.problems import ManifestError
from tests.manifest.agents import find_problems, load_all, write_agent, write_files


def test_missing_folder_and_missing_manifest(tmp_path: Path) -> None:
    assert [p.code for p in find_problems(tmp_path / "nowhere")] == ["CONFIG_NOT_FOUND"]
    problems = find_problems(tmp_path)
    assert [(p.code, p.file) for p in problems] == [("CONFIG_NOT_FOUND", "amodal.json")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "line 1, column 2"),
        (b'{"name": "a", "name": "b"}', 'the key "name" stands twice'),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"[]", "must hold one JSON object"),
        (b"null", "must hold one JSON object"),
        (b"", "is not JSON"),
        (b'{"name": "\xff"}', "is not UTF-8: byte 10"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_broken_json_is_told_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "amodal.json").write_bytes(content)
    problems = find_problems(tmp_path)
    assert [(p.code, p.file) for p in problems] == [("CONFIG_PARSE_FAILED", "amodal.json")]
    assert message in problems[0].message


def test_byte_order_mark_and_windows_line_ends_pass(tmp_path: Path) -> None:
    text = '\ufeff{\r\n"name": "a", "version": "1.0.0"}'
    (tmp_path / "amodal.json").write_bytes(text.encode())
    write_files(tmp_path, {"knowledge/a.md": "# Knowledge: A\r\n\r\none\r\ntwo\r\n"})
    bundle = load_all(tmp_path)
    assert bundle.knowledge[0].body == "one\ntwo"


def test_oversized_file_is_refused(tmp_path: Path) -> None:
    root = write_agent(tmp_path, {"knowledge/big.md": "x" * 4_000_001})
    problems = find_problems(root)
    assert [(p.code, p.file) for p in problems] == [("READ_FAILED", "knowledge/big.md")]


def test_hash_follows_content_and_nothing_else(tmp_path: Path) -> None:
    files = {
        "knowledge/a.md": "one",
        "tools/t/tool.json": {"description": "d"},
        "tools/t/handler.py": "async def handle(params, ctx): ...",
        "tools/t/shared.py": "X = 1",
    }
    first = write_agent(tmp_path / "first", files)
    second = write_agent(tmp_path / "second", dict(reversed(files.items())))
    before = load(first, {}).hash
    assert load(second, {"HOME": "elsewhere"}).hash == before
    write_files(second, {"tools/t/shared.py": "X = 2"})
    assert load(second, {}).hash != before


def test_nearly_right_folder_name_is_a_warning(tmp_path: Path) -> None:
    root = write_agent(tmp_path, {"skill/a/SKILL.md": "x", "docs/a.md": "x"})
    warnings = load(root, {}).warnings
    assert [w.file for w in warnings] == ["skill"]
    assert 'did you mean "skills"?' in warnings[0].message


def test_error_carries_every_problem_and_reads_well(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load(write_agent(tmp_path, {"knowledge/e.md": ""}, agent={"maxTurns": 0}), {})
    assert [p.file for p in caught.value.problems] == ["amodal.json", "knowledge/e.md"]
    assert "amodal.json at agent.maxTurns: should be greater than 0" in str(caught.value)
