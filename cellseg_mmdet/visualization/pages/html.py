"""Self-contained HTML pages: everything is in the one file, which needs no network and no script."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np

from cellseg_mmdet.fileio import ESCAPED, atomic_write
from cellseg_mmdet.visualization.pages.style import style_sheet

_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        name: what links to it are called by.
        title: its heading.
        body: HTML.
        css_class: for the style sheet.
    """

    name: str
    title: str
    body: str
    css_class: str = ""


def write_page(
    path: str | os.PathLike[str],
    *,
    title: str,
    subtitle: str,
    lead: str,
    sections: Sequence[Section],
    footer: str,
) -> None:
    """Write a page whole or not at all.

    Args:
        title: heading, plain text.
        subtitle: below it, plain text.
        lead: HTML above the sections.
        sections: in their order; the page begins with links to them.
        footer: plain text.
    """
    links = "".join(f'<a href="#{s.name}">{escape(s.title)}</a>' for s in sections)
    bodies = "\n".join(
        f'<section id="{s.name}" class="{s.css_class}"><h2>{escape(s.title)}</h2>\n{s.body}\n</section>'
        for s in sections
    )
    html = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{style_sheet()}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>
<p class="muted">{escape(subtitle)}</p>
{lead}
<nav aria-label="Sections">{links}</nav></header>
<main>
{bodies}
</main>
<footer>{escape(footer)}</footer>
</body>
</html>
"""
    with atomic_write(path) as temporary:
        temporary.write_text(html, encoding="utf-8", errors=ESCAPED)


def tiles(numbers: Mapping[str, str]) -> str:
    """Return the few numbers that matter most, text -> number, as HTML."""
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{escape(number)}</b><span>{escape(text)}</span></div>'
            for text, number in numbers.items()
        )
        + "</div>"
    )


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    text_columns: Sequence[int] = (),
) -> str:
    """Return a table as HTML.

    Args:
        header: of each column.
        rows: HTML of each cell; the first one heads its row.
        text_columns: indices of columns of text, besides the first; others hold numbers.
    """
    kinds = ['class="text"' if index in text_columns else "" for index in range(len(header))]
    head = "".join(
        f'<th scope="col" {kind}>{escape(name)}</th>'
        for name, kind in zip(header, kinds, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td {kind}>{cell}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def note(text: str) -> str:
    """Return a paragraph that explains (plain text)."""
    return f'<p class="muted">{escape(text)}</p>'


def figure(title: str, body: str, caption: str) -> str:
    """Return a chart or picture (HTML) with its title and caption (plain text)."""
    return (
        f"<figure><h3>{escape(title)}</h3>{body}<figcaption>{escape(caption)}</figcaption></figure>"
    )


def figures(parts: Iterable[str]) -> str:
    """Return figures next to each other, as many as there is room for."""
    return f'<div class="charts">{"".join(parts)}</div>'


def bar(parts: Sequence[tuple[str, float]]) -> str:
    """Return a bar of parts as HTML: the CSS class that gives the colour, and the share of the whole in [0, 1]."""
    return (
        '<div class="bar" aria-hidden="true">'
        + "".join(
            f'<i class="{name}" style="width:{100 * share:.2f}%"></i>' for name, share in parts
        )
        + "</div>"
    )


def picture(image: np.ndarray, description: str, *, max_side_px: int | None = None) -> str:
    """Return an image (uint8, gray or BGR) as HTML, with its bytes in it."""
    height, width = image.shape[:2]
    return (
        f'<img src="{data_uri(image, max_side_px=max_side_px)}" alt="{escape(description)}" '
        f'width="{width}" height="{height}" loading="lazy">'
    )


def strip(
    title: str, panels: Sequence[tuple[str, np.ndarray]], *, max_side_px: int | None = None
) -> str:
    """Return pictures of one thing side by side, as HTML, in as many rows as there is room for.

    Args:
        title: plain text.
        panels: of each picture its caption, plain text, and the picture, uint8 gray or BGR.
        max_side_px: larger pictures are scaled down to this.
    """
    drawn = "".join(
        f"<figure>{picture(image, f'{title}: {caption}', max_side_px=max_side_px)}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, image in panels
    )
    return f'<h4>{escape(title)}</h4><div class="strip">{drawn}</div>'


def data_uri(image: np.ndarray, *, max_side_px: int | None = None) -> str:
    """Return an image (uint8, gray or BGR) as the address of a JPEG that is the address itself.

    Args:
        max_side_px: larger images are scaled down to this.
    """
    scale = min(1.0, (max_side_px or max(image.shape[:2])) / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if image.ndim == 3 and (image == image[:, :, :1]).all():
        image = image[:, :, 0]
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
