"""Packages are merged under the agent; a local file wins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.manifest.agents import find_problems, load_all, write_agent, write_files

SHARED = {
    "knowledge/a.md": "package a",
    "knowledge/b.md": "package b",
    "skills/s/SKILL.md": "---\ndescription: d\n---\nFrom the package.",
    "agents/main.md": "Identity of the package.",
}


def test_folder_is_merged_and_local_files_win(tmp_path: Path) -> None:
    write_files(tmp_path / "shared", SHARED)
    root = write_agent(tmp_path / "agent", {"knowledge/a.md": "local a"}, packages=["../shared"])
    bundle = load_all(root)
    assert [(d.name, d.body) for d in bundle.knowledge] == [("a", "local a"), ("b", "package b")]
    assert bundle.identity == "Identity of the package."
    assert bundle.watched == (root, tmp_path / "shared")
    before = bundle.hash
    write_files(tmp_path / "shared", {"knowledge/b.md": "changed"})
    assert load_all(root).hash != before


def test_use_takes_parts_only(tmp_path: Path) -> None:
    write_files(tmp_path / "shared", SHARED)
    ref = {"package": "../shared", "use": ["skills.s", "knowledge.b"]}
    bundle = load_all(write_agent(tmp_path / "agent", packages=[ref]))
    assert [d.name for d in bundle.knowledge] == ["b"]
    assert [s.name for s in bundle.skills] == ["s"]
    assert bundle.identity is None


def test_problems_name_the_package(tmp_path: Path) -> None:
    write_files(tmp_path / "shared", {"knowledge/a.md": ""})
    ref = {"package": "../shared", "use": ["knowledge.a", "skills.none"]}
    root = write_agent(tmp_path / "agent", packages=[ref, "not-installed-anywhere"])
    assert [(p.file, p.path) for p in find_problems(root)] == [
        ("amodal.json", "packages[0].use[1]"),
        ("amodal.json", "packages[1]"),
        ("shared:knowledge/a.md", ""),
    ]


def test_installed_distribution_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    write_files(site, {f"desk_pack/{name}": text for name, text in SHARED.items()})
    lines = "".join(f"desk_pack/{name},,\n" for name in SHARED)
    meta = "Metadata-Version: 2.1\nName: desk-pack\nVersion: 1.0\n"
    write_files(
        site,
        {"desk_pack-1.0.dist-info/METADATA": meta, "desk_pack-1.0.dist-info/RECORD": lines},
    )
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    bundle = load_all(write_agent(tmp_path / "agent", packages=["desk-pack"]))
    assert [d.name for d in bundle.knowledge] == ["a", "b"]
    assert bundle.watched[1] == site / "desk_pack"
