"""Credentials of scopes on their way in, from a `credential-input` widget.

Law: values go from the request into the row. They are in no event, no message and no log.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError

from agentsite.host.bodies import to_refusal
from agentsite.host.errors import Refusal, session_not_found
from agentsite.host.identity import Caller
from agentsite.host.redaction import LOGS
from agentsite.host.site import site
from agentsite.rows.units import unit
from agentsite.tools.results import clean
from sessions_app import lookups, scopes

MAX_FIELDS = 32
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z_][\w.\-]*$")
]


class CredentialBody(BaseModel):
    """What `credential_saved` carries besides session and scope."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    connection_name: Annotated[str, StringConstraints(max_length=200)] | None = None
    connection: Annotated[str, StringConstraints(max_length=200)] | None = None
    app_id: Annotated[str, StringConstraints(max_length=200)] | None = None
    values: Annotated[dict[Name, SecretStr], Field(min_length=1, max_length=MAX_FIELDS)]


async def save_credential(caller: Caller, session_id: str, given: dict[str, Any]) -> None:
    """Store the values for `scope:NAME` of the session's agent. Raises `Refusal`."""
    try:
        body = CredentialBody.model_validate(given)
    except ValidationError as error:
        raise to_refusal(error) from None  # its cause could show what was typed
    values = {name: value.get_secret_value() for name, value in body.values.items()}
    values = {name: value for name, value in values.items() if value}  # left empty: unchanged
    if not values:
        raise Refusal(400, "invalid_field", '"values" has nothing but empty fields.')
    for name, value in values.items():
        if len(value) > scopes.MAX_SECRET or "\x00" in value:
            text = f'"values.{name}" must be a text of at most {scopes.MAX_SECRET:,} characters.'
            raise Refusal(400, "invalid_field", text)
    agent_id = await unit(lookups.agent_of, session_id, caller.scope_id)
    if agent_id is None:
        raise session_not_found()
    told = clean(body.connection_name or body.connection or "")
    try:
        await unit(_save, agent_id, caller.scope_id, values, told)
    except scopes.TooManyCredentials as error:
        raise Refusal(400, "too_many_credentials", str(error)) from error
    here = site()
    here.callers.forget_scope(caller.scope_id)
    await here.runs.tell_of_credential(session_id, told)


def _save(agent_id: str, scope_id: str, values: dict[str, str], told: str) -> None:
    LOGS.learn_of_scope(values.values())  # their many spellings are worked out beside the loop
    scopes.save_credentials(agent_id, scope_id, values, told)
