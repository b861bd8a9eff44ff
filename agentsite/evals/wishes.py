"""What shall be tried: evals and models of an agent by their names, checked at once.

Law: everything that is wrong is said before anything is begun.
"""

from __future__ import annotations

import msgspec

from agentsite.engine.messages import Message, TextPart
from agentsite.host.agents import Agent, ServedAgents
from agentsite.host.clock import new_id
from agentsite.manifest.evals import Eval
from agentsite.manifest.problems import ManifestError
from agentsite.manifest.reload import UnknownAgent
from agentsite.operations.eval_rows import NewEvalRun
from agentsite.tools.base import clean

MOST_REPEATS = 20
MOST_LANES = 16
MOST_RESULTS = 2_000
LANES = 4


class CannotTry(Exception):
    """What keeps an eval run from beginning, in a sentence for people."""


class Wish(msgspec.Struct, frozen=True):
    """What somebody asks for; empty means all evals, the main model, the main model as judge."""

    agent: str = ""
    only: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    judge: str = ""
    repeats: int = 1
    lanes: int = LANES
    allow_writes: bool = False


def find_agent(agents: ServedAgents, name: str) -> Agent:
    """The agent as it is now. Reads files: for `unit`. Raises `CannotTry`."""
    try:
        return agents.current(name or None)
    except UnknownAgent:
        known = ", ".join(agents.sources.sources)
        raise CannotTry(f'There is no agent "{name}" here; there are: {known}.') from None
    except ManifestError as error:
        raise CannotTry(f"The agent's files have errors:\n{error}") from error


def list_models(agent: Agent) -> list[str]:
    """`provider/model` of all models that the manifest names, the main one first."""
    return list(dict.fromkeys(f"{each.provider}/{each.model}" for each in agent.configs))


def find_place(agent: Agent, label: str) -> int:
    """Place of a model among those of the agent. Raises `CannotTry`."""
    provider, _, name = label.partition("/")
    place = agent.find_model(provider, name)
    if place is None:
        known = ", ".join(list_models(agent))
        text = f'"{label}" is no model of {agent.id}; its amodal.json names: {known}.'
        raise CannotTry(f"{text} Add it there, for instance as models.advanced or as a fallback.")
    return place


def check_wish(agent: Agent, wish: Wish, requested_by: str) -> NewEvalRun:
    """An eval run that can begin. Raises `CannotTry`."""
    evals = {each.name: each for each in agent.bundle.evals}
    if not evals:
        text = f"{agent.id} has no evals: write some in {agent.bundle.root}/evals/*.md."
        raise CannotTry(text)
    unknown = [name for name in wish.only if name not in evals]
    if unknown:
        text = f"{agent.id} has no eval {', '.join(unknown)}; it has: {', '.join(evals)}."
        raise CannotTry(text)
    wanted = [each for each in evals.values() if not wish.only or each.name in wish.only]
    models = tuple(dict.fromkeys(wish.models)) or tuple(list_models(agent)[:1])
    for label in (*models, *filter(None, (wish.judge,))):
        find_place(agent, label)
    _check_number("the number of repeats", wish.repeats, MOST_REPEATS)
    _check_number("the number of lanes", wish.lanes, MOST_LANES)
    count = len(wanted) * len(models) * wish.repeats
    if count > MOST_RESULTS:
        raise CannotTry(f"These are {count} results; {MOST_RESULTS} at the most go in one go.")
    return NewEvalRun(
        agent=agent.id,
        agent_version=agent.bundle.version,
        agent_hash=agent.bundle.hash,
        evals=tuple((each.name, each.title) for each in wanted),
        models=models,
        judge=wish.judge,
        repeats=wish.repeats,
        lanes=min(wish.lanes, count),
        allow_writes=wish.allow_writes,
        requested_by=requested_by,
    )


def _check_number(what: str, given: int, most: int) -> None:
    if not 1 <= given <= most:
        raise CannotTry(f"{what.capitalize()} must be from 1 to {most}.")


def compose_message(one: Eval) -> Message:
    """What the agent is told: the setup, if there is one, and the question."""
    setup = [("App", one.app), ("Context", one.context)]
    told = "\n".join(f"{name}: {text}" for name, text in setup if text)
    text = clean("\n\n".join(filter(None, (told, one.query))))
    return Message("user", (TextPart(text),), new_id("msg"))
