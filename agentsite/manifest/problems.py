"""What can be wrong with an agent repository, said so that a person can put it right.

A problem names file and JSON path; values are never quoted, because any of them
may be a resolved secret.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Code = Literal[
    "CONFIG_NOT_FOUND",
    "CONFIG_PARSE_FAILED",
    "CONFIG_VALIDATION_FAILED",
    "ENV_NOT_SET",
    "READ_FAILED",
]
Location = Sequence[int | str]

PLAIN = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
}


@dataclass(frozen=True)
class Problem:
    """One thing to put right."""

    code: Code
    file: str
    """Relative to the agent's root."""
    path: str
    """JSON path such as `models.main.model`; empty when the whole file is meant."""
    message: str

    def __str__(self) -> str:
        place = f"{self.file} at {self.path}" if self.path else self.file
        return f"{place}: {self.message} [{self.code}]"


class ManifestError(Exception):
    """An agent repository that cannot be served; carries every problem found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def join_path(location: Location) -> str:
    """Write a location as `a.b[0].c`."""
    path = ""
    for element in location:
        if isinstance(element, int):
            path += f"[{element}]"
        else:
            path += f".{element}" if path else element
    return path


def suggest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?`, or what is known when nothing is near."""
    names = sorted(known)
    folded = {candidate.replace("_", "").lower(): candidate for candidate in names}
    near = difflib.get_close_matches(name.replace("_", "").lower(), list(folded), n=1, cutoff=0.5)
    if near:
        return f'; did you mean "{folded[near[0]]}"?'
    return f"; known here: {', '.join(names)}" if names else ""


def translate(
    error: ValidationError, model: type[BaseModel], file: str, within: Location = ()
) -> list[Problem]:
    """Turn pydantic's findings about one file into problems with clean paths.

    `within` is where in the file the validated object stands.
    """
    found = []
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        unknown = detail["type"] == "extra_forbidden"
        location, holder = trace(model, detail["loc"][:-1] if unknown else detail["loc"])
        if unknown:
            name = str(detail["loc"][-1])
            message = f'unknown key "{name}"{suggest(name, known_keys(holder))}'
            location = [*location, name]
        else:
            said = PLAIN.get(detail["type"], detail["msg"])
            message = said.removeprefix("Value error, ").replace("Input should", "should")
        found.append(
            Problem("CONFIG_VALIDATION_FAILED", file, join_path([*within, *location]), message)
        )
    return found


def trace(model: type[BaseModel], location: Location) -> tuple[list[int | str], Any]:
    """Follow a pydantic location: the same without union tags, and where it leads."""
    annotation: Any = model
    path: list[int | str] = []
    for element in location:
        for option in unwrap(annotation):
            inner = descend(option, element)
            if inner is not None:
                path.append(element)
                annotation = inner
                break
    return path, annotation


def descend(annotation: Any, element: int | str) -> Any:
    """Return the annotation one step down, or None when there is no such step."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if element == (field.alias or name):
                return field.annotation
        return None
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return arguments[1] if isinstance(element, str) else None
    if origin in (list, tuple):
        return arguments[0] if isinstance(element, int) else None
    return None


def unwrap(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, without `Annotated`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return unwrap(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(one for option in get_args(annotation) for one in unwrap(option))
    return (annotation,)


def known_keys(annotation: Any) -> list[str]:
    """Return the keys that an object of this type may have, as files spell them."""
    return [
        field.alias or name
        for option in unwrap(annotation)
        if isinstance(option, type) and issubclass(option, BaseModel)
        for name, field in option.model_fields.items()
    ]
