# SPDX-License-Identifier: Apache-2.0
"""The tables on the terminal, and docs/performance.md."""
from bench import columns, figures, goals

OURS = (columns.PLAIN, columns.SHIM, columns.DORMANT, columns.DEFAULT, columns.AT_64K, columns.EXACT)
NOTES_BEGIN = "<!-- by hand: script/bench keeps what is from here to the next mark -->"
NOTES_END = "<!-- end of what is by hand -->"
RATIOS_SVG, CURVES_SVG = "performance-ratios.svg", "performance-curves.svg"
COLUMNS_PER_TABLE = 6  # on the terminal
DASH = "–"

HEAD = """# What heapmark costs

`script/bench --curves` has measured this and written the page; all but the section by hand is its work.

* Machine: {machine}
* Date: {date}, load before the start {load}
* Rounds: {runs}; each runs every row under every column once, so that what disturbs a round disturbs all. heaptrack
  is given 3 of them, gperftools' full profiler and dhat 1.
* A cell is the median over the rounds, with the smallest and the largest. A ratio is taken in each round, to the same
  allocator without its profiler: heapmark, heaptrack and dhat to glibc's, jemalloc's profiler to jemalloc, gperftools'
  to tcmalloc.
* Loops of our own and whole programs: processor time, of all processes (heaptrack's second one, which makes sense of
  its stream, is in a program's time and not in a loop's). Rows with threads and the storm of processes: time by the
  clock on the wall.
* A program's time has its start and its end in it, and so the writing of the profile.
* Where every allocation is recorded, loops make a quarter of the rounds, with gperftools' profiler and dhat a
  two-hundredth.
"""

RATIOS = """
## Ratios

![Bars: the cost of each profiler on each load as a ratio to the same allocator alone]({svg})

heapmark, and a library that only forwards; ratios to plain:

{ours}

Peers, each to its own baseline:

{peers}
"""

MORE = """
## Processor time of the rows that are timed by the wall

{cpu}

## Peak memory

Resident memory of the largest process at its highest; for plain, jemalloc and tcmalloc all of it, for a profiler what
it has added. heaptrack's is mostly its second process. Where a row makes fewer rounds for a column, it may keep less.

{memory}

## Profiles

The size of all that a run has left; `broken` where its own reader could not open it. A dash: no file, since none is
written (gperftools' sampler keeps its samples in the process) or since nothing was sampled.

{files}
"""


def cell_of(report, row, name):
    return report["cells"][row].get(name, {})


def base_of(report, row, name):
    return cell_of(report, row, report["columns"][name]["baseline"])


def ratio_text(report, row, name):
    """The ratio to the baseline; of a baseline its own time."""
    cell = cell_of(report, row, name)
    if "values" not in cell:
        return DASH
    if report["columns"][name]["baseline"] == name:
        return f"{figures.number(figures.spread(cell['values']).median)} {report['rows'][row]['unit']}"
    ratio = figures.ratio(cell, base_of(report, row, name))
    return DASH if ratio is None else \
        f"{figures.times(ratio.median)} ({figures.times(ratio.least)}–{figures.times(ratio.most)})"


def cpu_text(report, row, name):
    cell, base = cell_of(report, row, name), base_of(report, row, name)
    if "cpu_s" not in cell or "cpu_s" not in base or report["columns"][name]["share"] != 1:
        return DASH
    if cell is base:
        return f"{figures.number(figures.spread(cell['cpu_s']).median)} s"
    ratio = figures.ratio({"values": cell["cpu_s"]}, {"values": base["cpu_s"]})
    return f"{figures.times(ratio.median)} ({figures.times(ratio.least)}–{figures.times(ratio.most)})"


def memory_text(report, row, name):
    cell, base = cell_of(report, row, name), base_of(report, row, name)
    if "rss_kib" not in cell or "rss_kib" not in base:
        return DASH
    own = figures.spread(cell["rss_kib"]).median
    return figures.size(own) if cell is base else f"{(own - figures.spread(base['rss_kib']).median) / 1024:+.1f} MiB"


def files_text(report, row, name):
    cell = cell_of(report, row, name)
    if not cell.get("files"):
        return DASH
    count = f" in {cell['files']}" if cell["files"] > 1 else ""
    return figures.size(cell["file_bytes"] / 1024) + count + (", broken" if cell.get("broken") else "")


def markdown(report, names, text, rows=None):
    """A table of the rows over the columns in which anything was measured; text(report, row, name) is a cell."""
    rows = list(report["cells"]) if rows is None else rows
    cells = {name: [text(report, row, name) for row in rows] for name in names}
    names = [name for name in names if any(cell != DASH for cell in cells[name])]
    if not names:
        return "(not measured)"
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    lines += [f"| {row} | {' | '.join(cells[name][index] for name in names)} |" for index, row in enumerate(rows)]
    return "\n".join(lines)


def why_missing(report):
    """One line for each reason that a column has, with the rows that it is the reason for."""
    reasons = {}
    for row, cells in report["cells"].items():
        for name, cell in cells.items():
            broken = f"broken: {cell['broken']}" if cell.get("broken") else ""
            for reason in filter(None, (cell.get("missing"), broken)):
                reasons.setdefault((name, reason), []).append(row)
    return [f"{name}: {reason} ({'all rows' if len(rows) == len(report['cells']) else '; '.join(rows)})"
            for (name, reason), rows in reasons.items()]


def goal_rows(report):
    verdicts = {True: "met", False: "**missed**", None: "?"}
    return [(*found[:3], verdicts[found.is_met]) for found in goals.all_goals(report)]


def goal_table(report):
    return "\n".join(["| | goal | measured | |", "|---|---|---|---|",
                      *(f"| {' | '.join(row)} |" for row in goal_rows(report))])


def curve_table(curve):
    counts = sorted({point[0] for points in curve["lines"].values() for point in points})
    lines = [f"**{curve['title']}**, {curve['y']}:", "",
             f"| {curve['x']} | {' | '.join(f'{count:,}' for count in counts)} |", "|---|" + "---|" * len(counts)]
    for label, points in curve["lines"].items():
        by_count = {point[0]: point for point in points}
        lines.append(f"| {label} | " + " | ".join(figures.number(by_count[count][1]) if count in by_count else DASH
                                                  for count in counts) + " |")
    return "\n".join(lines)


def curve_section(report):
    if not report.get("curves"):
        return ""
    parts = ["\n## How cost grows\n",
             f"![Small multiples: cost against rate, depth, threads and so on]({CURVES_SVG})\n",
             f"Measured {report['curves_date']}. Recorded with `HEAPMARK_MAX=2G`, to have room for a million stacks.\n"]
    for name, curve in report["curves"].items():
        parts.append((curve_table(curve) if "lines" in curve else f"{name}: not measured: {curve['missing']}") + "\n")
    return "\n".join(parts)


def notes_of(page):
    """What somebody has written into the page, with its marks."""
    if page.exists():
        text = page.read_text()
        begin, end = text.find(NOTES_BEGIN), text.find(NOTES_END)
        if 0 <= begin < end:
            return text[begin:end + len(NOTES_END)]
    return f"{NOTES_BEGIN}\n\n## Where a goal is missed\n\n{NOTES_END}"


def page_text(report, notes):
    ours = [name for name in OURS if name in report["columns"]]
    peers = [name for name in report["columns"] if name not in OURS]
    profilers = [name for name in report["columns"] if name not in (columns.PLAIN, columns.SHIM, columns.DORMANT)]
    by_wall = [row for row, about in report["rows"].items() if about["clock"] == "wall"]
    missing = "".join(f"* {line}\n" for line in why_missing(report))
    memory = report.get("memory", "").strip()
    return "".join([
        HEAD.format(**report),
        f"\n## Goals\n\n{goal_table(report)}\n\n{notes}\n",
        RATIOS.format(svg=RATIOS_SVG, ours=markdown(report, ours, ratio_text),
                      peers=markdown(report, peers, ratio_text)),
        f"\nA dash in a table, and why:\n\n{missing}" if missing else "",
        f"\n## Instructions\n\n```\n{report['instructions'].strip()}\n```\n" if report.get("instructions") else "",
        curve_section(report),
        MORE.format(cpu=markdown(report, list(report["columns"]), cpu_text, by_wall),
                    memory=markdown(report, list(report["columns"]), memory_text),
                    files=markdown(report, profilers, files_text)),
        f"\n## Own memory, mapping by mapping\n\n```\n{memory}\n```\n" if memory else "",
    ])


def print_columns(report, names):
    label_width = max(map(len, report["cells"])) + 2
    texts = {name: [ratio_text(report, row, name) for row in report["cells"]] for name in names}
    widths = {name: max(map(len, [name, *texts[name]])) + 2 for name in names}
    print("\n" + " " * label_width + "".join(name.rjust(widths[name]) for name in names))
    for index, row in enumerate(report["cells"]):
        print(row.ljust(label_width) + "".join(texts[name][index].rjust(widths[name]) for name in names))


def print_report(report):
    print(f"\n{report['machine']}; median of {report['runs']} interleaved rounds, ratio to the same allocator alone"
          " (smallest–largest)")
    names = [name for name in report["columns"]
             if any("values" in cell_of(report, row, name) for row in report["cells"])]
    for first in range(0, len(names), COLUMNS_PER_TABLE):
        print_columns(report, names[first:first + COLUMNS_PER_TABLE])
    missing = why_missing(report)
    if missing:
        print("\nnot there:\n  " + "\n  ".join(missing))
    for curve in report.get("curves", {}).values():
        print("\n" + (curve_table(curve) if "lines" in curve else f"curve not measured: {curve['missing']}"))
    print()
    rows = [(row[0], row[1], row[3].strip("*"), row[2]) for row in goal_rows(report)]
    widths = [max(len(row[index]) for row in rows) + 2 for index in range(3)]
    for row in rows:
        print("".join(text.ljust(width) for text, width in zip(row, widths)) + row[3])
