"""Headers of a request: which of them a model may set.

Law: whoever carries identity, route, method, length or another machine's word is the
server's business; servers that read `_` as `-` are not fooled either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from agentsite.connections.errors import Refused


def read_names(text: str) -> frozenset[str]:
    """Header names of a text, apart."""
    return frozenset(text.split())


TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]{1,100}")
VALUE = re.compile(r"[\x20-\x7e]{0,2000}")
MOST = 20
FORBIDDEN = read_names(
    """
    accept-encoding connection content-encoding content-length cookie date expect forwarded
    from host http2-settings idempotency-key keep-alive max-forwards origin referer range te
    trailer transfer-encoding true-client-ip upgrade user-agent via
    """
)
FORBIDDEN_PARTS = re.compile(
    r"^(proxy-|sec-|x-forwarded|x-original|x-rewrite|x-real-|x-client-|x-host|x-amz-|x-ms-|cf-|cdn-)"
    r"|auth|token|secret|api-?key|passw|cookie|session|csrf|xsrf|credential|impersonat|on-behalf"
    r"|sudo|act-as|assum|method|override|signature|tenant|-ip$|x-user|x-account|x-org|x-role"
)
TYPE = re.compile(
    r"(application/([\w.-]+\+)?json|application/x-www-form-urlencoded|text/[\w.-]+"
    r"|application/([\w.-]+\+)?xml)(\s*;\s*charset=\"?utf-8\"?)?",
    re.IGNORECASE,
)


def fold_header(name: str) -> str:
    """Header names as a careless server compares them."""
    return name.strip().lower().replace("_", "-")


def check_headers(
    given: Mapping[str, str], reserved: Iterable[str], *, trusted: bool = False
) -> dict[str, str]:
    """Pass headers through that a model may set. Raises `Refused` for others.

    `trusted`: an operator's file names them, so their names may sound like identity.
    """
    kept: dict[str, str] = {}
    taken = {fold_header(name) for name in reserved}
    if len(given) > MOST:
        raise Refused(f"A request takes {MOST} headers at the most.")
    for name, value in given.items():
        folded = fold_header(name)
        if not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            raise Refused("A header's name or value holds characters that no header may hold.")
        foreign = folded in FORBIDDEN or (FORBIDDEN_PARTS.search(folded) and not trusted)
        if folded in taken or foreign or folded == "authorization":
            raise Refused(f'The header "{name}" is set by the server; leave it out.')
        if folded in kept:
            raise Refused(f'The header "{name}" is given twice.')
        if folded == "content-type" and not TYPE.fullmatch(value.strip()):
            raise Refused("The content type must be JSON, XML, a form or plain text, in UTF-8.")
        kept[folded] = value
    return kept
