# SPDX-License-Identifier: Apache-2.0
"""The drawings of docs/performance.md: bars of ratios, and small multiples of the curves."""
import math
from xml.sax.saxutils import escape

from bench import columns, figures

# Distinct for people who see few colours, and on light and dark grounds: (light, dark).
COLOURS = (("#0060b0", "#5aa9f0"), ("#c2570c", "#f29a4a"), ("#12805c", "#45c39a"), ("#a03070", "#e77fb8"),
           ("#7a7a7a", "#a8a8a8"))

STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 11px; }
text { fill: #24292f; }
.title { font-size: 13px; font-weight: 600; } .small { font-size: 10px; fill: #57606a; } .end { text-anchor: end; }
.middle { text-anchor: middle; } .ground { fill: #ffffff; } .grid { stroke: #d8dee4; stroke-width: 1; }
.one { stroke: #57606a; stroke-width: 1; } .line { fill: none; stroke-width: 1.8; }
.span { stroke-width: 1; opacity: .55; } .tiny { font-size: 9px; fill: #57606a; }
"""
DARK = """
text { fill: #e6edf3; } .small, .tiny { fill: #9aa4af; } .ground { fill: #0d1117; } .grid { stroke: #30363d; }
.one { stroke: #9aa4af; }
"""


def colour_rules(choice):
    return "".join(f".f{index} {{ fill: {pair[choice]}; }} .s{index} {{ stroke: {pair[choice]}; }}\n"
                   for index, pair in enumerate(COLOURS))


class Drawing:
    """Collects elements; coordinates are pixels from the upper left."""

    def __init__(self, width, height, title):
        self.width, self.height, self.title = width, height, title
        self.elements = []

    def text(self, x, y, text, style=""):
        self.elements.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, style):
        self.elements.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>')

    def box(self, x, y, width, height, style):
        self.elements.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.8):.1f}" height="{height:.1f}" '
                             f'class="{style}"/>')

    def path(self, points, style):
        self.elements.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" class="{style}"/>')

    def dot(self, x, y, style):
        self.elements.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" class="{style}"/>')

    def svg(self):
        body = "\n".join(self.elements)
        return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" \
viewBox="0 0 {self.width} {self.height}" role="img">
<!-- SPDX-License-Identifier: Apache-2.0; written by script/bench -->
<title>{escape(self.title)}</title>
<style>{STYLE}{colour_rules(0)}@media (prefers-color-scheme: dark) {{{DARK}{colour_rules(1)}}}</style>
<rect width="100%" height="100%" class="ground"/>
{body}
</svg>
"""


class Scale:
    """Values to pixels, in proportion to their logarithm or to themselves."""

    def __init__(self, least, most, start, end, is_log):
        self.of = math.log10 if is_log else float
        self.least, self.most = self.of(least), self.of(most)
        self.start, self.end = start, end

    def __call__(self, value):
        part = (self.of(value) - self.least) / ((self.most - self.least) or 1)
        return self.start + min(max(part, 0), 1) * (self.end - self.start)


# Bars: two panels, since what records every allocation would leave nothing to see of the others.
SAMPLING = (columns.DEFAULT, columns.JEMALLOC_SAMPLING, columns.TCMALLOC_SAMPLING, columns.SHIM)
BARS_TITLE = "Cost, as a ratio to the same allocator alone"
EXACT = (columns.EXACT, columns.HEAPTRACK, columns.TCMALLOC_ALL)
LABELS_WIDTH, PANEL_WIDTH, VALUE_WIDTH, PANEL_GAP = 250, 340, 40, 24
BAR_HEIGHT, BAR_PITCH, ROW_GAP, HEAD_HEIGHT = 7, 9, 10, 84

# Below this a bar is cut: no profiler makes a program so much faster, the threads of a row were in luck.
RATIO_LEAST = 0.7


def ratio_in(report, row, name):
    cells = report["cells"][row]
    baseline = report["columns"].get(name, {}).get("baseline", columns.PLAIN)
    return figures.ratio(cells.get(name, {}), cells.get(baseline, {}))


def ticks_between(least, most):
    """Ratios to mark: powers of ten where there are enough of them."""
    candidates = [factor * 10 ** power for power in range(-1, 5) for factor in (1, 1.2, 1.5, 2, 5)]
    if most >= 20:
        candidates = [10 ** power for power in range(0, 5)]
    return [tick for tick in candidates if least <= tick <= most]


def bars(report):
    rows = [row for row in report["cells"] if ratio_in(report, row, columns.DEFAULT)]
    row_height = len(SAMPLING) * BAR_PITCH + ROW_GAP
    height = HEAD_HEIGHT + len(rows) * row_height + 30
    drawing = Drawing(LABELS_WIDTH + 2 * (PANEL_WIDTH + VALUE_WIDTH) + PANEL_GAP, height, BARS_TITLE)
    drawing.text(12, 18, BARS_TITLE, "title")
    for index, row in enumerate(rows):
        drawing.text(LABELS_WIDTH - 8, HEAD_HEIGHT + index * row_height + row_height / 2 + 4, row, "end")
    left = LABELS_WIDTH
    for title, names in ("sampling, one in 512 KiB", SAMPLING), ("every allocation", EXACT):
        panel(drawing, report, rows, left, title, names, row_height)
        left += PANEL_WIDTH + VALUE_WIDTH + PANEL_GAP
    return drawing.svg()


def panel(drawing, report, rows, left, title, names, row_height):
    ratios = {(row, name): ratio_in(report, row, name) for row in rows for name in names}
    known = [ratio.median for ratio in ratios.values() if ratio]
    least, most = max(min([0.95, *known]), RATIO_LEAST), max([1.5, *known]) * 1.05
    scale = Scale(least, most, left, left + PANEL_WIDTH, is_log=True)
    drawing.text(left, 40, title, "title")
    x = left
    for index, name in enumerate(names):
        drawing.box(x, 48, 9, 9, f"f{style_of(name, index)}")
        drawing.text(x + 12, 56, name, "small")
        x += 26 + 5.6 * len(name)
    bottom = HEAD_HEIGHT + len(rows) * row_height
    for tick in ticks_between(least, most):
        drawing.line(scale(tick), HEAD_HEIGHT - 6, scale(tick), bottom, "one" if tick == 1 else "grid")
        drawing.text(scale(tick), HEAD_HEIGHT - 10, f"{tick:g}", "small middle")
    for row_index, row in enumerate(rows):
        top = HEAD_HEIGHT + row_index * row_height + (row_height - len(names) * BAR_PITCH) / 2
        for index, name in enumerate(names):
            bar(drawing, scale, ratios[row, name], top + index * BAR_PITCH, style_of(name, index))


def style_of(name, index):
    """The forwarding library is grey; the others have the colours in turn."""
    return len(COLOURS) - 1 if name == columns.SHIM else index


def bar(drawing, scale, ratio, y, style):
    if ratio is None:
        drawing.text(scale(1) + 4, y + BAR_HEIGHT, "–", "tiny")
        return
    start, end = sorted((scale(1), scale(ratio.median)))
    drawing.box(start, y, end - start, BAR_HEIGHT, f"f{style}")
    drawing.line(scale(ratio.least), y + BAR_HEIGHT / 2, scale(ratio.most), y + BAR_HEIGHT / 2, f"span s{style}")
    drawing.text(max(end, scale(ratio.most)) + 4, y + BAR_HEIGHT, figures.times(ratio.median), "tiny")


# Curves: small multiples, three in a row.
CELL_WIDTH, CELL_HEIGHT, MARGIN_LEFT, MARGIN_TOP, MARGIN_RIGHT, MARGIN_BOTTOM = 300, 215, 50, 40, 16, 40


def curves(found):
    shown = [curve for curve in found.values()
             if "lines" in curve and any(len(points) > 1 for points in curve["lines"].values())]
    drawing = Drawing(3 * CELL_WIDTH, -(-len(shown) // 3) * CELL_HEIGHT, "How cost grows")
    for index, curve in enumerate(shown):
        multiple(drawing, curve, index % 3 * CELL_WIDTH, index // 3 * CELL_HEIGHT)
    return drawing.svg()


def short(value):
    """1000000 as 10⁶, 524288 as 512K."""
    exponent = round(math.log10(value)) if value > 0 else 0
    if value >= 1000 and value == 10 ** exponent:
        return "10" + "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(exponent))
    for unit, letter in (1 << 20, "M"), (1 << 10, "K"):
        if value >= unit and value % unit == 0:
            return f"{value // unit}{letter}"
    return f"{value:g}"


def nice_top(value):
    """The next of 1, 1.2, 1.5, 2, 3, 4, 5, 8 times a power of ten."""
    power = 10 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 1.2, 1.5, 2, 3, 4, 5, 8, 10) if factor * power >= value * 0.999)


def multiple(drawing, curve, left, top):
    every = [point for points in curve["lines"].values() for point in points]
    counts = sorted({point[0] for point in every})
    x = Scale(counts[0], counts[-1], left + MARGIN_LEFT, left + CELL_WIDTH - MARGIN_RIGHT, is_log=True)
    most = nice_top(max(max(point[1] for point in every), 1e-9) * 1.05)
    bottom = top + CELL_HEIGHT - MARGIN_BOTTOM
    y = Scale(0, most, bottom, top + MARGIN_TOP, is_log=False)
    drawing.text(left + 12, top + 16, curve["title"], "title")
    drawing.text(left + 12, top + 30, curve["y"], "small")
    drawing.text(left + CELL_WIDTH - MARGIN_RIGHT, bottom + 28, curve["x"], "small end")
    for part in 0, 0.25, 0.5, 0.75, 1:
        drawing.line(left + MARGIN_LEFT, y(part * most), left + CELL_WIDTH - MARGIN_RIGHT, y(part * most), "grid")
        drawing.text(left + MARGIN_LEFT - 5, y(part * most) + 3, f"{part * most:.4g}", "small end")
    previous = -math.inf
    for count in counts:
        if x(count) - previous > 24:
            drawing.text(x(count), bottom + 14, short(count), "small middle")
            previous = x(count)
    for index, (label, points) in enumerate(curve["lines"].items()):
        for count, _median, least, highest in points:
            drawing.line(x(count), y(max(least, 0)), x(count), y(max(highest, 0)), f"span s{index}")
        drawing.path([(x(point[0]), y(max(point[1], 0))) for point in points], f"line s{index}")
        for point in points:
            drawing.dot(x(point[0]), y(max(point[1], 0)), f"f{index}")
    legend(drawing, curve, left + MARGIN_LEFT, bottom + 28)


def legend(drawing, curve, x, y):
    if len(curve["lines"]) < 2:
        return
    for index, label in enumerate(curve["lines"]):
        drawing.box(x, y - 7, 8, 8, f"f{index}")
        drawing.text(x + 11, y, label, "small")
        x += 20 + 5.4 * len(label)
