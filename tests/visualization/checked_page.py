"""What a browser would trip over in a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_VOID = {"meta", "img", "input", "br"}


class _Checker(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href"):
                self.links.append(value or "")
        if tag == "img":
            assert dict(attributes).get("alt"), "an image without a description"

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"


def check_page(html: str) -> None:
    """Assert that tags are closed, ids unique, links inside the page, and that nothing is loaded."""
    checker = _Checker()
    checker.feed(html)
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    for link in checker.links:
        assert link.startswith("data:image/jpeg;base64,") or link.removeprefix("#") in checker.ids
    assert not re.search(r"@import|url\(|<script|<link", html)
