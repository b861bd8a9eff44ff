"""A server that reads requests as carelessly as any server might, for the corpus of bypasses.

Law: what is protected is breached when any reading of a request reaches it: decoded again,
in other letters, with dots resolved, with the method or the tenant taken from wherever.
"""

from __future__ import annotations

import json
import posixpath
import re
import unicodedata
from dataclasses import replace
from itertools import product
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.connections.site import Seen

PROTECTED = (
    ("DELETE", r"/users/[^/]+"),
    ("GET", r"/secrets"),
    ("GET", r"/secrets/[^/]+/keys"),
    ("GET", r"/reports/[^/]+/raw"),
    ("POST", r"/refunds"),
    ("PUT", r"/settings"),
    ("GET", r"/hidden/[^/]+"),
)
ACCESS: dict[str, Any] = {
    "endpoints": {
        "DELETE /users/{id}": {"confirm": "never"},
        "GET /secrets": {"confirm": "never", "reason": "Keys stay where they are"},
        "GET /secrets/{name}/keys": {"confirm": "review"},
        "GET /reports/{id}/raw": {"confirm": True},
        "POST /refunds": {"confirm": "review"},
        "PUT /settings": {"confirm": True},
        "POST /payments": {
            "thresholds": [{"field": "body.amount", "above": 500, "escalate": "review"}]
        },
    }
}
SURFACE = "## Included\n### GET /users\nAll of them.\n## Excluded\n### GET /hidden/{id}\nNo.\n"
OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override")
REWRITES = ("x-original-url", "x-rewrite-url")
INVISIBLE = re.compile("[\u00ad\u200b]")


def read_paths(target: str) -> set[str]:
    """Every path that a server might make of a request target."""
    found = {target, re.sub("^[a-z]+://[^/]*|^@[^/]*", "", target), *re.split(r"[\r\n ]+", target)}
    for _ in range(3):
        found |= {re.split("[?#]", path)[0] for path in found}
        found |= {unquote(path) for path in found}
    found |= {INVISIBLE.sub("", path) for path in found}
    found |= {unicodedata.normalize("NFKC", path) for path in found}
    found |= {path.replace("\\", "/") for path in found}
    found |= {re.sub(r";[^/]*", "", path) for path in found}
    found |= {re.sub(r"[\x00\s].*", "", path) for path in found} | {p.strip() for p in found}
    found |= {posixpath.normpath(re.sub(r"/+", "/", "/" + path)) for path in found}
    found |= {re.sub(r"\.[A-Za-z]{2,5}$", "", path) for path in found}
    found |= {re.sub(r"/[\s.]+(?=/|$)", "/", path) for path in found}
    return {re.sub(r"/+", "/", path).casefold().rstrip("/. ") for path in found}


def read_methods(seen: Seen) -> set[str]:
    """Every method that a server might take a request for."""
    found = {seen.method, seen.method.replace("HEAD", "GET")}
    found |= {value for name, value in seen.headers.items() if name.replace("_", "-") in OVERRIDES}
    for name, value in [*read_query(seen.target), *read_form(seen)]:
        if name.strip().casefold().startswith("_method"):
            found.add(value)
    return {method.upper() for method in found}


def read_query(target: str) -> list[tuple[str, str]]:
    """Pairs of the query; semicolons separate, too."""
    query = target.partition("?")[2].replace(";", "&")
    return [(unquote(name), value) for name, value in parse_qsl(query, keep_blank_values=True)]


def read_form(seen: Seen) -> list[tuple[str, str]]:
    """Pairs of the body, as a form and as JSON, at the top."""
    text = seen.body.decode("utf-8", "replace")
    pairs = parse_qsl(text.replace(";", "&"), keep_blank_values=True) if "=" in text else []
    try:
        value = json.loads(text)
    except ValueError:
        return pairs
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, dict):
            pairs += [(str(key), str(inner)) for key, inner in item.items()]
    return pairs


def is_breached(seen: Seen) -> bool:
    """Whether a request reaches what is protected, under any reading."""
    rewritten = [value for name, value in seen.headers.items() if name in REWRITES]
    if rewritten and is_breached(replace(seen, method="GET", target=rewritten[0], headers={})):
        return True
    readings = product(read_methods(seen), read_paths(seen.target))
    if any(
        method == wanted and re.fullmatch(pattern, path)
        for method, path in readings
        for wanted, pattern in PROTECTED
    ):
        return True
    return "/payments" in read_paths(seen.target) and _pays_too_much(seen)


def _pays_too_much(seen: Seen) -> bool:
    for name, value in [*read_query(seen.target), *read_form(seen)]:
        if re.sub(r"\W.*|_", "", name.strip().casefold()) == "amount":
            try:
                amount = float(unicodedata.normalize("NFKC", value.replace(",", "").strip("[] '")))
                if not amount <= 500:  # what is no number, neither
                    return True
            except ValueError:
                return True
    return False


def read_tenants(seen: Seen) -> set[str]:
    """Every tenant that a server might take a request for."""
    found: set[str] = set()
    for name, value in [*read_query(seen.target), *read_form(seen)]:
        flat = unicodedata.normalize("NFKC", name).strip(" .[(\x00").casefold()
        base = re.split(r"[\[.(\x00]", flat)[0]
        if re.sub(r"[\s_\-+]", "", base.rstrip("])")) == "tenantid":
            found.add(value)
    for name, value in seen.headers.items():
        if name.casefold().replace("_", "-").strip() == "x-tenant":
            found.add(value)
    for path in read_paths(seen.target):
        if match := re.match(r"/(?:v1/)*(?:tenants/|org-|tenants\()([^/()]+)", path):
            found.add(match[1])
    return found
