# SPDX-License-Identifier: Apache-2.0
"""The rate is changed while a program runs; and tracers are told of samples."""
import math
import os
import re
import shutil
import subprocess

from case import TIMEOUT_SECONDS, Run, Skip, clean_environment
from row import Row

SIGMAS = 5  # each run draws other samples: 6 of ten million are beyond
SHARE_MAX = 0.3  # of the figure: a wider bound proves nothing


class Phases:
    """The subject, running: it is told what to do, and its rate is changed."""

    def __init__(self, case, rate, wrapper=(), **environment):
        self.case = case
        self.output = case.scratch / f"output-{case.run_count}"
        case.run_count += 1
        self.output.mkdir()
        self.ours = {"HEAPMARK_DIR": str(self.output), "HEAPMARK_RATE": rate,
                     "LD_PRELOAD": str(case.build.library)} | environment
        settings = [f"{key}={value}" for key, value in self.ours.items()]
        self.process = subprocess.Popen(
            [*wrapper, "env", *settings, str(case.program("phases"))], cwd=self.output, env=clean_environment(),
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pid = self.process.pid
        self.truth = {}

    def tell(self, line):
        """Has a line done, and returns what it says."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        if words[:2] == ["done", line.split()[0]] and len(words) == 7:
            self.truth[words[1]] = [*map(int, words[2:6]), float(words[6])]
        return words

    def settle(self):
        """Until the thread has noticed."""
        self.tell("settle 34")

    def end(self):
        stdout, stderr = self.process.communicate(timeout=TIMEOUT_SECONDS)
        self.case.equal("exit status", 0, self.process.returncode)
        return Run([], self.ours, self.pid, self.process.returncode, stdout, stderr, self.output, self.case.build.tool)


def tool(case, *arguments, wrapper=()):
    result = subprocess.run([*wrapper, case.build.tool, *map(str, arguments)], env=clean_environment(), text=True,
                            capture_output=True, timeout=TIMEOUT_SECONDS)
    return result.returncode, result.stdout, result.stderr


def set_rate(case, phases, rate, now, was):
    status, _, said = tool(case, "rate", phases.pid, rate)
    case.equal(f"rate {rate}: exit status", 0, status)
    case.equal(f"rate {rate}: what it says", [
        f"heapmark: process {phases.pid}: {now}; was {was}",
        "heapmark: each of its threads notices before it has allocated another 16.0 MiB"], said.splitlines())


def check_estimate(case, profile, site, truth, rate_bytes):
    """
    All four figures, by the variance that they have at this rate: sum s^2 (w - 1) is at most s R for each of the
    blocks, which are small against it; sum (w - 1) at most R / (s + 1).
    """
    objects, size_bytes, kept_objects, kept_bytes, inverses = truth
    share = kept_objects / objects
    found = profile.total(site)
    for name, expected, variance in (
            ("alloc_objects", objects, inverses * rate_bytes), ("alloc_space", size_bytes, size_bytes * rate_bytes),
            ("inuse_objects", kept_objects, share * inverses * rate_bytes),
            ("inuse_space", kept_bytes, kept_bytes * rate_bytes)):
        bound = 1 if rate_bytes == 1 else SIGMAS * math.sqrt(variance)
        case.expect(abs(getattr(found, name) - expected) < bound,
                    f"{name} of {site}: expected {expected} +- {bound:.0f}, found {getattr(found, name)}")
        case.expect(name.startswith("inuse") or bound < SHARE_MAX * expected,
                    f"{name} of {site}: a bound of {bound:.0f} for {expected} proves nothing")


def changes(case):
    """Asleep, 64K, 1, 512K, asleep: estimates are those of the time awake, and nothing is asleep's."""
    phases = Phases(case, "0")
    phases.tell("asleep 64")
    check = tool(case, "check", phases.pid)[1]
    case.expect(re.search(r"rate +0: asleep$", check, re.MULTILINE), f"check does not say that it sleeps: {check}")
    set_rate(case, phases, "64K", "one sample in 64.0 KiB on average", "asleep")
    phases.settle()
    phases.tell("at_64k 512")
    set_rate(case, phases, "1", "every allocation", "one sample in 64.0 KiB")
    phases.tell("across_1 64")
    phases.settle()
    phases.tell("at_1 64")
    check = tool(case, "check", phases.pid)[1]
    case.expect(re.search(r"rate +1: every allocation$", check, re.MULTILINE), f"exact, says check: {check}")
    case.expect("up to 64.0 KiB to a sample" in check, f"check does not know what was before: {check}")
    set_rate(case, phases, "512K", "one sample in 512 KiB on average", "every allocation")
    phases.tell("across_512k 512")
    set_rate(case, phases, "0", "asleep", "one sample in 512 KiB")
    phases.settle()
    phases.tell("slumber 64")
    case.equal("rate 0 again", (0, "", f"heapmark: process {phases.pid}: asleep, as before\n"),
               tool(case, "rate", phases.pid, "0"))

    profile = phases.end().only_profile()
    case.equal("period", 0, profile.period)
    for site, rate_bytes in (("at_64k", 64 << 10), ("across_1", 64 << 10), ("at_1", 1), ("across_512k", 512 << 10)):
        check_estimate(case, profile, site, phases.truth[site], rate_bytes)
    for site in ("asleep", "slumber"):
        case.equal(f"figures of {site}", 0, sum(profile.total(site)))
    for comment in ("#heapmark.interval_bytes=0", "#heapmark.longest_interval_bytes=524288", "#heapmark.slept=1"):
        case.expect(comment in profile.comments, f"no comment {comment}: {profile.comments}")
    top = tool(case, "top", next(phases.output.glob("*.pb.gz")))[1]
    case.expect("±" in top.splitlines()[0], f"top takes estimates for exact: {top.splitlines()[0]}")


def freed_later(case):
    """What is freed is taken away with the weight that it was given, whatever the rate is by then."""
    phases = Phases(case, "64K")
    phases.tell("at_64k 64")
    for rate in ("1", "2M", "0"):
        tool(case, "rate", phases.pid, rate)
        phases.settle()
    phases.tell("release")
    profile = phases.end().only_profile()
    total = profile.total("at_64k")
    case.expect(total.alloc_objects > 0, "nothing was sampled")
    case.equal("in use", (0, 0), (total.inuse_objects, total.inuse_space))


def exact_from_the_start(case):
    """Rate 1 all the time is exact; where it was asleep before, the figures leave something out."""
    phases = Phases(case, "1")
    phases.tell("at_1 1")
    case.expect("figures are exact" in tool(case, "check", phases.pid)[1], "rate 1 is not exact, says check")
    path = phases.end().files("pb.gz")[0]
    case.expect("figures are exact" in tool(case, "check", path)[1], "a profile at rate 1 is not exact, says check")

    phases = Phases(case, "0")
    phases.tell("asleep 1")
    tool(case, "rate", phases.pid, "1")
    phases.settle()
    phases.tell("at_1 4")
    profile = phases.end().only_profile()
    check_estimate(case, profile, "at_1", phases.truth["at_1"], 1)
    check = tool(case, "check", next(phases.output.glob("*.pb.gz")))[1]
    case.expect("figures are exact" not in check and "asleep        at times" in check,
                f"check forgets that it was asleep: {check}")


def unnoticed(case):
    """No signal reaches the process, and the tool makes no call that could send one or stop it."""
    if not shutil.which("strace"):
        raise Skip("strace is not installed")
    trace = case.scratch / "target"
    phases = Phases(case, "0", wrapper=("strace", "-f", "-o", str(trace)))
    children = f"/proc/{phases.pid}/task/{phases.pid}/children"
    phases.tell("asleep 1")
    with open(children, encoding="ascii") as file:
        phases.pid = int(file.read())
    status, _, errors = tool(case, "rate", phases.pid, "1", wrapper=("strace", "-f", "-o", str(case.scratch / "tool")))
    case.equal("exit status", (0, True), (status, "was asleep" in errors))
    phases.settle()
    phases.tell("at_1 1")
    profile = phases.end().only_profile()
    check_estimate(case, profile, "at_1", phases.truth["at_1"], 1)
    case.expect("write(1" in trace.read_text(), "strace has seen nothing of the process")
    case.equal("signals", [], re.findall(r"--- SIG\w+", trace.read_text()))
    calls = set(re.findall(r"^\d+ +(\w+)\(", (case.scratch / "tool").read_text(), re.MULTILINE))
    case.expect("pwrite64" in calls, f"strace has not seen the tool: {calls}")
    case.equal("calls of the tool", set(), calls & {
        "kill", "tkill", "tgkill", "ptrace", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal",
        "process_vm_readv", "process_vm_writev"})


def children(case):
    """A child that sleeps follows its parent, until it has allocated 16 MiB and has a ledger of its own."""
    phases = Phases(case, "0")
    child = phases.tell("fork")[1]
    phases.tell("asleep 1")
    status, _, errors = tool(case, "rate", child, "1")
    case.equal("a child without a ledger: exit status", 2, status)
    case.expect(f"next  heapmark rate {phases.pid} 1 " in errors, f"does not name its parent: {errors}")
    tool(case, "rate", phases.pid, "1")
    phases.settle()
    phases.tell("at_1 4")
    check_estimate(case, phases.end().only_profile(), "at_1", phases.truth["at_1"], 1)

    phases = Phases(case, "0")
    child = phases.tell("fork")[1]
    phases.settle()
    case.equal("a child with a ledger: exit status", 0, tool(case, "rate", child, "1")[0])
    phases.settle()
    phases.tell("at_1 4")
    run = phases.end()
    case.equal("profiles", [f"heapmark.phases.{child}.pb.gz"], [path.name for path in run.files()])
    check_estimate(case, run.only_profile(), "at_1", phases.truth["at_1"], 1)


def nothing_left(case):
    """Asleep all the time, parent and child: no file."""
    phases = Phases(case, "0")
    phases.tell("fork")
    phases.settle()
    case.equal("files", [], phases.end().files())


def refused(case):
    phases = Phases(case, "0")
    phases.tell("asleep 1")
    ledger = next(phases.output.glob("*.ledger"))
    for rate in ("fast", "-1", "2T", "", "1.5K"):
        status, _, errors = tool(case, "rate", "--", phases.pid, rate)
        case.equal(f"rate {rate!r}", (2, True), (status, "a rate is a number of bytes" in errors))
    for arguments in ((), (phases.pid,), (phases.pid, "1", "2")):
        status, _, errors = tool(case, "rate", *arguments)
        case.equal(f"arguments {arguments}", (2, True), (status, "a PID and a RATE are needed" in errors))
    status, _, errors = tool(case, "rate", os.getpid(), "1")
    case.equal("without the library", (2, True), (status, "runs without libheapmark.so" in errors))
    case.equal("by the ledger", 0, tool(case, "rate", ledger, "4M")[0])
    copy = case.scratch / "copy.ledger"
    shutil.copy(ledger, copy)
    ledger.unlink()
    status, _, errors = tool(case, "rate", phases.pid, "1")
    case.equal("a ledger that was removed", (0, True), (status, "was one sample in 4.0 MiB" in errors))
    if os.geteuid() == 0 and shutil.which("setpriv"):
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        status, _, errors = tool(case, "rate", phases.pid, "1", wrapper=nobody)
        case.equal("another user's", (2, True), (status, "a process of another user" in errors))
        case.equal("another user's: what to type", True, f"sudo heapmark rate {phases.pid} RATE\n" in errors)
    phases.process.communicate(timeout=TIMEOUT_SECONDS)
    status, _, errors = tool(case, "rate", phases.pid, "1")
    case.equal("a process that is gone", (2, True), (status, "no such process" in errors))
    status, _, errors = tool(case, "rate", copy, "1")
    case.equal("a ledger whose process is gone", (2, True), (status, "has come to its end" in errors))

    phases = Phases(case, "1", HEAPMARK_DIR="/nonexistent")
    phases.tell("asleep 1")
    status, _, errors = tool(case, "rate", phases.pid, "1")
    case.equal("tables in memory", (2, True), (status, "no ledger through which" in errors))
    phases.process.communicate(timeout=TIMEOUT_SECONDS)


# ---- Probes ---------------------------------------------------------------------------------------------------

def notes(case):
    """Provider, names, places of the arguments and semaphores, as tracers read them."""
    text = subprocess.run(["readelf", "-n", case.build.library], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"Provider: (\S+)\s+Name: (\S+)\s+Location: \S+, Base: \S+, Semaphore: (\S+)\s+"
                       r"Arguments: ([^\n]*)", text)
    case.equal("probes", {("otel_memory", "alloc", "8@%rdi 8@%rsi 8@%rdx"), ("otel_memory", "free", "8@%rdi")},
               {(provider, name, arguments.strip()) for provider, name, _, arguments in found})
    case.expect(len({int(semaphore, 16) for _, _, semaphore, _ in found} - {0}) == 2, f"semaphores: {found}")


GDB = r"""
set pagination off
set confirm off
set breakpoint pending on
set environment LD_PRELOAD {library}
set environment HEAPMARK_RATE {rate}
set environment HEAPMARK_DIR {output}
break begin_probed
run > {stdout}
{attach}
continue
"""
ATTACH = r"""
break -probe-stap otel_memory:alloc
commands
silent
printf "alloc %#lx %lu %lu\n", $_probe_arg0, $_probe_arg1, $_probe_arg2
continue
end
break -probe-stap otel_memory:free
commands
silent
printf "free %#lx\n", $_probe_arg0
continue
end
"""
# Nobody counts in the semaphore: a breakpoint by address does not.
ATTACH_UNCOUNTED = ATTACH.replace("-probe-stap otel_memory:alloc", "hm_probe_alloc_site").replace(
    "-probe-stap otel_memory:free", "hm_probe_free_site").replace(
    "$_probe_arg0", "$rdi").replace("$_probe_arg1", "$rsi").replace("$_probe_arg2", "$rdx")


def gdb(case, attach, rate="1"):
    """What a debugger at the probes has seen, and what the program says it did."""
    if not shutil.which("gdb"):
        raise Skip("gdb is not installed")
    number = case.run_count
    case.run_count += 1
    script, stdout = case.scratch / f"gdb-{number}", case.scratch / f"stdout-{number}"
    script.write_text(GDB.format(library=case.build.library, rate=rate, output=case.scratch, stdout=stdout,
                                 attach=attach))
    result = subprocess.run(["gdb", "-nx", "-batch", "-x", script, case.program("probed")], text=True,
                            env=clean_environment() | {"SHELL": "/bin/sh"}, stdin=subprocess.DEVNULL,
                            capture_output=True, timeout=TIMEOUT_SECONDS)
    if "ptrace" in result.stderr and not stdout.exists():
        raise Skip("gdb may not trace here: " + result.stderr.strip())
    case.expect("exited normally" in result.stdout, f"the program did not end: {result.stdout} {result.stderr}")
    seen = re.findall(r"^(?:alloc|free) .*$", result.stdout, re.MULTILINE)
    return seen, stdout.read_text().splitlines() if stdout.exists() else []


def fired(case):
    seen, said = gdb(case, ATTACH)
    # at rate 1 a sample stands for itself
    expected = [line + " " + line.split()[2] if line.startswith("alloc") else line for line in said]
    case.equal("allocations and frees", 12, len(expected))
    case.equal("what the probes told", expected, seen[:len(expected)])


def not_fired(case):
    seen, said = gdb(case, ATTACH_UNCOUNTED)
    case.equal("allocations and frees", 12, len(said))
    case.equal("with the semaphores at 0, what was called", [], seen)
    seen, _ = gdb(case, ATTACH, rate="1T")
    case.equal("without a sample, what the probes told", [], seen)


ROWS = [
    Row("rate: asleep, 64K, 1, 512K, asleep", check=changes),
    Row("rate: freed at another rate", check=freed_later),
    Row("rate: exact, and exact but for sleep", check=exact_from_the_start),
    Row("rate: without signals and ptrace", check=unnoticed),
    Row("rate: children", check=children),
    Row("rate: asleep all the time", check=nothing_left),
    Row("rate: refused", check=refused),
    Row("probes: notes", check=notes),
    Row("probes: fired", check=fired),
    Row("probes: not fired", check=not_fired),
]
