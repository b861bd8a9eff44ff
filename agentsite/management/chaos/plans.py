"""What people say: each message tells the fake model what to answer, turn by turn."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from agentsite.management.chaos.agent import MAIN, SIMPLE

Answer = dict[str, Any]
PLAIN = ("count", "count", "count_idempotent", "read", "slow_count")
SIGN = "\\u0040"
"""The sign of a directive, as JSON may spell it inside another."""
OPTIONS = [{"label": "left"}, {"label": "right"}]


class Planner:
    """Invents messages; every planned call carries a name that no other call has."""

    def __init__(self, rng: random.Random, prefix: str) -> None:
        self._rng = rng
        self._prefix = prefix
        self._said = 0

    def say(self) -> tuple[str, str]:
        """A token that no other message has, and the message with it."""
        self._said += 1
        token = f"{self._prefix}-{self._said}"
        answers = self._answers(token)
        return token, f"[{token}] {_direct(answers, MAIN)}"

    def _answers(self, token: str) -> list[Answer]:
        rng = self._rng
        kind = rng.choices(
            ("text", "tools", "turns", "confirm", "ask", "dispatch", "trouble"),
            (24, 20, 16, 12, 6, 14, 8),
        )[0]
        match kind:
            case "text":
                return [self._text()]
            case "tools":
                return [self._calls(token, 0, rng.randint(1, 5)), self._text()]
            case "turns":
                turns = range(rng.randint(2, 4))
                return [*(self._calls(token, turn, rng.randint(1, 2)) for turn in turns), DONE]
            case "confirm":
                return [self._confirmed(token), self._text()]
            case "ask":
                return [{"tools": [self._question()]}, self._text()]
            case "dispatch":
                count = rng.randint(1, 3)
                return [{"tools": [self._dispatch(token, n) for n in range(count)]}, self._text()]
            case _:
                return [self._calls(token, 0, 1), self._trouble()]

    def _dispatch(self, token: str, place: int) -> Answer:
        """A sub-agent with calls, questions and troubles of its own."""
        rng = self._rng
        own = f"{token}.s{place}"
        turns: list[Answer] = [
            self._calls(own, turn, rng.randint(1, 3)) for turn in range(rng.randint(0, 2))
        ]
        if rng.random() < 0.3:
            turns.append(self._confirmed(f"{own}.c"))
        turns.append(self._trouble() if rng.random() < 0.1 else self._text())
        arguments: Answer = {"task": f"[{own}] {_direct(turns, SIMPLE)}"}
        if rng.random() < 0.3:
            arguments |= {"agent_name": "helper", "tools": [*PLAIN[1:], "confirmed_count"]}
        return {"name": "dispatch", "arguments": arguments}

    def _text(self) -> Answer:
        rng = self._rng
        pace = rng.choice((0, 20, 40, 80, 200))
        answer: Answer = {"deltas": rng.randint(3, 25 if pace == 20 else 90), "rate": pace}
        if rng.random() < 0.1:
            answer["slow_first_ms"] = rng.randint(200, 1500)
        if rng.random() < 0.1:
            answer["thinking"] = "Let me think about that."
        if rng.random() < 0.03:
            answer |= {"deltas": 1500, "chars": 80, "rate": 0}
        return answer

    def _calls(self, token: str, turn: int, count: int) -> Answer:
        rng = self._rng
        tools = [self._call(rng.choice(PLAIN), token, turn, place) for place in range(count)]
        return {"tools": tools, **({"deltas": 5, "rate": 50} if rng.random() < 0.4 else {})}

    def _call(self, name: str, token: str, turn: int, place: int) -> Answer:
        arguments: Answer = {"n": f"{token}.{turn}.{place}"}
        if name == "slow_count" or self._rng.random() < 0.3:
            arguments["ms"] = self._rng.randint(50, 2500)
        return {"name": name, "arguments": arguments}

    def _confirmed(self, token: str) -> Answer:
        rng = self._rng
        tools = [self._call("confirmed_count", token, 0, 0)]
        for place in range(1, rng.randint(1, 3)):
            name = rng.choice(("confirmed_count", "count", "read"))
            tools.append(self._call(name, token, 0, place))
        rng.shuffle(tools)
        return {"tools": tools}

    def _question(self) -> Answer:
        if self._rng.random() < 0.6:
            arguments: Answer = {"question": "Which way?", "options": OPTIONS}
            return {"name": "ask_choice", "arguments": arguments}
        asked = {"question": "What shall it be called?", "type": "text"}
        return {"name": "ask_user", "arguments": {"questions": [asked]}}

    def _trouble(self) -> Answer:
        return self._rng.choice(TROUBLES)


def _direct(answers: list[Answer], model: str) -> str:
    """What tells the fake model its answers; one directive may hold another."""
    directive = msgspec.json.encode([{**answer, "model": model} for answer in answers]).decode()
    return f"@@fake {directive.replace('@@', SIGN * 2)}@@"


DONE: Answer = {"deltas": 4}
TROUBLES: tuple[Answer, ...] = (
    {"error": {"status": 500}},
    {"error": {"status": 529}},
    {"error": {"status": 429, "retry_after": 0.2}},
    {"deltas": 10, "rate": 50, "cut_after": 5},
    {"deltas": 10, "rate": 50, "cut_after": 5, "cut": "clean"},
    {"deltas": 10, "rate": 50, "error_event_after": 4},
    {"deltas": 10, "rate": 50, "silence_after": 4},
    {"tools": [{"name": "nobody_has_this"}]},
    {"tools": [{"name": "read", "arguments": {"wrong": 1}}]},
    {"tools": [{"name": "read"}], "invalid_args": '{"n": '},
)
