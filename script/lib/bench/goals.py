# SPDX-License-Identifier: Apache-2.0
"""What was promised, each with the figure that was measured.  A verdict is information: nothing fails by it.

"Within noise" means that in at least one of the rounds the figure was no worse than what it is held against, run
beside it.  Of two things that are alike, one is the slower in all N rounds once in 2^N.
"""
import re
import statistics
import subprocess
from typing import NamedTuple

from bench import columns, curves, figures, rows

PAIR_INSTRUCTIONS_MAX = 12
PAIR_NS_MAX = 1
SAMPLED_NS_MAX = 350
DEFAULT_RATIO_MAX = 1.01
EXACT_SHARE_MAX = 0.25  # of heaptrack's extra time
THROUGHPUT_LEAST = 0.97
PROCESS_US_MAX = 1000
DUMP_MS_MAX = 50
LEDGER_GROWTH_MAX = 1.05  # from a million allocations to a thousand times as many
SLOWED_MAX = 1.01

LISTED_MAX = 5  # rows that are named where a limit is passed


class Goal(NamedTuple):
    what: str
    wanted: str
    found: str
    is_met: bool | None  # None: not measured


def cells_of(report, row, *names):
    """The cells of a row, or None where one of them was not measured."""
    found = [report["cells"].get(row, {}).get(name, {}) for name in names]
    return found if all("values" in cell for cell in found) else None


def goal(what, wanted, found, is_met):
    return Goal(what, wanted, found, is_met) if found else Goal(what, wanted, "not measured", None)


def counted(report, what, row):
    """A row of tests/cost/instructions."""
    match = re.search(rf"^malloc and free, {row} .*\+([\d.]+)", report.get("instructions", ""), re.MULTILINE)
    more = float(match[1]) if match else None
    return goal(f"{what}, beyond forwarding", f"≤ {PAIR_INSTRUCTIONS_MAX} instructions",
                match and f"{more:.1f} instructions", match and round(more, 1) <= PAIR_INSTRUCTIONS_MAX)


def compared(report, what, wanted, row, ours, theirs, compare, decimals, unit, is_met):
    """A goal for what one column has in a row, held against another by a function of figures."""
    cells = cells_of(report, row, ours, theirs)
    if not cells:
        return goal(what, wanted, "", None)
    span = compare(*cells)
    median, least, most = (f"{number:.{decimals}f}" for number in (span.median, span.least, span.most))
    return goal(what, wanted, f"{median}{unit} ({least} to {most})", is_met(span))


def pair_ns(report):
    return compared(report, "the same, in time", f"≤ {PAIR_NS_MAX} ns", rows.PAIR, columns.DEFAULT, columns.SHIM,
                    figures.more, 2, " ns", lambda more: more.median <= PAIR_NS_MAX)


def dormant(report):
    return compared(report, "the same, dormant, in time, of forwarding", "1.00, within noise", rows.PAIR, columns.DORMANT,
                    columns.SHIM, figures.ratio, 3, "", lambda ratio: ratio.least <= 1)


def sampled(report):
    return compared(report, "sampled allocation and its free, 20 frames, warm", f"≤ {SAMPLED_NS_MAX} ns", rows.DEEP,
                    columns.EXACT, columns.SHIM, figures.more, 0, " ns", lambda more: more.median <= SAMPLED_NS_MAX)


def default_rate(report):
    """Every row at 512K, held against forwarding."""
    what, wanted = "every load at the default rate, of forwarding", "≤ 1.01, or within noise"
    ratios = {row: figures.ratio(*cells) for row in report["cells"]
              if (cells := cells_of(report, row, columns.DEFAULT, columns.SHIM))}
    above = {row: ratio for row, ratio in ratios.items() if ratio.median > DEFAULT_RATIO_MAX and ratio.least > 1}
    return goal(what, wanted, ratios and within(len(ratios), above), not above)


def within(count, above):
    """How many rows keep a limit, and which do not."""
    return f"{count - len(above)} of {count} rows" + listed({row: ratio.median for row, ratio in above.items()})


def listed(above):
    """The worst of some rows, and how many more there are."""
    worst = sorted(above.items(), key=lambda item: -item[1])
    text = "; ".join(f"{row}: {value:.2f}" for row, value in worst[:LISTED_MAX])
    more = f"; and {len(worst) - LISTED_MAX} more" if len(worst) > LISTED_MAX else ""
    return f"; above: {text}{more}" if above else ""


def against_jemalloc(report):
    """Each ratio is to the same allocator without its profiler, in the same rounds."""
    worse = {}
    count = 0
    for row in report["cells"]:
        cells = cells_of(report, row, columns.DEFAULT, columns.PLAIN, columns.JEMALLOC_SAMPLING,
                         columns.JEMALLOC_PLAIN)
        if cells:
            count += 1
            ours, theirs = figures.ratio(*cells[:2]), figures.ratio(*cells[2:])
            if ours.median > theirs.median and ours.least > theirs.most:
                worse[row] = ours
    return goal("no higher ratio than jemalloc's profiler", "on no row, beyond noise",
                count and within(count, worse), not worse)


def start_cpu_s(report, column):
    """Processor time of a process that does nothing, under a column."""
    cell = report["cells"].get(rows.STORM, {}).get(column, {})
    return statistics.median(cell["cpu_s"]) / cell["processes"] if "values" in cell else 0


def extra_cpu_s(report, row, column):
    """
    Processor time that a profiler adds to a row, of all its processes.  Start and end are in a program's; of a
    loop they would be most of what is measured, and are taken off.
    """
    cells = cells_of(report, row, column, columns.PLAIN)
    if not cells:
        return None
    cpu_s, plain_cpu_s = (statistics.median(cell["cpu_s"]) for cell in cells)
    if report["rows"][row]["is_program"]:
        return cpu_s - plain_cpu_s
    share = report["columns"][column]["share"]
    return cpu_s - start_cpu_s(report, column) - (plain_cpu_s - start_cpu_s(report, columns.PLAIN)) * share


def exact(report):
    what, wanted = "rate 1: extra processor time, of heaptrack's", f"≤ {EXACT_SHARE_MAX}"
    shares = {}
    for row in report["cells"]:
        ours, theirs = (extra_cpu_s(report, row, column) for column in (columns.EXACT, columns.HEAPTRACK))
        if row != rows.STORM and ours is not None and theirs is not None and theirs > 0:
            shares[row] = ours / theirs
    above = {row: share for row, share in shares.items() if share > EXACT_SHARE_MAX}
    found = shares and f"at most {max(shares.values()):.2f} on {len(shares)} rows{listed(above)}"
    return goal(what, wanted, found, not above)


def throughput(report):
    return compared(report, "64 threads, rate 64K: throughput, of forwarding's", f"≥ {THROUGHPUT_LEAST}",
                    rows.thread_row(64), columns.SHIM, columns.AT_64K, figures.ratio, 2, "",
                    lambda ratio: ratio.median >= THROUGHPUT_LEAST)


def process(report):
    return compared(report, "one process start and end (true), over plain", f"≤ {PROCESS_US_MAX} µs", rows.STORM,
                    columns.DEFAULT, columns.PLAIN, figures.more, 0, " µs",
                    lambda more: more.median <= PROCESS_US_MAX)


def memory(report):
    """The lines of tests/cost/memory, which asks the kernel for every mapping."""
    lines = re.findall(r"^(?:ok|FAIL) +(.*): (-?\d+) bytes, at most (\d+)$", report.get("memory", ""), re.MULTILINE)
    return [goal(f"own memory: {what}", f"≤ {figures.size(int(most) / 1024)}", figures.size(int(found) / 1024),
                 int(found) <= int(most)) for what, found, most in lines]


def line_of(report, curve, label):
    return report.get("curves", {}).get(curve, {}).get("lines", {}).get(label, [])


def dump(report):
    found = [point for point in line_of(report, curves.DUMP, "without symbols") if point[0] == curves.DUMP_STACKS]
    slowed = line_of(report, curves.SLOWED, "rate 1")
    yield goal("dump of 10,000 stacks, without symbols", f"≤ {DUMP_MS_MAX} ms",
               found and "{1:.0f} ms ({2:.0f} to {3:.0f})".format(*found[0]), found and found[0][1] <= DUMP_MS_MAX)
    yield goal("the process meanwhile, of its time when it is left alone", "1.00, within noise",
               slowed and "{1:.3f} ({2:.3f} to {3:.3f})".format(*slowed[0]),
               slowed and (slowed[0][1] <= SLOWED_MAX or slowed[0][2] <= 1))


def ledger(report):
    points = line_of(report, curves.LEDGER, "heapmark")
    found = points and f"{points[0][1]:.0f} KiB at {points[0][0]:.0e}, {points[-1][1]:.0f} KiB at {points[-1][0]:.0e}"
    is_flat = len(points) > 1 and points[-1][1] <= points[0][1] * LEDGER_GROWTH_MAX
    return goal("ledger of a long run", "flat", found, is_flat)


def all_goals(report):
    return [counted(report, "unsampled malloc/free pair", "not sampled"), pair_ns(report),
            counted(report, "the same, dormant", "asleep"), dormant(report), sampled(report), default_rate(report),
            against_jemalloc(report), exact(report), throughput(report), process(report), *memory(report),
            *dump(report), ledger(report)]


def table_of(command):
    """What a test of tests/cost prints; it fails where a limit is passed, and the figures count all the same."""
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          check=False)
    return done.stdout
