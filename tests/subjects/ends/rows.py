# SPDX-License-Identifier: Apache-2.0
"""However a process ends, its figures are there."""
import os
import re
import subprocess
from pathlib import Path

import pprof
from case import Skip
from checks import nothing
from row import NEVER, SIGABRT, SIGKILL, SIGSEGV, SIGTERM, Row

KILLING_SECONDS = 400  # thousands of processes, on a machine that has other things to do


def second_name(case, run):
    """The image before exec keeps its ledger under its name, the one after it gets the next."""
    case.equal("files", [f"heapmark.ends.{run.pid}-2.pb.gz", f"heapmark.ends.{run.pid}.ledger"],
               [path.name for path in run.files()])


def by_shell(case):
    """`sh -c 'exec program'`: the shell's image has a name of its own, and the program's its figures."""
    words = ["/bin/sh", "-c", f"exec {case.program('ends')} return"]
    run = case.run(words)
    case.equal("exit status", 7, run.status)
    case.equal("files", [f"heapmark.ends.{run.pid}.pb.gz", f"heapmark.sh.{run.pid}.ledger"],
               [path.name for path in run.files()])
    case.check_figures(run)

    run = case.run([str(case.build.tool), "run", "-q", "-r", "1", "-o", str(case.scratch), "--", *words],
                   {"HEAPMARK_DIR": None, "HEAPMARK_RATE": None}, preload="")
    run.output = case.scratch
    case.equal("exit status of heapmark run", 7, run.status)
    case.equal("files of heapmark run", ["heapmark.ends.pb.gz", "heapmark.sh.pb.gz"],
               [re.sub(r"\.\d+", "", path.name) for path in run.files()])
    case.check_figures(run)


class Left:
    """What one of the programs that kill has left in its directory, and says about it."""

    def __init__(self, case, program, *arguments):
        self.case = case
        self.output = case.scratch / "output"
        self.output.mkdir()
        result = subprocess.run([case.program(program), *arguments], capture_output=True, text=True, check=False,
                                timeout=KILLING_SECONDS)
        self.lines = [line.split() for line in result.stdout.splitlines()]
        case.equal(f"exit status of {program}: {result.stdout[-2000:]} {result.stderr[-500:]}", 0, result.returncode)

    @classmethod
    def by_killer(cls, case, mode, argument):
        return cls(case, "killer", mode, case.build.library, case.scratch / "output", case.program("counted"), argument)

    def said(self, word):
        return [words[1:] for words in self.lines if words[0] == word]

    def numbers(self, word):
        """Of a line of names and numbers that begins with this word."""
        return [int(text) for words in self.said(word)[-1:] for text in words if text.isdigit()]

    def check(self, *sites):
        """The ledgers that stayed, by the tools."""
        for name, *bounds in self.said("left"):
            self.check_file(self.output / name, list(map(int, bounds)), sites)

    def check_file(self, path, bounds, sites):
        """A ledger or a profile."""
        verdict = self.tool("check", "-q", path)
        self.case.expect(verdict.returncode == 0, f"heapmark check {path}: {verdict.returncode}: {verdict.stderr}")
        profile = pprof.read(path) if path.suffix == ".gz" else self.dump(path)
        found = sum((profile.total(site, among=sites) for site in sites), pprof.Figures())
        for figure, value, lowest, highest in zip(pprof.TYPES, found, bounds[::2], bounds[1::2]):
            self.case.expect(lowest <= value <= highest,
                             f"{path}: {figure}: expected {lowest} to {highest}, found {value}")

    def tool(self, *arguments):
        return subprocess.run([self.case.build.tool, *arguments], capture_output=True, text=True, check=False)

    def dump(self, ledger):
        target = self.case.scratch / "dumped.pb.gz"
        result = self.tool("dump", "-q", "-o", target, ledger)
        self.case.equal(f"exit status of heapmark dump {ledger}: {result.stderr}", 0, result.returncode)
        return pprof.read(target)


def killed_at_random(case):
    """Whenever the kill comes: the figures are those of what was done, give or take what had just begun."""
    left = Left.by_killer(case, "random", "2000")
    absent, not_ready, without_figures, with_figures = left.numbers("kinds")
    case.equal("runs", 2000, absent + not_ready + without_figures + with_figures)
    case.expect(with_figures >= 1000, f"runs with figures: expected 1000 or more, found {with_figures}")
    left.check("counted")


def killed_at_each_instruction(case):
    """Of every kind of call, of the start of the ledger, and of its growth; and after each system call at exit."""
    left = Left(case, "stepper", case.build.library, case.scratch / "output", case.program("steps"))
    case.equal("what a kill leaves", [["kill", "leaves", "what", "was", "seen:", "1"]], left.said("a"))
    kinds, growth, segments, nodes = left.numbers("kinds")
    case.equal("kinds of calls", 6, kinds)
    case.expect(growth > 0 and segments > 1 and nodes > 0, f"seldom things: expected all, found {left.said('kinds')}")
    _, states, not_ready, exits = left.numbers("steps")
    case.expect(states > 300 and not_ready > 10, f"states: expected hundreds, found {left.said('steps')}")
    sites = "allocate", "reallocate", "reallocate_in_vain"
    left.check(*sites)

    bounds = list(map(int, left.said("exit")[0][1:]))
    kinds = set()
    for number in range(exits):
        files = sorted((left.output / f"exit.{number}").glob("heapmark.*"))
        case.expect(files, f"exit.{number}: nothing is left")
        kinds.update(path.suffix for path in files)
        for path in files:
            left.check_file(path, bounds, sites)
    case.equal("files at exit", {".ledger", ".gz"}, kinds)


def memory_group(limit_bytes):
    """Makes a memory cgroup with a limit; returns its folder and the file that counts the kernel's kills."""
    for top, limit, kills in ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.oom_control"),
                              (Path("/sys/fs/cgroup"), "memory.max", "memory.events")):
        group = top / f"heapmark-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(limit_bytes))
            return group, group / kills
        except OSError:
            group.rmdir()
    raise Skip("no memory cgroup can be made here; the same is simulated in the next row")


def killed_by_the_kernel(case):
    """Out of memory, while the ledger grows too."""
    group, kills = memory_group(48 << 20)
    try:
        left = Left.by_killer(case, "cgroup", str(group / "cgroup.procs"))
        count = re.search(r"^oom_kill (\d+)", kills.read_text(), re.MULTILINE)
        case.equal("processes killed for lack of memory", "1", count and count[1])
    finally:
        group.rmdir()
    check_hungry(case, left)


def killed_when_large(case):
    """As by the kernel, by somebody who watches the resident memory."""
    check_hungry(case, Left.by_killer(case, "resident", "48"))


def check_hungry(case, left):
    """Tens of MiB, each block of which was sampled, so that the live table has grown several times."""
    left.check("counted")
    allocated = [int(bounds[0]) for _, *bounds in left.said("left")]
    case.expect(allocated and allocated[0] > 4096, f"blocks: expected more than 4096, found {allocated}")


def ending(mode, count, profiles, ledgers):
    """Each child has left one profile or ledger with the figures that it had when it began to end, or later."""
    def check(case, run):
        found = {"pb.gz": 0, "ledger": 0}
        for _, pid, status, lowest, highest in (line.split() for line in run.lines()):
            case.equal(f"exit status of {pid}", "3", status)
            files = run.files(pid=int(pid))
            case.expect(files or lowest == "0", f"process {pid} has left nothing")
            for path in files:
                found[path.name.rsplit(f".{pid}.")[-1]] += 1
                objects = run.profile(path).total("allocate").alloc_objects
                case.expect(int(lowest) <= objects <= int(highest),
                            f"{path.name}: allocations: expected {lowest} to {highest}, found {objects}")
        case.equal("children", count, len(run.lines()))
        case.expect(profiles is None or found["pb.gz"] <= profiles, f"profiles: at most {profiles}, found {found}")
        case.expect(ledgers is None or found["ledger"] <= ledgers, f"ledgers: at most {ledgers}, found {found}")
    return check


def two_exits(case):
    """
    The C library lets the thread that comes second end the process while the first one writes: then the ledger
    is left, and perhaps a temporary file.
    """
    run = case.run("ending twice 200")
    for path in run.output.glob(".heapmark.*.tmp"):
        path.unlink()
    case.check_files(run, None, None)
    ending("twice", 200, None, None)(case, run)


ROWS = [
    *(Row(f"ends: {mode}", f"ends {mode}", status=status, profiles=profiles, ledgers=1 - profiles)
      for mode, status, profiles in (
          ("return", 7, 1), ("exit", 7, 1), ("exit_from_thread", 7, 1), ("end_of_main_thread", 0, 1),
          ("_exit", 7, 0), ("_Exit", 7, 0), ("quick_exit", 7, 0), ("abort", SIGABRT, 0), ("fault", SIGSEGV, 0),
          ("SIGTERM", SIGTERM, 0), ("SIGKILL", SIGKILL, 0))),
    *(Row(f"ends: {mode}, nothing sampled", f"ends {mode}", NEVER, status=7, profiles=0, check=nothing)
      for mode in ("_exit", "_Exit", "quick_exit")),
    Row("ends: exec of another program", "ends exec_other", profiles=None, ledgers=1),
    Row("ends: exec of itself", "ends exec_self", status=7, ledgers=1),
    Row("ends: names after exec", "ends exec_self", status=7, ledgers=1, check=second_name),
    Row("ends: exec by descriptor", "ends fexecve", status=7, ledgers=1, check=second_name),
    Row("ends: exec from a thread", "ends exec_from_thread", status=7, ledgers=1),
    Row("ends: exec after fork", "ends exec_after_fork", status=7, profiles=3, ledgers=2),
    Row("ends: exec of what is not there", "ends exec_in_vain", status=7),
    Row("ends: exec by a shell", check=by_shell),
    *(Row(f"ends: last of all, {mode}", f"last {mode}", status=status, profiles=profiles, ledgers=1 - profiles)
      for mode, status, profiles in (
          ("atexit", 7, 1), ("exit_in_atexit", 9, 1), ("destructor", 7, 1), ("quick", 7, 0), ("signal", 7, 1),
          ("abort", SIGABRT, 0), ("fault", 7, 0), ("stream", 7, 1), ("last_thread", 0, 1))),
    Row("ends: main returns while threads allocate", "ending return 200", profiles=None, ledgers=None, compare=False,
        check=ending("return", 200, 200, 0)),
    Row("ends: _exit while threads allocate", "ending _exit 200", profiles=None, ledgers=None, compare=False,
        check=ending("_exit", 200, 0, 200)),
    Row("ends: exit in a handler", "ending handler 300", profiles=None, ledgers=None, compare=False,
        check=ending("handler", 300, 300, 0)),
    Row("ends: two threads exit", check=two_exits),
    Row("ends: killed at 2000 random instants", check=killed_at_random),
    Row("ends: killed at each instruction", check=killed_at_each_instruction),
    Row("ends: killed for lack of memory", check=killed_by_the_kernel),
    Row("ends: killed when it is large", check=killed_when_large),
]
