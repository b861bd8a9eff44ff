"""Folders of Markdown: skills, knowledge, agents, evals."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.manifest.agents import find_messages, load_all, write_agent


def test_skill_in_both_forms(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        {
            "skills/refund/SKILL.md": "# Skill: Pay back\nTrigger: Money asked\n\nAsk first.",
            "skills/refund/forms/a.txt": "Form",
            "skills/refund/.hidden": "x",
            "skills/track/SKILL.md": "---\nname: Track\ndescription: Find it\n---\nLook it up.",
        },
    )
    pay, track = load_all(root).skills
    assert (pay.name, pay.description, pay.trigger) == ("Pay back", *["Money asked"] * 2)
    assert pay.body == "Ask first."
    assert pay.files == {"forms/a.txt": root / "skills/refund/forms/a.txt"}
    assert (track.name, track.description, track.trigger) == ("Track", "Find it", "")


def test_knowledge_titles_and_tags(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        {
            "knowledge/a.md": "# Knowledge: Shipping\n\nTwo days.",
            "knowledge/b.md": "No heading, just text.",
            "knowledge/c.md": "---\ntitle: Third\ntags: [x, y]\n---\nText",
            "knowledge/d.md": "# Fourth\nTags: p, q\n\nText",
        },
    )
    documents = load_all(root).knowledge
    assert [d.title for d in documents] == ["Shipping", "b", "Third", "Fourth"]
    assert [d.tags for d in documents] == [(), (), ("x", "y"), ("p", "q")]
    assert [d.body for d in documents] == [
        "Two days.",
        "No heading, just text.",
        "Text",
        "Text",
    ]


def test_identity_and_sub_agents_in_all_forms(tmp_path: Path) -> None:
    root = write_agent(
        tmp_path,
        {
            "agents/main.md": "You are a probe.\n",
            "agents/plain/AGENT.md": "Look around.",
            "agents/front/AGENT.md": "---\ndisplayName: Front\ntimeout: 5\n---\nDo it.",
            "agents/config/AGENT.md": "# Agent: Conf\n\n## Config\n```yaml\ntools: [request]\n"
            "modelTier: advanced\n```\n\n## Prompt\nThink hard.",
        },
    )
    bundle = load_all(root)
    config, front, plain = bundle.agents
    assert bundle.identity == "You are a probe."
    assert (plain.name, plain.prompt, plain.meta.timeout) == ("plain", "Look around.", 20)
    assert plain.meta.tools == ("shell_exec", "load_knowledge")
    assert (front.display_name, front.meta.timeout, front.prompt) == ("Front", 5, "Do it.")
    assert (config.display_name, config.meta.tools) == ("Conf", ("request",))
    assert (config.meta.model_tier, config.prompt) == ("advanced", "Think hard.")


def test_eval_with_every_kind_of_assertion(tmp_path: Path) -> None:
    text = """# Eval: Late order

Checks the tone.

## Setup
App: shop
Context: it is Monday

## Query
"Where is 1057?"

## Assertions
- Names the delay
- Should NOT promise a refund
- contains: 1057
- NOT contains: sorry not sorry
- length_between: 10, 400
- tool_called: look_up_order
"""
    one = load_all(write_agent(tmp_path, {"evals/late.md": text})).evals[0]
    assert (one.name, one.title, one.description) == ("late", "Late order", "Checks the tone.")
    assert (one.app, one.context, one.query) == ("shop", "it is Monday", "Where is 1057?")
    assert [(a.kind, a.negated) for a in one.assertions] == [
        ("rubric", False),
        ("rubric", True),
        ("contains", False),
        ("contains", True),
        ("length_between", False),
        ("tool_called", False),
    ]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("skills/a/SKILL.md", "# Skill: A\nTrigger: t", "the method itself is missing"),
        ("skills/a/SKILL.md", "Just do it.", "needs a description"),
        ("skills/a/SKILL.md", "---\nname: [\n---\nx", "front matter is not YAML"),
        ("skills/a/SKILL.md", "---\ntriger: x\n---\nx", 'did you mean "trigger"?'),
        ("skills/a.md", "x", "a folder with a SKILL.md"),
        ("knowledge/a.md", "", "is empty"),
        ("knowledge/a.pdf", "x", ".md files only"),
        ("agents/other.md", "x", "agents/ holds main.md"),
        ("agents/main.md", " \n", "is empty"),
        ("agents/a/AGENT.md", "---\nmodelTier: huge\n---\nx", "should be 'simple'"),
        ("agents/a/AGENT.md", "---\ntargetOutputMin: 900\n---\nx", "targetOutputMin is larger"),
        ("agents/a/AGENT.md", "## Config\ntools: []\n\n## Prompt\n", "the prompt is missing"),
        ("evals/a.md", "# Eval: A\n\n## Assertions\n- x", '"## Query" is missing'),
        ("evals/a.md", "## Query\nq", "lists nothing"),
        ("evals/a.md", "## Query\nq\n## Assertions\n- regex: (", "not a regular expression"),
        ("evals/a.md", "## Query\nq\n## Assertions\n- max_turns: few", "needs a whole number"),
        ("evals/a.md", "## Query\nq\n## Assertions\n- length_between: 9,1", "fits nothing"),
        ("evals/a.md", "## Query\nq\n## Assertions\n- x\n## Notes\ny", 'not "notes"'),
        ("evals/a.md", "## Setup\nUser: u\n## Query\nq\n## Assertions\n- x", "lines App: and"),
    ],
)
def test_each_mistake_is_told(tmp_path: Path, file: str, text: str, message: str) -> None:
    found = find_messages(write_agent(tmp_path, {file: text}))
    assert len(found) == 1
    assert found[0].startswith(file.split("/")[0])
    assert message in found[0]


def test_two_skills_of_one_name_are_refused(tmp_path: Path) -> None:
    text = "---\nname: Same\ndescription: d\n---\nx"
    root = write_agent(tmp_path, {"skills/a/SKILL.md": text, "skills/b/SKILL.md": text})
    assert find_messages(root) == ['skills/b : another skill is called "Same", too']
