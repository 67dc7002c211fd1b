# SPDX-License-Identifier: Apache-2.0
"""
A program puts a seccomp filter on itself that knows nothing of the library: it lives as long as without it, and
its figures are there.
"""
import pprof
from row import NEVER, SUPERVISED, Row

LEFT = (r"seccomp\[\d+\]: its seccomp filter forbids what writing a profile takes; the figures are in (\S+\.ledger): "
        r"heapmark dump \1$",)
MIB = 1 << 20
SYSTEM_CALLS = 335  # of Linux 5.0; behind them are some newer ones, of which the library knows none


def behind(case, run):
    """
    Exact figures; but a stack that was not seen before the filter may end where a rule would have to be made.  A
    deeper one of known instructions does not, for the pages further in were looked at beforehand.
    """
    case.check_figures(run, losses=("truncated",))
    profile = run.only_profile()
    known = [sample.functions() for sample in profile.samples
             if {"allocate_before", "allocate_deep"} & set(sample.functions())]
    case.equal("stacks of known instructions without an end", 0,
               sum("main" not in functions for functions in known))
    case.equal("depth of the deepest", 101, max(functions.count("allocate_deep") for functions in known))


def finished(case, run):
    """The ledger tells that the process came to its end by itself."""
    behind(case, run)
    (path,) = run.files()
    case.equal("state of the ledger: finished", 2, int.from_bytes(path.read_bytes()[16:20], "little"))


def complete(case, run):
    """Rules are made behind the filter as before it."""
    case.check_figures(run)
    for sample in run.only_profile().samples:
        if "allocate_after" in sample.functions():
            case.expect({"main", "allocate_in_thread"} & set(sample.functions()),
                        f"a stack behind the filter: {sample.functions()}")


def beyond(case, run):
    """What was granted ahead is used up: totals stay right, and what was lost is told."""
    (truth,) = run.truth().values()
    profile = run.only_profile()
    total = sum((profile.total(name) for name in ("allocate_after", "[dropped]", "[overflow]")), pprof.Figures())
    case.equal("alloc_objects", truth["allocate_after"][0], total.alloc_objects)
    case.equal("alloc_space", truth["allocate_after"][1], total.alloc_space)
    (path,) = run.files()
    case.expect(path.stat().st_size <= 33 * MIB, f"size of the ledger: {path.stat().st_size}")
    case.equal("loss.live", profile.total("[dropped]").alloc_objects, profile.losses.get("live", 0))
    case.expect(0 < profile.losses["live"] < truth["allocate_after"][0] / 2, f"lost: {profile.losses}")


def estimated(case, run):
    """
    The variance of an estimate of bytes is the sum of s^2 (1-p)/p over the allocations, less than interval times
    bytes (docs/accuracy.md); 5 standard errors are passed once in 10^6 runs.
    """
    (truth,) = run.truth().values()
    expected = truth["allocate_after"][1]
    found = run.only_profile().total("allocate_after").alloc_space
    bound = 5 * (512 * 1024 * expected) ** 0.5
    case.expect(abs(found - expected) < bound, f"alloc_space: expected {expected} +- {bound}, found {found}")
    case.equal("losses", set(), set(run.only_profile().losses) - {"truncated"})


def child(case, run):
    """The parent's profile is written; the child's ledger stays, and has the child's figures."""
    case.check_figures(run, losses=("truncated",))


def each_call(case):
    """
    Every system call is forbidden once, alone: none that the program can do without is made by the library then.
    Whether that leaves a profile or a ledger is told by how much the call matters.
    """
    survived = 0
    for number in range(SYSTEM_CALLS):
        command = f"seccomp {number} prctl return 6000"
        plain, run = case.run(command, preload=""), case.run(command)
        case.equal(f"exit status without call {number}", plain.status, run.status)
        case.check_same(plain, run)
        if plain.status == 3:
            survived += 1
            case.equal(f"files without call {number}", 1, len(run.files()))
            case.check_figures(run, losses=("truncated",))
    case.expect(survived > SYSTEM_CALLS - 10, f"calls that the program can do without: {survived}")


def asleep(case, run):
    case.equal("files", [], [path.name for path in run.output.iterdir()])


ROWS = [
    *(Row(f"seccomp: a narrow filter, by {way}", f"seccomp narrow {way} return 20000", status=3, said=LEFT, profiles=0,
          ledgers=1, check=finished) for way in ("prctl", "seccomp", "syscall_prctl")),
    Row("seccomp: a narrow filter, default rate", "seccomp narrow prctl return 2000000",
        {"HEAPMARK_RATE": "512K", "HEAPMARK_SEED": "7"}, status=3, said=LEFT, profiles=0, ledgers=1, check=estimated),
    Row("seccomp: a narrow filter, more than was granted ahead", "seccomp narrow prctl return 2000000", status=3,
        said=LEFT, profiles=0, ledgers=1, check=beyond),
    Row("seccomp: a narrow filter, _exit", "seccomp narrow prctl _exit 20000", status=3, profiles=0, ledgers=1,
        check=behind),
    Row("seccomp: a narrow filter, supervised", "seccomp narrow prctl return", SUPERVISED, status=3, profiles=0,
        ledgers=1, check=finished),
    Row("seccomp: a narrow filter, nothing sampled", "seccomp narrow prctl return", NEVER, status=3, profiles=0,
        ledgers=1, check=lambda case, run: None),
    Row("seccomp: no memory from the system", "seccomp no_memory seccomp return 20000", status=3, said=LEFT,
        profiles=0, ledgers=1, check=finished),
    Row("seccomp: no write to standard error", "seccomp arguments prctl return", status=3, profiles=0, ledgers=1,
        check=finished),
    Row("seccomp: a filter that lets calls fail", "seccomp errno prctl return 20000", status=3, said=LEFT, profiles=0,
        ledgers=1, check=finished),
    Row("seccomp: a filter with a handler for SIGSYS", "seccomp trap prctl return 20000", status=3, said=LEFT,
        profiles=0, ledgers=1, check=finished),
    Row("seccomp: SECCOMP_MODE_STRICT, prctl", "seccomp strict prctl exit_thread 20000", status=3, profiles=0,
        ledgers=1, check=behind),
    Row("seccomp: SECCOMP_MODE_STRICT, seccomp", "seccomp strict seccomp exit_thread", status=3, profiles=0, ledgers=1,
        check=behind),
    Row("seccomp: a broad filter", "seccomp broad prctl return 20000", status=3),
    Row("seccomp: a broad filter, then a narrow one", "seccomp twice seccomp return 20000", status=3, said=LEFT,
        profiles=0, ledgers=1, check=finished),
    *(Row(f"seccomp: what is no filter, by {way}", f"seccomp failing {way} return 20000", status=3)
      for way in ("prctl", "seccomp", "syscall_prctl")),
    Row("seccomp: a fork child", "seccomp narrow prctl child 20000", status=3, profiles=1, ledgers=1, check=child),
    Row("seccomp: a fork child that allocates only behind it", "seccomp narrow prctl late_child 20000", status=3,
        profiles=1, ledgers=1, check=child),
    Row("seccomp: a fork child, asleep", "seccomp narrow prctl child", {"HEAPMARK_RATE": "0"}, status=3, profiles=0,
        check=asleep),
    Row("seccomp: each system call forbidden once", check=each_call),
    Row("seccomp: threads", "seccomp threads prctl threads 20000", status=3, said=LEFT, profiles=0, ledgers=1,
        check=complete),
]
