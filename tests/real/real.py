# SPDX-License-Identifier: Apache-2.0
"""What the tests of real programs share.

A test runs a program twice, as it is and under the library: whoever waits for it must see no difference.  What
the library left behind is then read by four readers, which must agree to the unit.

    def test(session):
        plain = session.run(["sqlite3", ":memory:", QUERY])
        profiled, profiles = session.profile(["sqlite3", ":memory:", QUERY], rate="64K")
        session.same("sqlite3", profiled, plain)
        session.good(profiles)

    real.main({"sqlite3": test})
"""
import collections
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
import pprof  # noqa: E402
from pprof import Figures  # noqa: E402

TOTALS_SCRIPT = HERE.parent / "readers" / "pprof_format.js"
INPUTS = HERE / "inputs"

RATES = ["1", "64K", "512K"]

# How long something that must happen may take on the slowest machine; nothing is asserted about it.
PATIENCE_SECONDS = 120

# Of Debian, whatever else the user has put in front of it.
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"

# Standard deviations between an estimate and the truth that no run in 100,000 exceeds by chance, even where
# only a few dozen samples stand for it.
SIGMAS_MAX = 5


# Of a failure, the letters that are shown.
DETAIL_MAX = 3000


class Skipped(Exception):
    """What the test is about is not installed here."""


class Outcome(NamedTuple):
    """What the one who started a program sees of it."""
    status: int
    stdout: bytes
    stderr: bytes


class View(NamedTuple):
    """What `go tool pprof -top` says of one sample type."""
    total: int
    flat: dict  # function: amount
    cum: dict

    def share(self, function):
        return self.cum.get(function, 0) / self.total if self.total else 0


def find(program):
    """The path of a program of the system."""
    path = shutil.which(program, path=SYSTEM_PATH)
    if path is None:
        raise Skipped(f"{program} is not installed")
    return path


def wait_for(server, condition, what):
    """Waits until a server is ready."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if server.poll() is not None:
            raise RuntimeError(f"{what}: the server ended with {server.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


def interval_of(rate):
    return int(rate.removesuffix("K")) * 1024 if rate.endswith("K") else int(rate)


def stack_total(profile, *innermost):
    """The sum over the stacks whose innermost functions are these."""
    return sum((sample.figures for sample in profile.samples if tuple(sample.functions()[:len(innermost)]) == innermost),
               Figures())


def innermost(profile):
    """The figures of each function that is the innermost of a stack."""
    figures = collections.defaultdict(Figures)
    for sample in profile.samples:
        figures[sample.functions()[0]] += sample.figures
    return {name: list(total) for name, total in figures.items()}


class Session:
    """One test: its folder, what it started, what it found.  At its end nothing of it is left."""

    def __init__(self, tool, library):
        self.tool = tool
        self.library = library
        self.passed = self.failed = 0
        self.folder = Path(tempfile.mkdtemp(prefix="heapmark-real-"))
        # Servers that start as root and go on as somebody else must reach it.
        self.folder.chmod(0o755)
        self.servers = []
        self.output_count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        for server in self.servers:
            # Its whole group: workers outlive a server that was killed.
            try:
                os.killpg(server.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            server.wait()
        shutil.rmtree(self.folder)

    # Verdicts

    def check(self, name, condition, detail=""):
        if condition:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED {name}: {detail}"[:DETAIL_MAX], flush=True)
        return condition

    def equal(self, name, actual, expected):
        return self.check(name, actual == expected, f"{actual!r}, expected {expected!r}")

    def same(self, name, profiled, plain):
        """The program did the same under the library as without it."""
        for part, actual, expected in zip(Outcome._fields, profiled, plain):
            self.equal(f"{name}: {part} as without the library", actual, expected)

    # Running programs

    def environment(self, **more):
        return {"PATH": SYSTEM_PATH, "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "TZ": "UTC", **more}

    def preloaded(self, output, rate, library=None, **more):
        """The environment in which a program is profiled into the folder `output`."""
        return self.environment(LD_PRELOAD=str(library or self.library), HEAPMARK_DIR=str(output),
                                HEAPMARK_RATE=rate, **more)

    def new_output(self):
        """A fresh folder for profiles, into which anybody may write."""
        self.output_count += 1
        output = self.folder / f"profiles-{self.output_count}"
        output.mkdir()
        output.chmod(0o777)
        return output

    def run(self, command, environment=None, stdin=b"", **more):
        """Runs a program to its end."""
        done = subprocess.run(command, env=environment or self.environment(), input=stdin, capture_output=True,
                              cwd=more.pop("cwd", self.folder), timeout=PATIENCE_SECONDS, check=False, **more)
        return Outcome(done.returncode, done.stdout, done.stderr)

    def must(self, command, environment=None, stdin=b"", **more):
        """Runs a program on which the test depends; returns its standard output."""
        outcome = self.run(command, environment, stdin, **more)
        if outcome.status != 0:
            raise RuntimeError(f"{command}: status {outcome.status}: {outcome.stderr.decode(errors='replace')}")
        return outcome.stdout.decode()

    def profile(self, command, rate, stdin=b"", environment=None, **more):
        """Runs a program under the library, with nothing but LD_PRELOAD; returns (outcome, profiles)."""
        output = self.new_output()
        outcome = self.run(command, self.preloaded(output, rate, **(environment or {})), stdin, **more)
        return outcome, self.collect(output)

    def profile_by_run(self, command, rate, stdin=b"", environment=None, **more):
        """Runs a program under `heapmark run`; returns (outcome, profiles)."""
        output = self.new_output()
        wrapped = [self.tool, "run", "-q", "-o", output, "-r", rate, "--", *command]
        outcome = self.run(wrapped, self.environment(**(environment or {})), stdin, **more)
        self.equal(f"{command[0]}: ledgers left by heapmark run", list(output.glob("*.ledger")), [])
        return outcome, self.collect(output)

    def serve(self, command, environment, **more):
        """Starts a server; it is gone when the test ends."""
        log = (self.folder / "server.log").open("wb")
        with log:
            server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      cwd=self.folder, start_new_session=True, **more)
        self.servers.append(server)
        return server

    def server_log(self):
        return (self.folder / "server.log").read_text(errors="replace")

    def end(self, server):
        """Waits for the end of a server that was told to end; returns its status."""
        return server.wait(PATIENCE_SECONDS)

    # Profiles

    def dump(self, source, profile):
        """`heapmark dump` of a process or a ledger."""
        outcome = self.run([self.tool, "dump", "-q", "-o", profile, str(source)])
        self.equal(f"heapmark dump: {outcome.stderr!r}: status", outcome.status, 0)
        return profile

    def collect(self, output):
        """The profiles in a folder, those of processes that could not finish among them."""
        for ledger in sorted(output.glob("*.ledger")):
            self.dump(ledger, ledger.with_suffix(".pb.gz"))
        return sorted(output.glob("*.pb.gz"))

    def good(self, paths, may_lose=()):
        """All readers take the profiles and agree on their totals.  Returns them as read by ours.

        may_lose: kinds of losses that this program is known to bring."""
        self.check("profiles are there", paths)
        foreign = self.foreign_totals(paths) if paths else []
        return [self.good_one(path, totals, may_lose) for path, totals in zip(paths, foreign)]

    def good_one(self, path, foreign, may_lose):
        profile = pprof.read(path)
        totals = list(profile.total())
        self.equal(f"{path.name}: types", profile.sample_types, pprof.TYPES)
        self.equal(f"{path.name}: totals by heapmark check", self.checked_totals(path), totals)
        # of a profile without a sample, of a process that has just begun, pprof has nothing to say
        self.equal(f"{path.name}: totals by go tool pprof", self.go_totals(path) or [0] * len(totals), totals)
        self.equal(f"{path.name}: totals by pprof-format", [foreign["types"], foreign["totals"]], [pprof.TYPES, totals])
        self.equal(f"{path.name}: innermost functions by pprof-format", foreign["leaves"], innermost(profile))
        lost = {kind: count for kind, count in profile.losses.items() if kind not in may_lose}
        self.equal(f"{path.name}: losses", lost, {})
        return profile

    def near(self, name, rate, estimate, truth):
        """Estimates lie as near the truth as the sampling interval promises.

        An allocation of s bytes is sampled with p = 1 - exp(-(s + 1) / interval) and adds s² (1 - p) / p to the
        variance, which is less than s · interval: the deviation is less than the root of interval · bytes.
        """
        if rate == "1":
            self.equal(f"{name}: exact", estimate, truth)
            return
        for what in "alloc_space", "inuse_space":
            expected, actual = getattr(truth, what), getattr(estimate, what)
            deviation = math.sqrt(interval_of(rate) * expected)
            # Where less than one sample is expected, a few of them are all there is to go by.
            limit = SIGMAS_MAX * deviation + 3 * interval_of(rate)
            self.check(f"{name}: {what}", abs(actual - expected) <= limit,
                       f"{actual} for {expected}, deviation {deviation:.0f}")

    def checked_totals(self, path):
        text = self.must([self.tool, "check", path])
        totals = dict(re.findall(r"^  ((?:alloc|inuse)_(?:objects|space))\s+(\d+) (?:count|bytes)", text, re.MULTILINE))
        return [int(totals.get(name, -1)) for name in pprof.TYPES]

    def go_totals(self, path):
        text = self.must(["go", "tool", "pprof", "-raw", path])
        head, samples = text.split("\nSamples:\n")
        samples = samples.split("\nLocations\n")[0].splitlines()
        self.equal(f"{path.name}: types by go tool pprof", samples[0],
                   "alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes[dflt]")
        self.check(f"{path.name}: period type by go tool pprof", "PeriodType: space bytes" in head, head)
        rows = [list(map(int, row.split(":")[0].split())) for row in samples[1:] if re.match(r" *\d+ .*: ", row)]
        return [sum(column) for column in zip(*rows)]

    def foreign_totals(self, paths):
        return json.loads(self.must(["node", TOTALS_SCRIPT, *paths]))

    def view(self, path, sample_type):
        """What a user reads in `go tool pprof -top`."""
        text = self.must(["go", "tool", "pprof", "-top", f"-sample_index={sample_type}", "-unit=B", "-nodecount=100000",
                          "-nodefraction=0", "-edgefraction=0", path])
        total = re.search(r"of (\d+)B? total", text)
        rows = re.findall(r"^ *(\d+)B? +[\d.e-]+% +[\d.e-]+% +(\d+)B? +[\d.e-]+%  (.+?)(?: \(inline\))?$", text, re.MULTILINE)
        return View(int(total[1]) if total else 0,
                    {name: int(flat) for flat, _cum, name in rows},
                    {name: int(cum) for _flat, cum, name in rows})

    def shares(self, path, sample_type, expected):
        """Of `sample_type`, function by function, at least this share lies in it and what it called."""
        view = self.view(path, sample_type)
        index = pprof.TYPES.index(sample_type)
        self.equal(f"{path.name}: {sample_type} by go tool pprof -top", view.total, pprof.read(path).total()[index])
        for function, share in expected.items():
            self.check(f"{path.name}: {function} has {share:.0%} of {sample_type}", view.share(function) >= share,
                       f"{view.share(function):.2%} of {view.total}")


def main(tests):
    """Runs the tests and prints what came out.  Arguments: the tool, the library."""
    tool, library = map(os.path.abspath, sys.argv[1:3])
    if not (TOTALS_SCRIPT.parent / "node_modules").is_dir():
        sys.exit(f"{TOTALS_SCRIPT.parent}: no node_modules; type: script/bootstrap")
    # Whoever ends us early ends what we started: the session sees to it on the way out.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit("ended by a signal"))
    passed = failed = skipped = 0
    for name, test in tests.items():
        try:
            with Session(tool, library) as session:
                try:
                    test(session)
                finally:
                    passed += session.passed
                    failed += session.failed
        except Skipped as reason:
            skipped += 1
            print(f"skipped {name}: {reason}")
            continue
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {error}")
            continue
        print(f"ran {name}: {session.passed} passed, {session.failed} failed", flush=True)
    print(f"{passed} passed, {failed} failed")
    if failed == 0 and passed == 0 and skipped > 0:
        sys.exit(77)
    sys.exit(1 if failed else 0)
