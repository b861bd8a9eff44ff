"""Hot reload, and several agents on one server."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsite.manifest.problems import ManifestError
from agentsite.manifest.reload import Agents, BundleSource, UnknownAgent
from tests.manifest.agents import write_agent, write_files


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_source(root: Path, *, production: bool = False) -> tuple[BundleSource, Clock]:
    clock = Clock()
    env = {"OPENAI_API_KEY": "key-o"}
    return BundleSource(root, lambda: env, production, clock=clock), clock


def test_change_is_seen_within_a_second_and_old_bundles_stay(tmp_path: Path) -> None:
    source, clock = make_source(write_agent(tmp_path))
    first = source.current()
    write_files(tmp_path, {"knowledge/a.md": "new"})
    assert source.current() is first
    clock.now += 1
    second = source.current()
    assert [d.name for d in second.knowledge] == ["a"]
    assert (first.knowledge, first.hash != second.hash) == ((), True)
    clock.now += 1
    assert source.current() is second


def test_broken_edit_keeps_the_last_good_version(tmp_path: Path) -> None:
    source, clock = make_source(write_agent(tmp_path))
    good = source.current()
    (tmp_path / "amodal.json").write_text("{")
    clock.now += 1
    assert source.current() is good
    assert source.problem is not None
    assert "amodal.json" in source.problem
    clock.now += 1
    assert source.current() is good
    write_agent(tmp_path, version="0.2.0")
    clock.now += 1
    assert source.current().version == "0.2.0"
    assert source.problem is None


def test_package_and_dotenv_are_watched(tmp_path: Path) -> None:
    write_files(tmp_path / "pack", {"knowledge/a.md": "one"})
    source, clock = make_source(write_agent(tmp_path / "agent", packages=["../pack"]))
    assert source.current().knowledge[0].body == "one"
    write_files(tmp_path / "pack", {"knowledge/a.md": "other"})
    clock.now += 1
    assert source.current().knowledge[0].body == "other"
    write_files(tmp_path / "agent", {".env": "AGENT_MODEL=another-model"})
    clock.now += 1
    assert source.current().model().model == "another-model"


def test_production_reads_once(tmp_path: Path) -> None:
    source, clock = make_source(write_agent(tmp_path), production=True)
    first = source.current()
    write_agent(tmp_path, version="0.2.0")
    clock.now += 100
    assert source.current() is first


def test_first_load_raises_and_the_next_try_may_work(tmp_path: Path) -> None:
    source, _ = make_source(tmp_path)
    with pytest.raises(ManifestError):
        source.current()
    write_agent(tmp_path)
    assert source.current().name == "probe"


def test_one_agent_is_known_by_its_name(tmp_path: Path) -> None:
    agents = Agents.discover(dict, agent_dir=write_agent(tmp_path))
    assert (agents.default, agents.get().name, agents.get("probe").name) == ("probe",) * 3
    with pytest.raises(UnknownAgent):
        agents.get("other")


def test_several_agents_are_known_by_their_folders(tmp_path: Path) -> None:
    write_agent(tmp_path / "beta", name="second")
    write_agent(tmp_path / "alpha", name="first")
    (tmp_path / "no-agent").mkdir()
    agents = Agents.discover(dict, agents_dir=tmp_path)
    assert list(agents.sources) == ["alpha", "beta"]
    assert (agents.get().name, agents.get("beta").name, agents.problems) == ("first", "second", {})


def test_folder_without_agents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        Agents.discover(dict, agents_dir=tmp_path)
