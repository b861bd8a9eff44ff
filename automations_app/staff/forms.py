"""The form of an automation. What it means is checked by the same model as a file.

Law: secrets are never shown; a field that is left empty keeps the one that is stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from django import forms
from pydantic import ValidationError
from unfold.widgets import (  # type: ignore[import-untyped]  # it has no types
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from agentsite.manifest.automations import NAME, AutomationSpec
from agentsite.manifest.env import PREFIX
from agentsite.rows.secrets import SecretLost
from automations_app.columns import Columns, read_columns
from automations_app.models import Automation
from automations_app.signatures import DEFAULT_PREFIX
from automations_app.targets import Known, Unclear, put_back, read_targets

DIALECTS = [
    ("", "anybody may send (unsigned)"),
    ("hmac-sha256", "HMAC-SHA256 of the body (GitHub, Shopify, X-Amodal-Signature)"),
    ("standard-webhooks", "Standard Webhooks"),
    ("stripe", "Stripe"),
    ("slack", "Slack"),
]
PREFIXED = "hmac-sha256"
"""The dialect in which something stands before the signature."""
FIELDS = {
    "catchUp": "catch_up",
    "writeEnabled": "write_enabled",
    "confirm": "wait_for_person",
    "scope": "partition",
    "webhookAuth": "auth_type",
    "failureAlert": "failure_alert",
}
"""Keys of a file by another name than the form's."""


def _text(**attrs: str) -> Any:
    return UnfoldAdminTextInputWidget(attrs=attrs)


def _area(rows: int) -> Any:
    return UnfoldAdminTextareaWidget(attrs={"rows": rows, "spellcheck": "false"})


def _choice(label: str, choices: Any, help_text: str = "") -> forms.ChoiceField:
    widget = UnfoldAdminSelectWidget(choices=choices)
    return forms.ChoiceField(
        label=label, choices=choices, required=False, help_text=help_text, widget=widget
    )


def _switch(label: str, help_text: str) -> forms.BooleanField:
    return forms.BooleanField(
        label=label, required=False, help_text=help_text, widget=UnfoldBooleanSwitchWidget()
    )


SHOWN = (
    "title", "prompt", "trigger", "schedule", "timezone", "overlap", "catch_up", "mode",
    "partition", "write_enabled", "wait_for_person", "retries", "delivery", "failure_alert",
)  # fmt: skip
"""Columns that are fields as they are."""


class Block(forms.JSONField):
    """An object of a file; nothing is an empty field."""

    def prepare_value(self, value: Any) -> Any:
        """Indented; nothing at all for None."""
        if isinstance(value, str):
            return value
        return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False)


class AutomationForm(forms.Form):
    """All that staff may set; `clean` leaves the columns in `columns`."""

    title = forms.CharField(max_length=300, widget=_text())
    prompt = forms.CharField(
        widget=_area(8), strip=False, help_text="{{event}} stands for what a webhook sent."
    )
    trigger = _choice("Set off by", Automation.Trigger.choices)
    schedule = forms.CharField(
        required=False,
        max_length=200,
        widget=_text(placeholder="0 9 * * 1-5", autocomplete="off"),
        help_text="Minute, hour, day of month, month, day of week.",
    )
    timezone = forms.CharField(
        label="Time zone",
        required=False,
        max_length=64,
        widget=_text(placeholder="Europe/Berlin", list="zones", autocomplete="off"),
    )
    overlap = _choice("While one still runs", Automation.Overlap.choices)
    catch_up = _choice("After a standstill", Automation.CatchUp.choices)
    mode = _choice("A webhook is answered", Automation.Mode.choices)
    auth_type = _choice("Senders prove themselves by", DIALECTS)
    auth_header = forms.CharField(
        label="Header of the signature", required=False, max_length=200, widget=_text()
    )
    auth_prefix = forms.CharField(
        label="What stands before the signature",
        required=False,
        max_length=50,
        strip=False,
        widget=_text(),
    )
    auth_secret = forms.CharField(
        label="Secret",
        required=False,
        strip=True,
        help_text="Left empty, the stored one stays.",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "password", "autocomplete": "off"}),
    )
    partition = forms.CharField(
        label="Scope",
        required=False,
        max_length=200,
        widget=_text(),
        help_text="Empty: the scope without a name. `each`: once in every known scope.",
    )
    write_enabled = _switch("May write", "Else everything that changes something is refused.")
    wait_for_person = _switch("Wait for a person", "Else what needs a person is refused.")
    retries = forms.IntegerField(
        label="Further tries after a failure",
        required=False,
        min_value=0,
        max_value=10,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "number", "min": 0, "max": 10}),
    )
    delivery = Block(
        label="Delivery of results",
        required=False,
        widget=_area(7),
        help_text='As in a file: {"targets": [{"type": "slack", "url": "…"}]}. '
        "Secrets that are stored are not shown and stay.",
    )
    failure_alert = Block(
        label="Failure alert",
        required=False,
        widget=_area(5),
        help_text='As in a file: {"after": 3, "targets": [{"type": "email", "to": ["…"]}]}.',
    )

    def __init__(
        self, data: Any = None, *, row: Automation | None = None, secrets: Iterable[str] = ()
    ) -> None:
        """`secrets` are values of the agent's environment, which are not to be shown."""
        super().__init__(data, initial=read_initial(row or Automation()))
        self.row = row
        self.columns: Columns = {}
        self._hidden = set(secrets)

    def clean(self) -> dict[str, Any]:
        """Make columns of the fields, through the model of a file."""
        given = super().clean() or {}
        if self.errors:
            return given
        try:
            told = self._to_file(given)
            spec = None if self.errors else AutomationSpec.model_validate(told)
        except ValidationError as error:
            self._tell(error)
            return given
        if spec is not None:
            self.columns = read_columns(spec, self._hidden)
        return given

    def clean_auth_secret(self) -> str:
        """A text of its own: nothing is looked up here."""
        return refuse_reference(str(self.cleaned_data["auth_secret"]))

    def clean_delivery(self) -> Any:
        """The same for every text in it."""
        return refuse_reference(self.cleaned_data["delivery"])

    def clean_failure_alert(self) -> Any:
        """The same for every text in it."""
        return refuse_reference(self.cleaned_data["failure_alert"])

    def _to_file(self, given: dict[str, Any]) -> dict[str, Any]:
        trigger = given.get("trigger") or Automation.Trigger.MANUAL
        told: dict[str, Any] = {
            "title": given["title"],
            "prompt": given["prompt"],
            "trigger": trigger,
            "overlap": given.get("overlap") or "skip",
            "catchUp": given.get("catch_up") or "last",
            "writeEnabled": given["write_enabled"],
            "confirm": "wait" if given["wait_for_person"] else None,
            "scope": given["partition"],
            "retries": given.get("retries") or 0,
            "delivery": self._with_secrets("delivery", given.get("delivery")),
            "failureAlert": self._with_secrets("failure_alert", given.get("failure_alert")),
        }
        if trigger == Automation.Trigger.CRON:
            told |= {"schedule": given["schedule"], "timezone": given["timezone"] or None}
        if trigger == Automation.Trigger.WEBHOOK:
            told |= {"mode": given.get("mode") or "sync", "webhookAuth": self._auth(given)}
        return told

    def _auth(self, given: dict[str, Any]) -> dict[str, Any] | None:
        kind = given.get("auth_type")
        if not kind:
            return None
        secret = given["auth_secret"] or self._stored_secret()
        if not secret:
            self.add_error("auth_secret", "Give the secret that the sender signs with.")
        known = (self.row.webhook_auth if self.row is not None else None) or {}
        told = {
            "type": kind,
            "secret": secret,
            "header": given["auth_header"] or None,
            "prefix": self._prefix(kind, given["auth_prefix"]),
            # Every row has one; of a signature without a time it means nothing.
            "tolerance": None if kind == PREFIXED else known.get("tolerance"),
        }
        return {key: value for key, value in told.items() if value is not None}

    def _prefix(self, kind: str, given: str) -> str | None:
        """As it stands in the file: None is the usual one, an empty text is none at all."""
        row = self.row or Automation()
        if given != read_initial(row)["auth_prefix"]:
            return given if given or kind == PREFIXED else None
        return (row.webhook_auth or {}).get("prefix") if kind == PREFIXED else None

    def _stored_secret(self) -> str:
        stored = self.row.webhook_secret if self.row is not None else None
        try:
            return "" if stored is None else stored.open()
        except SecretLost:
            return ""

    def _with_secrets(self, name: str, block: Any) -> Any:
        """Put back what was taken out of targets that are still the same."""
        if not isinstance(block, dict) or not isinstance(block.get("targets"), list):
            return block or None
        try:
            known: list[Known] = []
            if self.row is not None:
                known = read_targets(name, getattr(self.row, name), self.row.target_secrets)
            whole = put_back(block["targets"], known)
        except (Unclear, SecretLost) as error:
            self.add_error(name, str(error))
            return block
        for target, hidden in whole:
            self._hidden |= {target[key] for key in hidden if isinstance(target[key], str)}
        return {**block, "targets": [target for target, _ in whole]}

    def _tell(self, error: ValidationError) -> None:
        for each in error.errors(include_url=False, include_input=False):
            key = str(each["loc"][0]) if each["loc"] else ""
            field = FIELDS.get(key, key)
            path = ".".join(str(part) for part in each["loc"][1:])
            text = each["msg"].removeprefix("Value error, ")
            text = f"{path}: {text}" if path else text
            self.add_error(field if field in self.fields else None, text)


class NewAutomationForm(AutomationForm):
    """The same, with what only a new one is asked."""

    name = forms.CharField(
        max_length=200, widget=_text(), help_text="Part of its address: letters, digits, - and _."
    )
    field_order = ("agent", "name", "title")

    def __init__(self, data: Any = None, *, agents: list[str], secrets: Iterable[str] = ()) -> None:
        super().__init__(data, secrets=secrets)
        choices = [(agent, agent) for agent in agents]
        self.fields["agent"] = _choice("Agent", choices)
        self.order_fields(self.field_order)

    def clean_name(self) -> str:
        """Only what an address may hold."""
        name = str(self.cleaned_data["name"])
        if not NAME.fullmatch(name):
            raise forms.ValidationError("Use letters, digits, - and _, beginning with a letter.")
        return name


Given = TypeVar("Given")


def refuse_reference(given: Given) -> Given:
    """Raise `ValidationError` for what only a file could mean: `env:NAME`, as a text anywhere."""
    if isinstance(given, str) and given.startswith(PREFIX):
        raise forms.ValidationError(
            f"{given} stands for a variable in files only. Give the value itself."
        )
    if isinstance(given, dict | list):
        for each in given.values() if isinstance(given, dict) else given:
            refuse_reference(each)
    return given


def read_initial(row: Automation) -> dict[str, Any]:
    """The fields as the row stands, without secrets."""
    auth = row.webhook_auth or {}
    return {
        **{name: getattr(row, name) for name in SHOWN},
        "auth_type": auth.get("type", ""),
        "auth_header": auth.get("header", ""),
        "auth_prefix": auth.get("prefix", DEFAULT_PREFIX),
    }
