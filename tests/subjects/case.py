# SPDX-License-Identifier: Apache-2.0
"""One row of the table at work: programs are run in a scratch directory, expectations are held against them."""
import os
import re
import signal
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pprof

TIMEOUT_SECONDS = 120
FILE_NAME = re.compile(r"heapmark\.(?P<comm>[A-Za-z0-9._-]+)\.(?P<pid>\d+)(?P<number>-\d+)?\.(?P<kind>pb\.gz|ledger)")


class Skip(Exception):
    """The row cannot be run here; says why."""


@dataclass(frozen=True)
class Build:
    """Where things are."""
    library: Path
    tool: Path
    exports: Path
    programs: Path


@dataclass
class Run:
    """A program that has ended, and what it left."""
    command: list
    environment: dict  # what is ours in it
    pid: int
    status: int  # as subprocess has it: -9 is SIGKILL
    stdout: str
    stderr: str
    output: Path  # HEAPMARK_DIR
    tool: Path
    dumped: dict = field(default_factory=dict)

    def lines(self):
        """Standard output but for the truth."""
        return [line for line in self.stdout.splitlines() if not line.startswith("truth ")]

    def truth(self):
        """{pid: {site: [figure or None, ...]}}"""
        processes = {}
        for line in self.stdout.splitlines():
            if line.startswith("truth "):
                _, pid, site, *figures = line.split()
                sites = processes.setdefault(int(pid), {})
                known = sites.get(site, [0] * len(figures))  # pids come again in a long row of children
                sites[site] = [None if text == "?" or old is None else old + int(text)
                               for text, old in zip(figures, known)]
        return processes

    def said(self):
        """Lines that the library has written on standard error, and the others."""
        ours, others = [], []
        for line in self.stderr.splitlines():
            (ours if line.startswith("heapmark: ") else others).append(line)
        return ours, others

    def files(self, kind=None, pid=None):
        return [path for path in sorted(self.output.glob("heapmark.*")) if self._fits(path, kind, pid)]

    @staticmethod
    def _fits(path, kind, pid):
        name = FILE_NAME.fullmatch(path.name)
        return name and kind in (None, name["kind"]) and pid in (None, int(name["pid"]))

    def profile(self, path):
        """Of a ledger: what `heapmark dump` makes of it."""
        if path.suffix != ".ledger":
            return pprof.read(path)
        if path not in self.dumped:
            profile = self.output.parent / f"{path.stem}.pb.gz"
            result = subprocess.run([self.tool, "dump", "-o", profile, path], env=clean_environment(),
                                    capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
            if result.returncode != 0:
                raise AssertionError(f"heapmark dump {path.name}: exit status {result.returncode}: {result.stderr}")
            self.dumped[path] = pprof.read(profile)
        return self.dumped[path]

    def profiles(self, pid=None):
        return [self.profile(path) for path in self.files(pid=pid)]

    def only_profile(self):
        """The profile, where there is to be one."""
        profiles = self.profiles()
        if len(profiles) != 1:
            raise AssertionError(f"1 profile expected, there are {[path.name for path in self.files()]}")
        return profiles[0]


def clean_environment():
    """MALLOC_: meson test has glibc fill every block."""
    return {key: value for key, value in os.environ.items()
            if not key.startswith(("HEAPMARK", "LD_", "MALLOC_", "GLIBC_"))} | {"LC_ALL": "C"}


class Case:
    def __init__(self, row, build, scratch):
        self.row = row
        self.build = build
        self.scratch = scratch
        self.failures = []
        self.run_count = 0

    def fail(self, message):
        self.failures.append(message)

    def expect(self, condition, message):
        if not condition:
            self.fail(message)

    def equal(self, what, expected, found):
        if expected != found:
            self.fail(f"{what}: expected {expected}, found {found}")

    def program(self, name):
        """A program or a plug-in, in the folder of its area."""
        paths = list(self.build.programs.glob(f"*/{name}"))
        if not paths and "-" in name:
            raise Skip(f"{name} was not built: the allocator that it links with is not installed")
        if not paths:
            raise AssertionError(f"{name} was not built")
        return paths[0]

    def words(self, command):
        """The words of a command: a leading program, and further files (with a dot), are those of the build."""
        first, *rest = command.split()
        return [str(self.program(first))] + [str(self.program(word)) if word.endswith(".so") else word
                                             for word in rest]

    def preloaded(self, preload):
        """The words of LD_PRELOAD: "{library}", plug-ins of ours, and what the loader finds by itself."""
        for word in preload.split():
            if word == "{library}":
                yield str(self.build.library)
            else:
                yield str(self.program(word)) if word.endswith(".so") else word

    def run(self, command, environment=None, preload="{library}", wrapper=()):
        """
        Runs a program of the build to its end.  None in the environment unsets a variable.  `wrapper` is a command
        that executes the rest of its words; "{output}" in it is HEAPMARK_DIR, "{library}" the library.
        """
        words = command if isinstance(command, list) else self.words(command)
        directory = self.scratch / str(self.run_count)
        output = directory / "output"
        self.run_count += 1
        for folder in (directory, output, directory / "work"):
            folder.mkdir()
        places = {"library": self.build.library, "output": output}
        ours = {"HEAPMARK_DIR": str(output), "HEAPMARK_RATE": "1"} | (environment or {})
        ours = {key: value.format(**places) for key, value in ours.items() if value is not None}
        if preload:
            ours["LD_PRELOAD"] = " ".join(self.preloaded(preload))
        if wrapper:  # outside of the library
            words = ([word.format(**places) for word in wrapper]
                     + ["env"] + [f"{key}={value}" for key, value in ours.items()] + words)
        process = subprocess.Popen(words, cwd=directory / "work", text=True,
                                   env=clean_environment() | ({} if wrapper else ours), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace",
                                   start_new_session=True)
        try:
            stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise AssertionError(f"{command}: still running after {TIMEOUT_SECONDS} seconds") from None
        if wrapper and process.returncode != 0 and re.search(r"^(unshare|mount|prlimit):", stderr, re.MULTILINE):
            raise Skip(stderr.strip())
        if "cannot be preloaded" in stderr and "libheapmark" not in stderr:
            raise Skip("an allocator is not installed: " + stderr.splitlines()[0])
        return Run(words, ours, process.pid, process.returncode, stdout, stderr, output, self.build.tool)

    def check_same(self, plain, run):
        """The program says what it says without the library."""
        for number, (expected, found) in enumerate(zip(plain.lines(), run.lines()), 1):
            if expected != found:
                self.equal(f"line {number} of standard output", repr(expected), repr(found))
                break
        self.equal("lines of standard output", len(plain.lines()), len(run.lines()))

    def check_said(self, run, patterns):
        """The library says these lines on standard error, and no other."""
        ours, _ = run.said()
        if len(ours) != len(patterns) or not all(map(re.search, patterns, ours)):
            self.fail(f"standard error: expected {list(patterns) or 'nothing'}, found {ours}")

    def check_files(self, run, profile_count, ledger_count):
        for kind, expected in (("pb.gz", profile_count), ("ledger", ledger_count)):
            if expected is not None:
                self.equal(f"files *.{kind}", expected, len(run.files(kind)))
        for path in run.output.iterdir():
            self.expect(FILE_NAME.fullmatch(path.name), f"{path.name}: not the name of a profile or a ledger")
            self.equal(f"mode of {path.name}", "0o600", oct(stat.S_IMODE(path.stat().st_mode)))
        for path in run.files():
            result = subprocess.run([self.build.tool, "check", path], env=clean_environment(), capture_output=True,
                                    text=True, timeout=TIMEOUT_SECONDS)
            self.expect(result.returncode == 0, f"heapmark check {path.name}: exit status {result.returncode}: "
                                                f"{result.stderr.strip()} {result.stdout.strip()[-500:]}")

    def check_figures(self, run, losses=()):
        """All figures of all sites are the truth, and nothing else was lost than what may be."""
        truth = run.truth()
        self.expect(truth, "the program tells no truth")
        for pid, sites in truth.items():
            profiles = run.profiles(pid)
            if not profiles and any(figure != 0 for figures in sites.values() for figure in figures):
                self.fail(f"process {pid} has left nothing")
                continue
            for profile in profiles:
                self.equal("losses", set(), set(profile.losses) - set(losses))
            for site, figures in sites.items():
                total = sum((profile.total(site, among=sites) for profile in profiles), pprof.Figures())
                for name, expected, found in zip(pprof.TYPES, figures, total):
                    if expected is not None:
                        self.equal(f"{name} of {site}", expected, found)
