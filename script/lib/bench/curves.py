# SPDX-License-Identifier: Apache-2.0
"""How cost grows with one thing at a time.

A curve is {"title", "x", "y", "lines"}, and a line {label: [[x, median, least, most], ...]}, as it is kept in
docs/performance.json.
"""
import select
import shutil
import subprocess
import sys
import time

from bench import columns, figures
from bench.measure import CannotRun, Runner, end_all

RATES = {1: "1", 64: "64", 4096: "4K", 65536: "64K", 524288: "512K", 8388608: "8M"}
DEPTHS = (5, 10, 20, 40, 80, 128)
THREADS = (1, 2, 4, 8, 16, 32, 64)
MODULES = (1, 10, 50, 100, 200, 500)
FRAMES = 20  # where the depth is not what grows

# Room for a million stacks, which the default of 256 MiB has not; it is mapped, and taken only when needed.
LEDGER_MAX = "2G"

DUMP_STACKS = 10_000
BUILD_ID = bytes.fromhex("feedface" * 5)  # of the template in tests/bench/meson.build

DUMP, SLOWED, LEDGER, SHARE = "dump", "slowed", "ledger", "threads"  # curves that goals look at


class Kit:
    """What every curve needs."""

    def __init__(self, place, runs, scale):
        self.place = place
        self.runs = runs
        self.scale = scale

    def column(self, rate):
        """heapmark at this rate, or the forwarding library where it is None."""
        if rate is None:
            return columns.Column(columns.SHIM, columns.preload(self.place.shim))
        column = columns.heapmark(f"heapmark {rate}", self.place.library, self.place.tool, rate)
        column.settings["HEAPMARK_MAX"] = LEDGER_MAX
        return column

    def runner(self, rate):
        return Runner(self.place, self.column(rate), self.scale)

    def loop(self, rate, words):
        return self.runner(rate).loop(words)

    def rounds(self, count):
        return max(1000, int(count * self.scale))

    def points(self, counts, rate, words_for, combine=lambda value, shim: value - shim):
        """combine(heapmark's value, the forwarding library's) for each count, in interleaved runs."""
        found = []
        for count in counts:
            words = words_for(count)
            values = [combine(self.loop(rate, words), self.loop(None, words)) for _ in range(self.runs)]
            found.append([count, *map(figures.rounded, figures.spread(values))])
        return found


def powers(least, most):
    return [10 ** exponent for exponent in range(least, most + 1)]


def pair_curve(kit, title, x, kind, counts, rounds=400_000, folder=()):
    """Nanoseconds of a pair beyond forwarding, every allocation recorded."""
    program = kit.place.program("curve")
    points = kit.points(counts, "1", lambda count: [program, kind, count, max(kit.rounds(rounds), count), *folder])
    return {"title": title, "x": x, "y": "ns a pair beyond forwarding", "lines": {"rate 1": points}}


def by_rate(kit):
    program = kit.place.program("curve")
    points = []
    for rate, text in RATES.items():
        rounds = kit.rounds(400_000 if rate < 4096 else 8_000_000)
        points += kit.points([rate], text, lambda _rate, most=rounds: [program, "depth", FRAMES, most])
    return {"title": f"Rate: malloc(64) and free, {FRAMES} frames", "x": "mean bytes between samples",
            "y": "ns a pair beyond forwarding", "lines": {"heapmark": points}}


def by_threads(kit):
    """Throughput, of the forwarding library's."""
    program = kit.place.program("threads")
    lines = {}
    for rate, rounds in ("512K", 3_000_000), ("64K", 3_000_000), ("1", 400_000):
        lines[f"rate {rate}"] = kit.points(
            THREADS, rate, lambda count, most=rounds: [program, "crossing", count, max(kit.rounds(most), 2048 * count)],
            lambda value, shim: shim / value)
    return {"title": "Threads that free each other's blocks", "x": "threads", "y": "throughput, of forwarding's",
            "lines": lines}


def by_modules(kit):
    """Copies of one module, each with a build id of its own, so that none is taken for another."""
    folder = kit.place.scratch / "modules"
    folder.mkdir(exist_ok=True)
    template = (kit.place.programs / "curve_module.so").read_bytes()
    if BUILD_ID not in template:
        raise CannotRun("curve_module.so has not the build id that is to be replaced")
    for index in range(max(MODULES)):
        (folder / f"module-{index}.so").write_bytes(template.replace(BUILD_ID, index.to_bytes(20, "little")))
    return pair_curve(kit, "Loaded modules that allocate in turn", "modules", "modules", MODULES, folder=[folder])


class Held:
    """`curve held`: a process that keeps COUNT stacks and runs rounds when it is told to."""

    def __init__(self, kit, rate, count):
        self.runner = kit.runner(rate)
        self.process = self.runner.start([kit.place.program("curve"), "held", count, 0], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE)

    def __enter__(self):
        if self.process.stdout.readline() != b"ready\n":
            raise CannotRun("curve held did not get ready")
        return self

    def __exit__(self, *exception):
        # It ends by itself, having written its profile, when its standard input does.
        if exception[0]:
            end_all(self.process)
        else:
            self.process.communicate()

    def begin(self, rounds):
        self.process.stdin.write(b"%d\n" % rounds)
        self.process.stdin.flush()

    def is_done(self):
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def cost_ns(self):
        return float(self.process.stdout.readline().decode().split("=")[1])

    def ledger(self):
        (path,) = self.runner.output.glob("*.ledger")
        return path

    def dump_ms(self, *options):
        """The time of `heapmark dump` by the clock on the wall."""
        profile = self.runner.output / "dump.pb.gz"
        profile.unlink(missing_ok=True)
        start = time.monotonic()
        subprocess.run([self.runner.place.tool, "dump", "-q", *options, "-o", profile, self.ledger()], check=True)
        return (time.monotonic() - start) * 1e3


def by_allocations(kit):
    """What the ledger takes on the disk, at 512K, while one site allocates again and again."""
    points = []
    with Held(kit, "512K", 0) as held:
        done = 0
        for count in powers(6, 9 if kit.scale >= 1 else 7):
            held.begin(count - done)
            held.cost_ns()
            done = count
            size_kib = held.ledger().stat().st_blocks * 512 / 1024
            points.append([count, size_kib, size_kib, size_kib])
    return {"title": "Ledger of a long run, rate 512K", "x": "allocations", "y": "KiB on the disk",
            "lines": {"heapmark": points}}


def by_dumped_stacks(kit):
    lines = {"without symbols": [], "with symbols": []}
    for count in powers(1, 5 if kit.scale >= 1 else 4):
        with Held(kit, "1", count) as held:
            for label, options in ("without symbols", ["--no-symbols"]), ("with symbols", []):
                values = [held.dump_ms(*options) for _ in range(max(3, kit.runs))]
                lines[label].append([count, *map(figures.rounded, figures.spread(values))])
    return {"title": "heapmark dump of a live process", "x": "stacks", "y": "ms", "lines": lines}


def slowed_by_dumps(kit):
    """Processor time of a pair while one dump follows the other, of that without; not a curve, one point."""
    rounds = kit.rounds(2_000_000)
    ratios = []
    with Held(kit, "1", DUMP_STACKS) as held:
        for _ in range(max(3, kit.runs)):
            held.begin(rounds)
            quiet_ns = held.cost_ns()
            held.begin(rounds)
            while not held.is_done():
                held.dump_ms("--no-symbols")
            ratios.append(held.cost_ns() / quiet_ns)
    return {"title": "A pair while the process is dumped", "x": "stacks", "y": "of a pair's time when it is not",
            "lines": {"rate 1": [[DUMP_STACKS, *map(figures.rounded, figures.spread(ratios))]]}}


CURVES = {
    "rate": by_rate,
    "depth": lambda kit: pair_curve(kit, "Depth of the stack", "frames", "depth", DEPTHS),
    SHARE: by_threads,
    "live": lambda kit: pair_curve(kit, "Live samples, one replaced at random", "live samples", "live", powers(2, 6)),
    "stacks": lambda kit: pair_curve(kit, "Distinct stacks, 25 frames", "stacks", "stacks",
                                     powers(1, 6 if kit.scale >= 1 else 5)),
    "modules": by_modules,
    LEDGER: by_allocations,
    DUMP: by_dumped_stacks,
    SLOWED: slowed_by_dumps,
}


def measure_all(place, runs, scale):
    """{name: curve}; one that cannot be measured is {"missing": why}."""
    kit = Kit(place, runs, scale)
    found = {}
    for name, measure in CURVES.items():
        print(f"curve: {name}", file=sys.stderr)
        try:
            found[name] = measure(kit)
        except (CannotRun, OSError, ValueError, subprocess.CalledProcessError) as reason:
            found[name] = {"missing": f"{type(reason).__name__}: {reason}"}
    shutil.rmtree(place.scratch / "modules", ignore_errors=True)
    return found
