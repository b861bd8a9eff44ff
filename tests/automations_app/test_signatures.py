"""Signatures of webhooks, against what their inventors have published."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
from django.utils.datastructures import CaseInsensitiveMapping

from agentsite.delivery.signing import BadSecret, sign_body, sign_standard
from agentsite.manifest.automations import WebhookAuth
from automations_app.signatures import BadSignature, Signed, verify
from tests.requirements import requirement

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors.json").read_text())
SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()


def signed(vector: dict[str, Any], **changed: Any) -> Signed:
    given = {**vector, **changed}
    headers = CaseInsensitiveMapping({name.upper(): v for name, v in given["headers"].items()})
    body = given["body"] if isinstance(given["body"], bytes) else given["body"].encode()
    return Signed(given["auth"], given["secret"], headers, body, given["now"])


def is_believed(vector: dict[str, Any], **changed: Any) -> bool:
    try:
        verify(signed(vector, **changed))
    except BadSignature:
        return False
    return True


@requirement("automations.webhook-dialects")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["source"].partition(":")[0])
def test_published_vectors_verify_and_nothing_near_them(vector: dict[str, Any]) -> None:
    assert is_believed(vector)
    body = vector["body"].encode()
    for place in range(len(body)):
        forged = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert not is_believed(vector, body=forged)
    assert not is_believed(vector, body=body + b" ")
    assert not is_believed(vector, secret=vector["secret"][:-1] + "A")
    for name, value in vector["headers"].items():
        left = {other: v for other, v in vector["headers"].items() if other != name}
        assert not is_believed(vector, headers=left), name
        for spoilt in ("", "x", value.replace("=", "=0"), value[::-1], "v1,", "t=", "é"):
            if spoilt != value:
                assert not is_believed(vector, headers={**left, name: spoilt}), (name, spoilt)


@requirement("automations.webhook-dialects")
@pytest.mark.parametrize("vector", VECTORS[1:], ids=lambda vector: vector["source"])
def test_time_stamps_count_within_the_tolerance_alone(vector: dict[str, Any]) -> None:
    stamps = {"webhook-timestamp", "svix-timestamp", "X-Slack-Request-Timestamp"}
    name = next((name for name in vector["headers"] if name in stamps), None)
    at = int(vector["headers"][name]) if name else 1533204620
    for off, believed in ((300, True), (-300, True), (301, False), (-301, False)):
        assert is_believed(vector, now=at + off) is believed, off
    short = {**vector["auth"], "tolerance": 5}
    assert is_believed(vector, auth=short, now=at + 5)
    assert not is_believed(vector, auth=short, now=at + 6)


@requirement("automations.webhook-dialects")
def test_any_header_prefix_and_spelling_of_a_plain_hmac() -> None:
    body = b'{"a": "\xc3\xbc"}'
    digest = hmac.new(b"s3cret", body, hashlib.sha256).digest()
    own = {"type": "hmac-sha256", "header": "X-Mine", "prefix": "v9:"}
    plain: dict[str, Any] = {"secret": "s3cret", "body": body, "now": 0}
    cases = [
        ({"type": "hmac-sha256"}, "X-Amodal-Signature", f"sha256={digest.hex()}"),
        ({"type": "hmac-sha256"}, "x-amodal-signature", digest.hex().upper()),
        (own, "X-MINE", f"v9:{digest.hex()}"),
        (
            {"type": "hmac-sha256", "header": "X-Shopify-Hmac-Sha256", "prefix": ""},
            "X-Shopify-Hmac-Sha256",
            base64.b64encode(digest).decode(),
        ),
    ]  # fmt: skip
    for auth, header, value in cases:
        assert is_believed({**plain, "auth": auth, "headers": {header: value}})
        assert not is_believed({**plain, "auth": auth, "headers": {"X-Other": value}})
    with pytest.raises(BadSignature, match="Missing X-Amodal-Signature header"):
        verify(signed({**plain, "auth": cases[0][0], "headers": {}}))
    with pytest.raises(BadSignature, match="Invalid webhook signature"):
        verify(signed({**plain, "auth": cases[2][0], "headers": {"X-Mine": digest.hex()}}))


@requirement("automations.webhook-dialects")
def test_one_of_several_signatures_is_enough_while_secrets_rotate() -> None:
    now = int(time.time())
    theirs = standardwebhooks.Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(now, UTC), "{}")
    other = sign_standard("old", "msg_1", now, b"{}")
    vector: dict[str, Any] = {
        "auth": {"type": "standard-webhooks"}, "secret": SECRET, "body": "{}", "now": now,
    }  # fmt: skip
    for given, believed in (
        (f"{other} {theirs}", True),
        (f"{theirs} {other}", True),
        (f"v1a,{theirs[3:]} v2,{theirs[3:]} {other}", False),
        (" ".join([other] * 30 + [theirs]), False),
    ):
        headers = {
            "webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": given,
        }  # fmt: skip
        assert is_believed(vector, headers=headers) is believed, given


@requirement("automations.delivery-targets")
def test_an_independent_library_believes_what_we_sign() -> None:
    body, now = '{"automation": "ünï"}', int(time.time())
    headers = {
        "webhook-id": "msg_abc",
        "webhook-timestamp": str(now),
        "webhook-signature": sign_standard(SECRET, "msg_abc", now, body.encode()),
    }
    assert standardwebhooks.Webhook(SECRET).verify(body, headers) == json.loads(body)
    assert (
        sign_body("It's a Secret to Everybody", b"Hello, World!")
        == (VECTORS[0]["headers"]["X-Hub-Signature-256"])
    )
    with pytest.raises(BadSecret, match="not base64"):
        sign_standard("whsec_no base64", "msg_1", now, b"")


@requirement("automations.webhook-dialects")
def test_a_file_says_nothing_that_its_dialect_would_ignore() -> None:
    assert WebhookAuth.model_validate({"secret": "x", "header": "X-A", "prefix": ""}).prefix == ""
    for given, told in (
        ({"type": "stripe", "header": "X-A"}, '"header" has no effect with type stripe'),
        ({"type": "slack", "prefix": "v0="}, '"prefix" has no effect with type slack'),
        ({"tolerance": 5}, '"tolerance" has no effect with type hmac-sha256'),
    ):
        with pytest.raises(ValueError, match=told):
            WebhookAuth.model_validate({"secret": "x", **given})
    with pytest.raises(ValueError, match="must be base64"):
        WebhookAuth.model_validate({"secret": "whsec_?", "type": "standard-webhooks"})
