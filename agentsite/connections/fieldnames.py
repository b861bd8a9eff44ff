"""Names of fields, as servers with different habits would read them."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote_plus

INNER = re.compile(r"[\[.(]")
SEPARATORS = re.compile(r"[\s_\-+%\x00]+")


def fold_name(name: object) -> str:
    """The same for `Tenant_ID`, `tenant-id`, `tenantId` and ` tenant_id`."""
    return SEPARATORS.sub("", unicodedata.normalize("NFKC", str(name)).casefold())


def fold_base(name: object) -> str:
    """The same for `tenant_id`, `tenant_id[]`, `tenant_id[$ne]` and `tenant_id.x`."""
    text = unicodedata.normalize("NFKC", str(name)).lstrip(" [.(\t\x00")
    return fold_name(INNER.split(text, maxsplit=1)[0].rstrip("])"))


def name_readings(name: object) -> frozenset[str]:
    """Every name that a server might read: decoded again, with and without what is in brackets."""
    readings = {str(name)}
    for _ in range(3):
        readings |= {unquote_plus(one) for one in readings}
    return frozenset(map(fold_name, readings)) | frozenset(map(fold_base, readings))


def fold_names(text: str) -> frozenset[str]:
    """All names of a text, folded."""
    return frozenset(map(fold_name, text.split()))
