"""`stores/<kebab-name>.json`: a table of documents the agent keeps, with its schema."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, field_validator, model_validator
from pydantic.alias_generators import to_camel

from agentsite.manifest.base import CamelModel, Count, Flag, Positive, Some, Text
from agentsite.manifest.models import ModelConfig
from agentsite.manifest.reader import Reader

KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
FIELD = re.compile(r"[A-Za-z_]\w*")
CONDITION = re.compile(r"(\w+)\s*(?:(=|!=)\s*'[^']*'|IN\s*\[\s*'[^']*'(?:\s*,\s*'[^']*')*\s*\])")
BELONGS = {
    "number": ("min", "max"),
    "enum": ("values",),
    "array": ("item",),
    "object": ("fields",),
    "ref": ("store",),
}
EMBEDDERS = ("openai", "google")
NOT_FOR_VECTORS = ("fallback", "temperature", "thinking", "max_tokens", "context_window", "api")
"""Keys of a model that say how it talks."""
NEEDED = {"enum": "values", "array": "item", "object": "fields", "ref": "store"}


class FieldSpec(CamelModel):
    """Type of one field; which of the other keys belong to it depends on `type`."""

    type: Literal["string", "number", "boolean", "datetime", "enum", "array", "object", "ref"]
    nullable: Flag = False
    description: str = ""
    min: Annotated[float, Strict()] | None = None
    max: Annotated[float, Strict()] | None = None
    values: Annotated[tuple[Text, ...], Some] | None = None
    item: FieldSpec | None = None
    fields: dict[str, FieldSpec] | None = None
    store: Text | None = None

    @model_validator(mode="after")
    def check_keys(self) -> FieldSpec:
        allowed = BELONGS.get(self.type, ())
        for key in ("min", "max", "values", "item", "fields", "store"):
            if getattr(self, key) is not None and key not in allowed:
                raise ValueError(f'"{key}" has no effect on a field of type {self.type}')
        needed = NEEDED.get(self.type)
        if needed and getattr(self, needed) is None:
            raise ValueError(f'type {self.type} needs "{needed}"')
        for name in self.fields or ():
            if not FIELD.fullmatch(name):
                raise ValueError(f'"{name}" is not a field name: letters, digits and _ only')
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is larger than max")
        return self


class Entity(CamelModel):
    """What a store holds; `key` is a template such as `{customer}-{day}`."""

    name: Text
    key: Text
    fields: dict[str, FieldSpec] = Field(alias="schema", min_length=1)

    @property
    def key_fields(self) -> tuple[str, ...]:
        return tuple(re.findall(r"\{([^{}]*)\}", self.key))

    @model_validator(mode="after")
    def check_key(self) -> Entity:
        for name in self.fields:
            if not FIELD.fullmatch(name):
                raise ValueError(f'"{name}" is not a field name: letters, digits and _ only')
        if not self.key_fields:
            raise ValueError('key names no field; write it as in "{id}"')
        for name in self.key_fields:
            if name not in self.fields:
                raise ValueError(f'key names the field "{name}", which the schema does not have')
            if self.fields[name].type in ("array", "object"):
                raise ValueError(f'key names the field "{name}", which is no single value')
        return self


class TtlRule(CamelModel):
    """A life time for documents that meet a condition; the first that fits wins."""

    condition: Text
    ttl: Positive

    @field_validator("condition")
    @classmethod
    def check_condition(cls, condition: str) -> str:
        if not CONDITION.fullmatch(condition.strip()):
            raise ValueError("should read `field = 'v'`, `field != 'v'` or `field IN ['a','b']`")
        return condition

    @property
    def parts(self) -> tuple[str, str, tuple[str, ...]]:
        """Field, operator (`=`, `!=`, `IN`) and values."""
        found = CONDITION.fullmatch(self.condition.strip())
        if found is None:
            raise ValueError("a condition that was never checked")
        return found[1], found[2] or "IN", tuple(re.findall(r"'([^']*)'", self.condition))


class Ttl(CamelModel):
    """Seconds a document lives."""

    default: Positive | None = None
    override: tuple[TtlRule, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def accept_number(cls, data: Any) -> Any:
        return {"default": data} if isinstance(data, int) else data


class Failure(CamelModel):
    """What becomes of a batch in which a document fails."""

    mode: Literal["partial", "all-or-nothing", "skip"] = "partial"
    retries: Count = 0
    backoff: Literal["none", "linear", "exponential"] = "none"
    dead_letter: Flag = False


class History(CamelModel):
    versions: Count = 0


class StoreSpec(CamelModel):
    """One store."""

    name: Text
    description: str = ""
    entity: Entity
    ttl: Ttl | None = None
    ttl_conditional: tuple[TtlRule, ...] = Field((), alias="ttl_conditional")
    failure: Failure = Failure()
    history: History = History()
    trace: Flag = False
    shared: Flag = False
    embed: tuple[Text, ...] = ()
    """String fields that vector search covers (ours)."""

    @property
    def tool_names(self) -> tuple[str, str]:
        """The tools that write one document, and many."""
        name = f"store_{self.name.replace('-', '_')}"
        return name, f"{name}_batch"

    @property
    def ttl_rules(self) -> tuple[TtlRule, ...]:
        """Every conditional life time, in the order in which they are tried."""
        return (*(self.ttl.override if self.ttl else ()), *self.ttl_conditional)

    @model_validator(mode="after")
    def check_conditions(self) -> StoreSpec:
        for rule in self.ttl_rules:
            name = rule.parts[0]
            if name not in self.entity.fields:
                raise ValueError(f'a condition names "{name}", which the schema does not have')
        return self

    @model_validator(mode="after")
    def check_embed(self) -> StoreSpec:
        for name in self.embed:
            field = self.entity.fields.get(name)
            if field is None or field.type != "string":
                raise ValueError(f'embed names "{name}", which is no string field of the schema')
        return self


def read_stores(reader: Reader) -> tuple[StoreSpec, ...]:
    """Read all stores; every defect becomes a problem, dangling references too."""
    stores: dict[str, tuple[StoreSpec, str]] = {}
    for entry in reader.entries("stores"):
        if entry.path.is_dir() or entry.path.suffix != ".json":
            reader.report(entry.file, "stores/ holds .json files only")
            continue
        if not KEBAB.fullmatch(entry.name):
            reader.report(entry.file, "the file name must be in kebab-case, as in open-orders.json")
        store = reader.read_model(entry.path, StoreSpec)
        if store is None:
            continue
        if store.name != entry.name:
            reader.report(entry.file, f'must be "{entry.name}", like the file', "name")
        stores[entry.name] = (store, entry.file)
    for store, file in stores.values():
        for path, target in find_references(store.entity.fields, ("entity", "schema")):
            if target not in stores:
                reader.report(file, f'there is no store "{target}"', *path, "store")
    return tuple(store for store, _ in stores.values())


def check_tool_names(reader: Reader, stores: Iterable[StoreSpec], tools: Iterable[str]) -> None:
    """Report tools of stores that have the name of another tool."""
    taken = set(tools)
    for store in stores:
        for name in store.tool_names:
            if name in taken:
                reader.report(
                    f"stores/{store.name}.json", f'there is another tool "{name}"', "name"
                )
            taken.add(name)


def find_references(
    fields: dict[str, FieldSpec], at: tuple[str, ...]
) -> list[tuple[tuple[str, ...], str]]:
    """Return (path, store) of every `ref`, nested ones included."""
    found = []
    pending = [((*at, name), field) for name, field in fields.items()]
    while pending:
        path, field = pending.pop(0)
        if field.store is not None:
            found.append((path, field.store))
        if field.item is not None:
            pending.append(((*path, "item"), field.item))
        pending.extend(((*path, "fields", n), f) for n, f in (field.fields or {}).items())
    return found


def check_embedding(
    reader: Reader, stores: Iterable[StoreSpec], embedding: ModelConfig | None
) -> None:
    """Report stores that want vectors where no model makes them, and models that make none."""
    if embedding is not None and embedding.provider not in EMBEDDERS:
        message = f"embeds nothing; use {' or '.join(EMBEDDERS)}"
        reader.report("amodal.json", message, "models", "embedding", "provider")
    for name in NOT_FOR_VECTORS:
        if embedding is not None and getattr(embedding, name) is not None:
            message = "has no effect on a model that makes vectors: remove it"
            reader.report("amodal.json", message, "models", "embedding", to_camel(name))
    for store in stores:
        if store.embed and embedding is None:
            message = "needs a model: add models.embedding to amodal.json"
            reader.report(f"stores/{store.name}.json", message, "embed")
