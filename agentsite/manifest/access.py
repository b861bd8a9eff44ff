"""`connections/<name>/access.json`: what a connection may be used for, and by whom."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from agentsite.manifest.base import CamelModel, Flag, Positive, Text

ENDPOINT = re.compile(r"^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) /\S*$")
Tier = Literal["review", "never"]


def require_endpoint(endpoint: str) -> str:
    """Pass `METHOD /path` through; ValueError for anything else."""
    if not ENDPOINT.match(endpoint):
        raise ValueError(f'"{endpoint}" should read "METHOD /path", as in "POST /refunds"')
    return endpoint


class Threshold(CamelModel):
    """Raises the tier when a number of the call lies above a limit."""

    field: Text
    above: Annotated[float, Field(allow_inf_nan=False)]
    escalate: Tier


class Endpoint(CamelModel):
    returns: tuple[Text, ...] = ()
    confirm: Literal[True, "review", "never"] | None = None
    """None allows, true asks, `review` and `never` refuse the agent."""
    reason: str = ""
    thresholds: tuple[Threshold, ...] = ()

    @field_validator("confirm", mode="before")
    @classmethod
    def refuse_false(cls, value: Any) -> Any:
        if value is None or value is True or value in ("review", "never"):
            return value
        raise ValueError('must be true, "review" or "never"; leave it out to allow the call')


class FieldRestriction(CamelModel):
    entity: Text
    field: Text
    policy: Literal["never_retrieve", "retrieve_but_redact", "role_gated"]
    sensitivity: str = ""
    reason: str = ""
    allowed_roles: tuple[Text, ...] = ()
    group: str = ""

    @model_validator(mode="after")
    def check_roles(self) -> FieldRestriction:
        if self.policy == "role_gated" and not self.allowed_roles:
            raise ValueError("policy role_gated needs allowedRoles")
        if self.policy != "role_gated" and self.allowed_roles:
            raise ValueError("allowedRoles has an effect with policy role_gated only")
        return self


class RowRule(CamelModel):
    type: Literal["field_match", "all", "through_relation"]
    user_context_field: Text | None = None
    through_entity: Text | None = None
    label: str = ""

    @model_validator(mode="after")
    def check_type(self) -> RowRule:
        if (self.type == "field_match") != (self.user_context_field is not None):
            raise ValueError("userContextField belongs to type field_match, and it needs one")
        if (self.type == "through_relation") != (self.through_entity is not None):
            raise ValueError("throughEntity belongs to type through_relation, and it needs one")
        return self


class Delegations(CamelModel):
    """How sub-agents and automations stand to a connection."""

    enabled: Flag = False
    max_duration_days: Positive | None = None
    escalate_confirm: Flag = False
    """What a person would be asked is refused to them."""

    @model_validator(mode="after")
    def refuse_handing_on(self) -> Delegations:
        if self.enabled or self.max_duration_days is not None:
            raise ValueError(
                "enabled and maxDurationDays are not supported: nobody hands on rights to another"
                " person here; escalateConfirm is what governs sub-agents and automations"
            )
        return self


class AlternativeLookup(CamelModel):
    restricted_field: Text
    alternative_endpoint: str
    description: str = ""

    @field_validator("alternative_endpoint")
    @classmethod
    def check_endpoint(cls, endpoint: str) -> str:
        return require_endpoint(endpoint)


class Access(CamelModel):
    """The access rules of one connection."""

    endpoints: dict[str, Endpoint] = Field(default_factory=dict)
    field_restrictions: tuple[FieldRestriction, ...] = ()
    row_scoping: dict[str, dict[str, RowRule]] = Field(default_factory=dict)
    delegations: Delegations = Delegations()
    alternative_lookups: tuple[AlternativeLookup, ...] = ()

    @field_validator("endpoints")
    @classmethod
    def check_endpoints(cls, endpoints: dict[str, Endpoint]) -> dict[str, Endpoint]:
        for endpoint in endpoints:
            require_endpoint(endpoint)
        return endpoints
