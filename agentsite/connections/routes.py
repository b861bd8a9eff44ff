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
from agentsite.connections.fieldnames import fold_name

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
    if any(value and not fold(value) for value in values):
        raise Refused("A part of the endpoint holds nothing but spaces and dots.")
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
        if not fill[match[1]]:
            raise Refused(f"{match[0]} must not be empty: it is a part of the path.")
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


def find_places(
    template: str, field: str, route: Route, base: tuple[str, ...]
) -> set[tuple[int, str]]:
    """Where a path has what the template calls `{field}` or `:field`, and how it is written there.

    A path counts that begins as the template does up to there, whatever follows. A template
    may be written with the base path before it; a value within the base is the server's own.
    """
    wanted = split_template(template)
    found: set[tuple[int, str]] = set()
    for place, segment in enumerate(wanted):
        if fold_name(field) not in map(_name_of, NAMED.findall(segment)):
            continue
        for before in {(), base}:
            own, given = place - len(before), (*before, *route.folded)
            whole = not before or _starts_with(wanted, before) or len(wanted) == len(given)
            if 0 <= own < len(route.folded) and whole and _starts_as(wanted[:place], given):
                found.add((own, segment))
    return found


def is_literal_at(template: str, place: int, route: Route) -> bool:
    """Tell whether a fitting template says this segment to the letter."""
    wanted = split_template(template)
    return not NAMED.search(wanted[place + len(wanted) - len(route.folded)])


def names_field(template: str, field: str) -> bool:
    """Tell whether a template has a place for this value."""
    return fold_name(field) in map(_name_of, NAMED.findall(template.partition("?")[0]))


def _name_of(placeholder: str) -> str:
    """The name in `{name}`, `{name:pattern}`, `{+name*}` or `:name`, folded."""
    return fold_name(placeholder.strip("{}+*?:").partition(":")[0].rstrip("+*?"))


def _starts_as(wanted: tuple[str, ...], given: tuple[str, ...]) -> bool:
    return len(wanted) <= len(given) and all(map(_match_one, wanted, given))


def _starts_with(wanted: tuple[str, ...], base: tuple[str, ...]) -> bool:
    return tuple(map(fold, wanted[: len(base)])) == base


def read_segment(segment: str, field: str, value: str) -> set[str]:
    """The value of a field within one segment, in every reading; none if it is another segment.

    What can only be told folded is told as "", which no value is.
    """
    folded = fold(value)
    shapes = {shape for shape in (folded, FORMATS.sub("", folded)) if _match_one(segment, shape)}
    if not shapes:
        return set()
    parts, names = NAMED.split(segment), [_name_of(each) for each in NAMED.findall(segment)]
    if parts == ["", ""]:
        return {value}
    found: set[str] = set()
    for any_text in ("(.+)", "(.+?)"):
        groups = [any_text if name == fold_name(field) else ".+" for name in names]
        literal = [re.escape(unquote(part)) for part in parts]
        pattern = "".join(map("".join, zip(literal, [*groups, ""], strict=True)))
        texts = (value, FORMATS.sub("", value)) if len(shapes) > 1 else (value,)
        read = [re.fullmatch(pattern, text, re.DOTALL | re.IGNORECASE) for text in texts]
        found |= {match[1] for match in read if match} or {""}
    return found
