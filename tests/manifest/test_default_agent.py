"""The agent that ships: it loads, and its script tells a whole story offline."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

import agentsite
from agentsite.evals.assertions import Facts, check
from agentsite.manifest.bundle import Bundle
from agentsite.manifest.loader import load
from agentsite.manifest.scripts import Reply, join_scripts
from tests.requirements import requirement

ROOT = Path(agentsite.__file__).parent / "default_agent"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load(ROOT, {})


def play(bundle: Bundle, user: str) -> list[Reply]:
    """Return the replies of a whole run: every call is answered until none is made."""
    script = join_scripts(bundle.scripts, bundle.model().model)
    assert script is not None
    replies: list[Reply] = []
    tool = None
    while len(replies) < 10:
        reply = script.choose(user, len(replies), tool)
        replies.append(reply)
        if not reply.tool_calls:
            return replies
        tool = reply.tool_calls[-1].name
    raise AssertionError("the script goes round in circles")


def test_it_loads_without_a_warning_and_says_it_is_offline(bundle: Bundle) -> None:
    assert bundle.warnings == ()
    assert bundle.notice is not None
    assert (len(bundle.skills), len(bundle.knowledge), len(bundle.tools)) == (2, 3, 2)


def test_any_key_turns_it_over_to_a_model() -> None:
    online = load(ROOT, {"OPENAI_API_KEY": "key-o"}, production=True)
    assert (online.model().provider, online.notice) == ("openai", None)


def test_an_order_is_looked_up_shown_and_commented(bundle: Bundle) -> None:
    lookup, shown, closing = play(bundle, "Where is my order 1042?")
    assert lookup.text
    assert lookup.tool_calls[0].name == "look_up_order"
    arguments = shown.tool_calls[0].arguments
    assert isinstance(arguments, dict)
    assert (shown.tool_calls[0].name, arguments["widget"]) == ("present", "data-table")
    assert all(len(row) == len(arguments["data"]["columns"]) for row in arguments["data"]["rows"])
    assert "in transit" in closing.text


@pytest.mark.parametrize("order", ["1042", "1057"])
async def test_script_and_tool_tell_the_same(bundle: Bundle, order: str) -> None:
    found = await call_handler({"order_number": order})
    said = str([reply.model_dump() for reply in play(bundle, f"Where is {order}?")])
    assert found["found"]
    assert found["tracking"] in said
    assert all(item["item"] in said for item in found["items"])
    assert f"{found['total']:.2f}" in said


async def test_unknown_order_is_said_to_be_unknown() -> None:
    assert (await call_handler({"order_number": "#9999"}))["found"] is False


@pytest.mark.parametrize(
    ("user", "answers", "part"),
    [
        ("Hello!", 1, "Fernhill Outdoor"),
        ("I want a refund", 2, "60 days"),
        ("I want to return order 1057", 2, "60 days"),
        ("Please open a return for the stove of order 1042", 2, "Ember gas stove"),
        ("Which returns are open?", 2, "newest first"),
        ("How long does shipping take?", 1, "3 to 5 weekdays"),
        ("My tent is torn", 1, "two-year warranty"),
        ("What is the meaning of life?", 1, "ANTHROPIC_API_KEY"),
    ],
)
def test_other_questions(bundle: Bundle, user: str, answers: int, part: str) -> None:
    replies = play(bundle, user)
    assert len(replies) == answers
    assert part in replies[-1].text


@requirement("evals.command")
@pytest.mark.parametrize("name", ["return-policy", "where-is-my-order"])
def test_its_evals_pass_without_a_model(bundle: Bundle, name: str) -> None:
    one = next(each for each in bundle.evals if each.name == name)
    replies = play(bundle, one.query)
    tools = tuple(call.name for reply in replies for call in reply.tool_calls)
    facts = Facts(replies[-1].text, tools, 0, len(replies))
    assert [each for each in one.assertions if not check(each, facts).passed] == []
    assert len(bundle.evals) == 2


@pytest.mark.parametrize(
    ("user", "title"),
    [("Where is my order 1042?", "Where order 1042 is"), ("Hm", "A question to the support desk")],
)
def test_titles_are_asked_for_with_the_conversation(bundle: Bundle, user: str, title: str) -> None:
    (reply,) = play(bundle, f"USER: {user}\n\nASSISTANT: Your refund for 1057 is on its way.")
    assert reply.text == title


def test_what_is_told_is_kept(bundle: Bundle) -> None:
    assert bundle.config.memory is not None
    assert bundle.config.memory.enabled
    noting, closing = play(bundle, "Please remember that I prefer e-mail.")
    assert noting.tool_calls[0].name == "memory"
    assert noting.tool_calls[0].arguments["action"] == "add"  # type: ignore[index]  # an object
    assert "by e-mail" in closing.text


def test_skills_named_by_the_script_exist(bundle: Bundle) -> None:
    named = {
        call.arguments["skill"]
        for script in bundle.scripts
        for reply in script.replies
        for call in reply.tool_calls
        if call.name == "activate_skill" and isinstance(call.arguments, dict)
    }
    assert named
    assert named <= {skill.name for skill in bundle.skills}


class Silent:
    """A `ctx` nobody listens to."""

    def log(self, message: str) -> None:
        """Take the line."""


async def call_handler(params: dict[str, Any]) -> dict[str, Any]:
    spec = spec_from_file_location("look_up_order", ROOT / "tools/look_up_order/handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    answer: dict[str, Any] = await module.handle(params, Silent())
    return answer
