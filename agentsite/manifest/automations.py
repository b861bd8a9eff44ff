"""`automations/<name>.json` or `.md`: a prompt that a clock or a webhook sets off."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import (
    Field,
    SecretStr,
    Strict,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agentsite.manifest.base import CamelModel, Count, Flag, Positive, Some, Text, Url
from agentsite.manifest.markdown import split_sections, strip_label, take_line
from agentsite.manifest.reader import Entry, Reader

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
LONGEST_NAME = 200
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
"""Any moment serves to try a cron expression."""
Trigger = Literal["cron", "webhook", "manual"]
TARGET_KEYS: dict[str, tuple[set[str], set[str]]] = {
    "webhook": ({"url"}, {"secret"}),
    "slack": ({"url"}, set()),
    "email": ({"to"}, {"subject"}),
    "callback": (set(), {"name"}),
    "store": ({"store"}, {"key"}),
}
"""By type: keys it needs, keys it may have."""


MOST_CHARS = {"schedule": 200, "scope": 200}
"""As much as there is room for; a title is cut."""
Retries = Annotated[Count, Field(le=10)]
AlertAfter = Annotated[Positive, Field(le=1_000)]
Minutes = Annotated[float, Strict(), Field(ge=0, le=525_600)]
"""At most a year."""
Tolerance = Annotated[Positive, Field(le=86_400)]
"""At most a day: whoever holds an old delivery may send it again for so long."""


def find_nul(value: object) -> bool:
    """Whether a text anywhere in JSON values has a NUL character, which no database stores."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(map(find_nul, value.values()))
    return isinstance(value, list | tuple) and any(map(find_nul, value))


class Target(CamelModel):
    """A place results are delivered to."""

    type: Literal["webhook", "slack", "email", "callback", "store"]
    url: Url | None = None
    secret: SecretStr | None = None
    to: tuple[Text, ...] | None = None
    subject: Text | None = None
    name: Text | None = None
    """Callback: a dotted Python path."""
    store: Text | None = None
    key: Text | None = None

    @model_validator(mode="after")
    def check_keys(self) -> Target:
        needed, optional = TARGET_KEYS[self.type]
        given = self.model_fields_set - {"type"}
        for key in sorted(needed - given):
            raise ValueError(f'a {self.type} target needs "{key}"')
        for key in sorted(given - needed - optional):
            raise ValueError(f'"{key}" has no effect on a {self.type} target')
        return self


class DeliveryBlock(CamelModel):
    targets: Annotated[tuple[Target, ...], Some]
    include_result: Flag = True
    template: Text | None = None


class FailureAlert(CamelModel):
    after: AlertAfter = 1
    """Failures in a row."""
    cooldown_minutes: Minutes = 60
    targets: Annotated[tuple[Target, ...], Some]


class WebhookAuth(CamelModel):
    """How an incoming delivery proves where it comes from."""

    type: Literal["hmac-sha256", "standard-webhooks", "stripe", "slack"] = "hmac-sha256"
    secret: SecretStr
    header: Text | None = None
    prefix: str | None = None
    tolerance: Tolerance = 300
    """Seconds between the sender's time stamp and our clock."""

    @model_validator(mode="after")
    def check_keys(self) -> WebhookAuth:
        plain = self.type == "hmac-sha256"
        given = self.model_fields_set & ({"tolerance"} if plain else {"header", "prefix"})
        for key in sorted(given):
            raise ValueError(f'"{key}" has no effect with type {self.type}')
        if self.secret.get_secret_value().startswith("whsec_") and self.type == "standard-webhooks":
            try:
                b64decode(self.secret.get_secret_value()[6:], validate=True)
            except ValueError:
                raise ValueError('what follows "whsec_" in the secret must be base64') from None
        return self


class AutomationSpec(CamelModel):
    """One automation as its file says it; `name` is the file's stem."""

    title: Text
    prompt: Text
    schedule: str | None = None
    timezone: str | None = None
    trigger: Trigger | None = None
    overlap: Literal["skip", "queue", "allow"] = "skip"
    catch_up: Literal["none", "last", "all"] = "last"
    write_enabled: Flag = False
    confirm: Literal["wait"] | None = None
    scope: str = ""
    """Partition of its runs; `each` runs once per known scope."""
    mode: Literal["sync", "async"] = "sync"
    webhook_auth: WebhookAuth | None = None
    retries: Retries = 0
    delivery: DeliveryBlock | None = None
    failure_alert: FailureAlert | None = None

    @property
    def kind(self) -> Trigger:
        """What sets it off, inferred when the file does not say."""
        if self.trigger:
            return self.trigger
        if self.schedule:
            return "cron"
        return "webhook" if self.webhook_auth else "manual"

    @field_validator("*", mode="before")
    @classmethod
    def check_characters(cls, value: object) -> object:
        if find_nul(value):
            raise ValueError("must have no NUL characters")
        return value

    @field_validator("prompt")
    @classmethod
    def read_lines(cls, prompt: str) -> str:
        """One way to end a line: browsers send another, so what nobody changed would differ."""
        return prompt.replace("\r\n", "\n").replace("\r", "\n")

    @field_validator(*MOST_CHARS)
    @classmethod
    def check_length(cls, text: str | None, info: ValidationInfo) -> str | None:
        most = MOST_CHARS[str(info.field_name)]
        if text is not None and len(text) > most:
            raise ValueError(f"must have at most {most} characters")
        return text

    @field_validator("schedule")
    @classmethod
    def check_schedule(cls, schedule: str | None) -> str | None:
        if schedule is not None:
            if len(schedule.split()) != 5:
                raise ValueError('must have five fields, as in "0 9 * * 1-5"')
            try:
                CronSim(schedule, EPOCH)
            except CronSimError as error:
                raise ValueError(f"is not a cron expression: {error}") from None
        return schedule

    @field_validator("timezone")
    @classmethod
    def check_timezone(cls, name: str | None) -> str | None:
        if name is not None and name not in available_timezones():
            raise ValueError('is not a time zone; write one as in "Europe/Berlin"')
        return name

    @model_validator(mode="after")
    def check_trigger(self) -> AutomationSpec:
        if (self.kind == "cron") != (self.schedule is not None):
            raise ValueError("a schedule belongs to trigger cron, and cron needs one")
        if self.kind != "cron" and self.timezone:
            raise ValueError("timezone has an effect with a schedule only")
        if self.kind != "webhook" and (self.webhook_auth or self.mode == "async"):
            raise ValueError("webhookAuth and mode have an effect with trigger webhook only")
        return self


@dataclass(frozen=True)
class AutomationFile:
    """An automation and the name its file gives it."""

    name: str
    spec: AutomationSpec


def read_automations(reader: Reader) -> tuple[AutomationFile, ...]:
    """Read all automations; every defect becomes a problem."""
    found: dict[str, AutomationFile] = {}
    for entry in reader.entries("automations"):
        spec = read_automation(reader, entry)
        if entry.name in found:
            reader.report(entry.file, f'another file already defines "{entry.name}"')
        if spec is not None:
            found[entry.name] = AutomationFile(entry.name, spec)
    return tuple(found.values())


def read_automation(reader: Reader, entry: Entry) -> AutomationSpec | None:
    if len(entry.name) > LONGEST_NAME:
        reader.report(entry.file, f"the name must have at most {LONGEST_NAME} characters")
    if not NAME.fullmatch(entry.name):
        reader.report(entry.file, "the name becomes part of an address: letters, digits, - and _")
    if entry.path.suffix == ".json" and not entry.path.is_dir():
        return reader.read_model(entry.path, AutomationSpec, resolve=True)
    if entry.path.suffix != ".md" or entry.path.is_dir():
        reader.report(entry.file, "automations/ holds .json and .md files only")
        return None
    page = reader.read_page(entry.path)
    if page is None:
        return None
    schedule, body = take_line(page.body, "Schedule")
    sections = split_sections(body)
    data: dict[str, object] = {
        "title": strip_label(page.heading, "Automation") or page.heading or entry.name,
        "prompt": sections.get("check") or sections[""],
        **page.meta,
    }
    if schedule and re.search(r"\bon webhook\b", schedule, re.IGNORECASE):
        data["trigger"] = "webhook"
    elif schedule:
        data["schedule"] = schedule.strip("`")
    elif re.search(r"\bon webhook\b", body, re.IGNORECASE):
        data["trigger"] = "webhook"
    return reader.validate(reader.resolver.resolve(data, entry.file), AutomationSpec, entry.file)
