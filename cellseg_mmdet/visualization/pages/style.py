"""How pages look: one style sheet, for light and dark, that asks for nothing beyond the page itself."""

from __future__ import annotations

from cellseg_mmdet.visualization.charts.svg import NUM_SERIES
from cellseg_mmdet.visualization.pages.outcomes import COLORS_RGB

_BASE = """
:root { color-scheme: light dark;
  --page: #f6f7f8; --panel: #ffffff; --ink: #1b1f24; --muted: #59626d; --line: #dfe3e8; --grid: #e9ecef;
  --accent: #0a62b3; --c0: #4b5563; --c1: #0072b2; --c2: #c85200; --c3: #00815f; --c4: #a8487f; --c5: #8a6d00; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14171a; --panel: #1d2125; --ink: #e8eaed; --muted: #a2abb5; --line: #343a41; --grid: #2b3036;
  --accent: #7cc0ff; --c0: #c3cad2; --c1: #5ab4f0; --c2: #ff9a56; --c3: #3fd6a8; --c4: #f29fcd; --c5: #ecd04b; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 5rem; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5; overflow-wrap: anywhere;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; }
body > header, main, body > footer { max-width: 78rem; margin: 0 auto; padding: 0 1.25rem; }
body > header { padding-top: 2rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 0 0 .3rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .5rem; }
h4 { font-size: .92rem; font-weight: 500; margin: 1rem 0 .4rem; }
p { margin: .2rem 0 .9rem; max-width: 50rem; }
.muted, figcaption, footer { color: var(--muted); }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .8rem 0 0; }
section { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem;
  margin: 1.25rem 0; }
footer { font-size: .85rem; padding-bottom: 2rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem; margin-top: 1rem; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.55rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--muted); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .28rem .8rem .28rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.text { white-space: normal; min-width: 8rem; }
thead th { color: var(--muted); font-weight: 600; }
tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1.5rem; }
figure { margin: 0; }
figure h3, .card h3 { margin-top: 0; }
figcaption { font-size: .87rem; margin-top: .4rem; }
.chart { width: 100%; height: auto; display: block; overflow: visible; }
.chart text { fill: var(--muted); font-size: 12px; }
.chart .label { fill: var(--ink); }
.grid { stroke: var(--grid); fill: none; }
.line, .dashed, .thin { fill: none; stroke: var(--series); stroke-width: 2.2; stroke-linejoin: round; }
.dashed { stroke-dasharray: 6 4; }
.thin { stroke-width: 1.2; stroke-dasharray: 3 3; }
.band { fill: var(--series); fill-opacity: .22; stroke: none; }
.dot { fill: var(--series); fill-opacity: .6; stroke: var(--panel); stroke-width: .8; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; padding: 0;
  margin: .3rem 0 0; font-size: .87rem; }
.legend svg { width: 22px; height: 10px; margin-right: .4rem; }
.bar { display: flex; height: 1.05rem; width: min(24rem, 40vw); border-radius: 4px; overflow: hidden;
  background: var(--grid); }
.bar i { display: block; height: 100%; background: var(--series); }
.key { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; background: var(--series);
  vertical-align: -.08rem; margin-right: .35rem; }
details > summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; background: var(--page); border: 1px solid var(--line); border-radius: 8px;
  padding: 1rem; font-size: .82rem; }
img { max-width: 100%; height: auto; display: block; border-radius: 6px; }
.gallery, .strip { display: grid; gap: 1rem .8rem; }
.gallery { grid-template-columns: repeat(auto-fill, minmax(min(15rem, 45%), 1fr)); }
.strip { grid-template-columns: repeat(auto-fill, minmax(min(18rem, 45%), 1fr)); }
.strip img { width: 100%; }
.gallery img { width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--page); }
h3 + h4 { margin-top: 0; }
.gallery figcaption, .strip figcaption { margin-top: .2rem; }
"""

_SWITCHES = """
.switches { position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap; gap: .5rem 1.6rem;
  background: var(--panel); border-bottom: 1px solid var(--line); padding: .7rem 0;
  margin-bottom: 1rem; font-size: .9rem; }
.switches fieldset { min-width: 0; border: 0; padding: 0; margin: 0; display: flex; flex-wrap: wrap;
  align-items: center; gap: .1rem .8rem; }
.switches legend { float: left; font-weight: 600; padding: 0; margin-right: .2rem; }
.switches label { white-space: nowrap; cursor: pointer; }
.images:not(:has(#show-errors:checked)) .outcomes { opacity: .4; }
.switches input { accent-color: var(--accent); margin: 0 .25rem 0 0; vertical-align: -.1rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(34rem, 100%), 1fr)); gap: 1.4rem;
  margin-bottom: 1.6rem; }
.images:has(#size-large:checked) .cards { grid-template-columns: 1fr; }
.card { display: grid; grid-row: span 3; grid-template-rows: subgrid; row-gap: .2rem; min-width: 0; }
.card h3 { margin-bottom: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.card p { margin: 0; font-size: .87rem; }
.stage { width: 100%; height: auto; display: block; align-self: start; background: #000; border-radius: 6px; }
.stage path { fill: none; stroke: var(--series); stroke-width: 1.2; vector-effect: non-scaling-stroke; display: none; }
.stage path:hover { stroke-width: 3; }
.stage image { display: none; }
@media (max-width: 45rem) { .switches { position: static; } .chart text { font-size: 14px; }
  th .muted { display: none; } section { padding: .9rem; } }
@media print { .switches { display: none; } section { break-inside: avoid; } }
"""

# What is drawn of each cell: class t for a true cell, p for a predicted one, with its outcome. Of errors as in
# `outcomes.draw_outcomes`: a split as its pieces, a merged cell as the true cells in it.
_OVERLAYS = """
.images { --true: #5abfff; --predicted: #ffb000; }
.images:has(#view-image:checked) .view-image, .images:has(#view-clahe:checked) .view-clahe,
.images:has(#view-equalised:checked) .view-equalised { display: inline; }
.images:has(#show-true:checked) .t, .images:has(#show-both:checked) .t { display: inline; --series: var(--true); }
.images:has(#show-predicted:checked) .p, .images:has(#show-both:checked) .p { display: inline;
  --series: var(--predicted); }
.images:has(#show-both:checked) .p { stroke-dasharray: 4 2; }
"""
_DRAWN_AS = {"hit": ".p", "missed": ".t", "extra": ".p", "split": ".p", "merged": ".t"}


def style_sheet() -> str:
    """Return the style sheet of all pages."""
    series = "".join(
        f".s{number} {{ --series: var(--c{number}); }}\n" for number in range(NUM_SERIES)
    )
    outcomes = "".join(
        f".{name} {{ --series: rgb{COLORS_RGB[name]}; }}\n"
        f".images:has(#show-errors:checked):has(#outcome-{name}:checked) {of}.{name} {{ display: inline; }}\n"
        for name, of in _DRAWN_AS.items()
    )
    tinted = ", ".join(
        f".images:has(#show-errors:checked) {of}.{name}"
        for name, of in _DRAWN_AS.items()
        if name != "hit"
    )
    tints = f"{tinted} {{ fill: var(--series); fill-opacity: .3; }}\n"
    # Behind the outcomes: an overlay of its own colour is not one of outcomes.
    return _BASE + series + _SWITCHES + outcomes + tints + _OVERLAYS
