"""What a browser would send back if it sent a page's form as it came."""

from __future__ import annotations

from html.parser import HTMLParser


def read_form(page: str) -> dict[str, list[str]]:
    """Names and values of the page's fields, those of buttons left out."""
    reader = _Fields()
    reader.feed(page)
    return reader.fields


class _Fields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, list[str]] = {}
        self._select = self._multiple = self._text = ""
        self._first: str | None = None
        self._words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "select":
            self._select, self._first = ("" if "multiple" in given else name), None
            self._multiple = name if "multiple" in given else ""
        elif tag == "option" and "selected" in given:
            self._add(self._select or self._multiple, given.get("value", ""))
        elif tag == "option" and self._select and self._first is None:
            self._first = given.get("value", "")
        elif tag == "textarea":
            self._text, self._words = name, []
        elif tag == "input" and given.get("type") not in ("submit", "button", "file"):
            if given.get("type") not in ("checkbox", "radio"):
                self._add(name, given.get("value", ""))
            elif "checked" in given:
                self._add(name, given.get("value", "on"))

    def handle_data(self, data: str) -> None:
        if self._text:
            self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._text:
            self._add(self._text, "".join(self._words).removeprefix("\n"))
            self._text = ""
        elif tag == "select" and self._select and self._select not in self.fields:
            self._add(self._select, self._first or "")  # as browsers do

    def _add(self, name: str, value: str) -> None:
        if name:
            self.fields.setdefault(name, []).append(value)
