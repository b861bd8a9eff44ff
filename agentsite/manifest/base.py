"""What all manifest models share: frozen, strict about types, closed to unknown keys.

`"$schema"` and keys that begin with `x-` are comments and pass everywhere.
Files spell keys in camelCase, or in snake_case where a model says so.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, model_validator
from pydantic.alias_generators import to_camel

Flag = Annotated[bool, Strict()]
"""true or false, never "true" or 1."""
Count = Annotated[int, Strict(), Field(ge=0)]
Positive = Annotated[int, Strict(), Field(gt=0)]
Seconds = Annotated[float, Strict(), Field(gt=0)]
Amount = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


def require_http(url: str) -> str:
    """Pass an http or https address through; ValueError for anything else."""
    if not re.match(r"https?://[^/\s]+", url):
        raise ValueError("must be an http or https address")
    return url


Url = Annotated[str, AfterValidator(require_http)]


def require_some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Pass a list with something in it through; pydantic's own rule miscounts broken items."""
    if not values:
        raise ValueError("must not be empty")
    return values


Some = AfterValidator(require_some)


def is_comment(key: object) -> bool:
    """Tell whether a key of a manifest file is a comment."""
    return isinstance(key, str) and (key == "$schema" or key.startswith("x-"))


class SnakeModel(BaseModel):
    """A closed, frozen object whose keys are spelled as in Python."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def drop_comments(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if not is_comment(key)}
        return data


class CamelModel(SnakeModel):
    """A closed, frozen object whose keys are camelCase in files, snake_case in Python."""

    model_config = ConfigDict(alias_generator=to_camel)
