"""One question to a model outside of any run's loop, metered like every call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from agentsite.engine.assemble import Assembly
from agentsite.engine.ports import Model, ModelRequest
from agentsite.host.meter import Meter
from agentsite.host.purse import BudgetSpent
from agentsite.providers.base import ProviderError
from agentsite.providers.fallback import stream_with_fallback


class Unanswered(Exception):
    """No model has answered, or none may be asked; why, to a person."""


async def ask_model(
    models: Sequence[Model], request: ModelRequest, meter: Meter, seconds: float
) -> Assembly:
    """The whole answer of the first of `models` that gives one. Raises `Unanswered`.

    What it cost stands in the meter, whatever became of it.
    """
    answer = Assembly()
    try:
        async with asyncio.timeout(seconds):
            asked = stream_with_fallback(tuple(models), request, meter)
            async with aclosing(asked) as stream:
                async for batch in stream:
                    meter.saw_delta()
                    answer.feed(batch)
    except BudgetSpent as spent:
        raise Unanswered(str(spent)) from spent
    except (ProviderError, TimeoutError) as error:
        kind = error.kind if isinstance(error, ProviderError) else "timeout"
        meter.close(answer.usage, kind, answer.text)
        told = str(error) or f"there was no answer within {seconds:.0f} s"
        raise Unanswered(told) from error
    except asyncio.CancelledError:
        meter.close(answer.usage, "cancelled", answer.text)
        raise
    meter.close(answer.usage)
    return answer
