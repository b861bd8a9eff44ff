"""File tools: what they do, and that no path leads out of the agent's folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agentsite.tools.base import ToolError
from agentsite.tools.repo_files import RepoFiles
from agentsite.tools.toolset import build_toolset
from tests.requirements import requirement
from tests.tools.agents import Calls, write_agent


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An agent with file tools, and a secret beside its folder."""
    root = tmp_path / "agent"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.md").write_text("TREASURE")
    config = {"name": "desk", "version": "1.0.0", "fileTools": True}
    files = {
        "amodal.json": config,
        "skills/a/SKILL.md": "---\nname: a\ndescription: d\n---\none\ntwo\none\n",
        "knowledge/k.md": "# Knowledge: K\n\nwords",
    }
    write_agent(root, files)
    (root / ".env").write_text("TOKEN=TREASURE")
    return root


async def use(root: Path, name: str, **arguments: Any) -> Any:
    bundle = write_agent(root, {"amodal.json": json.loads((root / "amodal.json").read_text())})
    result = await Calls(bundle).call(build_toolset(bundle)[name], **arguments)
    return json.loads(result.text)


@requirement("agent.file-tools")
async def test_files_are_read_written_edited_found_and_deleted(home: Path) -> None:
    part = await use(home, "read_repo_file", path="skills/a/SKILL.md", offset=4, limit=1)
    assert (part["content"], part["lines"]) == ("one\n", 7)
    written = await use(home, "write_repo_file", path="skills/a/new/x.md", content="Grüße")
    assert written == {"path": "skills/a/new/x.md", "written": True, "created": True}
    assert (home / "skills/a/new/x.md").read_text() == "Grüße"
    many = await use(home, "read_many_repo_files", paths=["skills/a/new/x.md", "skills/none"])
    assert many["files"]["skills/a/new/x.md"] == "Grüße"
    assert many["files"]["skills/none"] == {"error": "File not found: skills/none"}
    listed = await use(home, "list_repo_files")
    assert listed["files"] == ["skills/a/SKILL.md", "skills/a/new/x.md", "knowledge/k.md"]
    assert (await use(home, "list_repo_files", dir="skills/a/new"))["files"] == [
        "skills/a/new/x.md"
    ]
    assert (await use(home, "glob_repo_files", pattern="**/*.md"))["files"] == listed["files"]
    found = await use(home, "grep_repo_files", pattern="^o.e$")
    assert [(each["path"], each["line"]) for each in found["matches"]] == [
        ("skills/a/SKILL.md", 5),
        ("skills/a/SKILL.md", 7),
    ]
    edit = {"path": "skills/a/SKILL.md", "old_string": "one", "new_string": "1"}
    with pytest.raises(ToolError, match=r"^Multiple matches found \(2\), set allow_multiple"):
        await use(home, "edit_repo_file", **edit)
    assert (await use(home, "edit_repo_file", **edit, allow_multiple=True))["replaced"] == 2
    with pytest.raises(ToolError, match=r"^String not found in skills/a/SKILL.md$"):
        await use(home, "edit_repo_file", **edit)
    await use(home, "delete_repo_file", path="skills/a/new/x.md")
    assert not (home / "skills/a/new/x.md").exists()


GOVERNING = (
    "connections/crm/access.json",
    "connections/crm/spec.json",
    "tools/wipe/handler.py",
    "skills/tools/x",
    "skills/Connections/access.json",
    "skills/mcp/x.json",
)


@requirement("agent.file-tools")
@pytest.mark.parametrize("path", GOVERNING)
async def test_what_rules_over_the_agent_is_written_only_when_a_person_says_so(
    home: Path, path: str
) -> None:
    bundle = write_agent(home, {"amodal.json": json.loads((home / "amodal.json").read_text())})
    tools, context = build_toolset(bundle), Calls(bundle).context()
    changes: dict[str, dict[str, Any]] = {
        "write_repo_file": {"path": path, "content": "old"},
        "edit_repo_file": {"path": path, "old_string": "old", "new_string": "new"},
        "delete_repo_file": {"path": path},
    }
    for name, arguments in changes.items():
        wanted = tools[name].find_question(context.caller, arguments)
        assert wanted is not None
        assert "what the agent may do" in wanted.reason
        context.approved = False
        with pytest.raises(ToolError, match="only with the approval of a person"):
            await tools[name].call(context, arguments)
        context.approved = True
        await tools[name].call(context, arguments)
    assert tools["write_repo_file"].find_question(context.caller, {"path": "skills/a.md"}) is None
    assert tools["read_repo_file"].find_question(context.caller, {"path": path}) is None


async def test_an_expression_that_explodes_is_given_up(home: Path) -> None:
    (home / "skills/a/long.md").write_text("a" * 5_000 + "!")
    with pytest.raises(ToolError, match="takes too long"):
        await use(home, "grep_repo_files", pattern="^(a|a|aa)+$")


PATHS = """
../outside/secret.md
skills/../../outside/secret.md
skills/a/../../../outside/secret.md
/etc/passwd
//etc/passwd
skills//a/SKILL.md
./skills/a/SKILL.md
skills/./a/SKILL.md
skills/a/..
skills
skills/
skills\\..\\..\\outside\\secret.md
skills/..\x00/x
amodal.json
.env
skills/.env
skills/.hidden/x
skills/a/package.json
skills/a/PACKAGE.JSON
SKILLS/a/SKILL.md
node_modules/x
skills/link/secret.md
skills/link.md
skills/deep/link/secret.md
skills/a/loop/loop/x
skills/pipe
skills/a/%2e%2e/x

""".strip("\n").split("\n")


def lay_traps(root: Path) -> None:
    """Links of every kind, and a pipe."""
    outside = root.parent / "outside"
    (root / "skills/link").symlink_to(outside)
    (root / "skills/link.md").symlink_to(outside / "secret.md")
    (root / "skills/deep").mkdir()
    (root / "skills/deep/link").symlink_to("../../../outside")
    (root / "skills/a/loop").symlink_to("loop")
    os.mkfifo(root / "skills/pipe")


@requirement("agent.file-paths")
@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out(home: Path, path: str) -> None:
    lay_traps(home)
    files = RepoFiles(home)
    for attempt in (files.read, files.delete):
        with pytest.raises(ToolError):
            attempt(path)
    if "%2e" not in path:  # a name like any other, that may be written
        with pytest.raises(ToolError):
            files.write(path, "changed")
    assert "TREASURE" not in str(list(files.list()))
    assert (home.parent / "outside" / "secret.md").read_text() == "TREASURE"
    assert sorted(p.name for p in (home.parent / "outside").iterdir()) == ["secret.md"]


def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(home: Path) -> None:
    """The race: between two steps a folder is swapped for a link to the outside."""
    files = RepoFiles(home)
    with files._parent(("skills", "a", "x.md"), "skills/a/x.md") as parent:
        (home / "skills/a").rename(home / "skills/moved")
        (home / "skills/a").symlink_to(home.parent / "outside")
        assert Path(f"/proc/self/fd/{parent}").readlink() == home / "skills/moved"
    with pytest.raises(ToolError, match="Path traversal is not allowed"):
        files.write("skills/a/x.md", "changed")
    assert sorted(p.name for p in (home.parent / "outside").iterdir()) == ["secret.md"]


def test_an_operator_chooses_folders_and_blocked_files(home: Path) -> None:
    files = RepoFiles(home, ["knowledge"], ["k.md"])
    with pytest.raises(ToolError, match="Not in an allowed folder"):
        files.read("skills/a/SKILL.md")
    with pytest.raises(ToolError, match="blocked"):
        files.read("knowledge/k.md")
    assert list(files.list()) == []


async def test_without_the_key_there_are_no_file_tools(tmp_path: Path) -> None:
    names = build_toolset(write_agent(tmp_path, {}))
    assert not any(name.endswith("_repo_file") for name in names)
