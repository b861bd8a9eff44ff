"""An automation's file as columns: secrets apart, and digests of them for comparisons. Pure.

Law: what `Automation.file_values` holds is exactly what `read_columns` gives for the file, with
each secret replaced by a digest; so "has the file changed" is one comparison. `target_secrets`
belongs to two blocks, each of which is the file's or the staff's with what was taken out of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any

from agentsite.manifest.automations import (
    AutomationSpec,
    DeliveryBlock,
    FailureAlert,
    Target,
    WebhookAuth,
)

SECRET_COLUMNS = ("webhook_secret", "target_secrets")
BLOCKS = ("delivery", "failure_alert")
"""Columns with targets."""
HIDDEN = "changed"
"""What is written down of a secret that was changed."""
Columns = dict[str, Any]
Digest = Callable[[str], str]


def read_columns(spec: AutomationSpec, secrets: Collection[str] = ()) -> Columns:
    """Every column of `Automation` that a file decides; secrets as plain texts or None.

    `secrets` are values of the agent's environment: where one stands as a target's value (an
    address, say), it is taken out like a declared secret.
    """
    taken: dict[str, dict[str, Any]] = {}
    return {
        "title": spec.title[:300],
        "prompt": spec.prompt,
        "trigger": spec.kind,
        "schedule": spec.schedule or "",
        "timezone": spec.timezone or "",
        "overlap": spec.overlap,
        "catch_up": spec.catch_up,
        "write_enabled": spec.write_enabled,
        "wait_for_person": spec.confirm == "wait",
        "partition": spec.scope,
        "mode": spec.mode,
        "webhook_auth": _read_auth(spec.webhook_auth),
        "webhook_secret": spec.webhook_auth and spec.webhook_auth.secret.get_secret_value(),
        "retries": spec.retries,
        "delivery": _read_block("delivery", spec.delivery, secrets, taken),
        "failure_alert": _read_block("failure_alert", spec.failure_alert, secrets, taken),
        "target_secrets": json.dumps(taken, sort_keys=True) if taken else None,
    }


def digest_secrets(columns: Columns, digest: Digest) -> Columns:
    """The same as it may be stored in the open; of `target_secrets` a digest for each block."""
    secret = columns["webhook_secret"]
    parts = {name: pick_secrets(columns["target_secrets"], (name,)) for name in BLOCKS}
    return {
        **columns,
        "webhook_secret": None if secret is None else digest(secret),
        "target_secrets": {name: digest(part) for name, part in parts.items() if part is not None},
    }


def find_changed(mine: Columns, others: Columns) -> set[str]:
    """Names of columns that differ, of two as `digest_secrets` gives them.

    A block differs with what was taken out of it; `target_secrets` is never named.
    """
    parts = [values.get("target_secrets") or {} for values in (mine, others)]
    return {
        name
        for name in mine
        if name != "target_secrets"
        and (
            mine[name] != others.get(name)
            or (name in BLOCKS and parts[0].get(name) != parts[1].get(name))
        )
    }


def show_columns(columns: Columns) -> dict[str, Any]:
    """Columns for the history: secrets only as the word that they changed."""
    return {
        name: HIDDEN if name in SECRET_COLUMNS and value is not None else value
        for name, value in columns.items()
    }


def pick_secrets(text: str | None, blocks: Collection[str]) -> str | None:
    """Of `target_secrets` what belongs to these blocks; None for nothing."""
    taken = json.loads(text or "{}")
    picked = {key: taken[key] for key in taken if key.partition(".")[0] in blocks}
    return json.dumps(picked, sort_keys=True) if picked else None


def join_secrets(*texts: str | None) -> str | None:
    """`target_secrets` of parts that belong to different blocks."""
    whole = {key: value for text in texts for key, value in json.loads(text or "{}").items()}
    return json.dumps(whole, sort_keys=True) if whole else None


def _read_auth(auth: WebhookAuth | None) -> dict[str, Any] | None:
    if auth is None:
        return None
    return _dump(auth, {"secret"})


def _read_block(
    name: str,
    block: DeliveryBlock | FailureAlert | None,
    secrets: Collection[str],
    taken: dict[str, dict[str, Any]],
) -> dict[str, Any] | None:
    if block is None:
        return None
    targets = []
    for place, target in enumerate(block.targets):
        shown, hidden = _read_target(target, secrets)
        targets.append(shown)
        if hidden:
            taken[f"{name}.{place}"] = hidden
    return {**_dump(block, {"targets"}), "targets": targets}


def _read_target(target: Target, secrets: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What may be shown of a target, and what is taken out."""
    shown, hidden = _dump(target, {"secret"}), {}
    if target.secret is not None:
        hidden["secret"] = target.secret.get_secret_value()
    for key, value in tuple(shown.items()):
        # Whoever knows the address of an incoming webhook of Slack may post there.
        is_known = isinstance(value, str) and value in secrets
        if key != "type" and (is_known or (target.type, key) == ("slack", "url")):
            hidden[key] = shown.pop(key)
    return shown, hidden


def _dump(
    block: DeliveryBlock | FailureAlert | Target | WebhookAuth,
    without: set[str],
) -> dict[str, Any]:
    return block.model_dump(mode="json", by_alias=True, exclude=without, exclude_none=True)
