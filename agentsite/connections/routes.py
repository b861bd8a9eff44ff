"""Endpoints as models write them, read in one way only, and compared with templates.

Law: what a server might read as another path (dot segments, encoded slashes, matrix
parameters, odd letters) is refused; what it might take for the same path is compared as
the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, quote, unquote

from agentsite.connections.errors import Refused

LONGEST_ENDPOINT = 4_000
PLACEHOLDER = re.compile(r"\{([\w.-]+)\}")
NAMED = re.compile(r"\{[^{}]*\}|:[A-Za-z_]\w*|\*+")
FORMATS = re.compile(
    r"\.(json|jsonld|xml|csv|tsv|txt|html?|ya?ml|js|rss|atom|pdf|xlsx?|ndjson|proto|pb)$"
)
UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\#;\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]")
PLAIN = "-._~!$&'()*+,=:@"
ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Route:
    """One path, as it is sent and as it is compared."""

    path: str
    """Percent-encoded, from the connection's base on."""
    values: tuple[str, ...]
    """Its segments, decoded."""
    folded: tuple[str, ...]
    """Its segments as rules see them."""
    query: tuple[tuple[str, str], ...] = ()


def read_endpoint(endpoint: str, fill: Mapping[str, str]) -> tuple[Route, frozenset[str]]:
    """Read a path with its query; `{name}` is filled from `fill`. Raises `Refused`.

    Returns the names that were filled, too.
    """
    if not endpoint.startswith("/") or endpoint.startswith("//"):
        raise Refused('The endpoint must be a path that begins with one "/".')
    if len(endpoint) > LONGEST_ENDPOINT:
        raise Refused(f"The endpoint is longer than {LONGEST_ENDPOINT:,} characters.")
    path, _, query = endpoint.partition("?")
    if UNSAFE.search(path) or UNSAFE.search(query):
        raise Refused("The endpoint holds characters that no path may hold; encode them.")
    used: set[str] = set()
    segments = [_fill(segment, fill, used) for segment in path.split("/")[1:]]
    trailing = len(segments) > 1 and segments[-1] == ""
    if trailing:
        segments.pop()
    if "" in segments and segments != [""]:
        raise Refused("The endpoint holds an empty part between two slashes.")
    values = tuple(map(decode_segment, segments))
    sent = "/" + "/".join(quote(unquote(segment), safe=PLAIN) for segment in segments)
    pairs = tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=100))
    folded = tuple(fold(value) for value in values if value)
    return Route(sent + ("/" if trailing else ""), values, folded, pairs), frozenset(used)


def read_path(path: str) -> Route:
    """Read a path that a server gave, for a redirect. Raises `Refused`."""
    route, _ = read_endpoint(re.sub(r"[{}]", "_", path) or "/", {})
    return route


def _fill(segment: str, fill: Mapping[str, str], used: set[str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in fill:
            raise Refused(f"Fill in {match[0]}: put the value into the path or into params.")
        used.add(match[1])
        return quote(fill[match[1]], safe="")

    filled = PLACEHOLDER.sub(value, segment)
    if "{" in filled or "}" in filled:
        raise Refused("The endpoint holds a brace that belongs to no {name}.")
    return filled


def decode_segment(segment: str) -> str:
    """Decode a part of a path until nothing changes. Raises `Refused` for what is ambiguous."""
    value = segment
    for _ in range(ROUNDS):
        decoded = unquote(value, errors="strict") if _is_utf8(value) else None
        if decoded is None:
            raise Refused("A part of the endpoint is not UTF-8.")
        _refuse_ambiguous(decoded)
        if decoded == value:
            return decoded
        value = decoded
    raise Refused("A part of the endpoint is encoded again and again.")


def _is_utf8(value: str) -> bool:
    try:
        unquote(value, errors="strict")
    except UnicodeDecodeError:
        return False
    return True


def _refuse_ambiguous(value: str) -> None:
    flat = unicodedata.normalize("NFKC", value)
    if "/" in flat or "\\" in flat:
        raise Refused("A part of the endpoint holds an encoded slash.")
    if UNSAFE.search(flat.replace(" ", "")) or any(
        unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn") for char in value
    ):
        raise Refused("A part of the endpoint holds a character that no path may hold.")
    if flat.partition(";")[0].strip() in (".", ".."):
        raise Refused("The endpoint holds a dot segment.")


def fold(segment: str) -> str:
    """A segment as rules compare it: letter case, width and trailing dots do not count."""
    return unicodedata.normalize("NFKC", segment).casefold().strip().rstrip(". ")


def matches(template: str, route: Route, base: tuple[str, ...] = ()) -> bool:
    """Tell whether a path falls under `/users/{id}`, with or without the base path before it."""
    wanted = split_template(template)
    if _match_all(wanted, route.folded):
        return True
    return bool(base) and _match_all(wanted, (*base, *route.folded))


def cut_at_mark(route: Route) -> Route | None:
    """The path as a server reads it that decodes before it looks for a query; None if the same."""
    for place, value in enumerate(route.values):
        head, mark, _ = unicodedata.normalize("NFKC", value).partition("?")
        if mark:
            values = (*route.values[:place], *([head] if head else []))
            sent = "/" + "/".join(quote(each, safe=PLAIN) for each in values)
            folded = tuple(fold(each) for each in values if each)
            return replace(route, path=sent, values=values, folded=folded)
    return None


def is_exact(template: str, route: Route) -> bool:
    """Tell whether a template without placeholders says this path to the letter."""
    return not NAMED.search(template) and template.partition("?")[0] == route.path


def split_template(template: str) -> tuple[str, ...]:
    """The segments of a template, without its query."""
    path = template.partition("?")[0]
    return tuple(segment for segment in path.split("/") if segment)


def _match_all(wanted: tuple[str, ...], given: tuple[str, ...]) -> bool:
    if len(wanted) != len(given):
        return False
    pairs = list(zip(wanted, given, strict=True))
    return all(_match_one(*pair) for pair in pairs[:-1]) and all(
        _match_one(want, got) or _match_one(want, FORMATS.sub("", got)) for want, got in pairs[-1:]
    )


def _match_one(wanted: str, given: str) -> bool:
    if not NAMED.search(wanted):
        return fold(unquote(wanted)) == given
    parts = [re.escape(fold_part(part)) for part in NAMED.split(wanted)]
    return re.fullmatch(".+".join(parts), given, re.DOTALL) is not None


def fold_part(part: str) -> str:
    """A piece of a template between placeholders, folded."""
    return unicodedata.normalize("NFKC", unquote(part)).casefold()


def find_value(template: str, field: str, route: Route) -> str | None:
    """What stands in a fitting path where the template has `{field}`; None where it has not."""
    wanted = split_template(template)
    if f"{{{field}}}" not in wanted:
        return None
    # A template may be written with the base path before it.
    place = wanted.index(f"{{{field}}}") - (len(wanted) - len(route.folded))
    return route.values[place] if place >= 0 else None
