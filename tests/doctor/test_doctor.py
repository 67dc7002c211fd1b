#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: test_doctor.py CAUSES WAITS PRINT_THREADS [TEST...]

`heapmark doctor` on programs whose memory is high for a known cause, under glibc and the other allocators; on files that
processes leave; and the page of threads.  The tool and the library come from the environment, as in test_tools.py,
whose helpers this uses.
"""
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import test_tools as common  # noqa: E402
from test_serve import Server, metric  # noqa: E402
from test_tools import LIBRARY, TOOL, Terminal, check, contains, equal, finish, lacks, wait_until  # noqa: E402

CAUSES, WAITS, PRINT_THREADS = map(os.path.abspath, sys.argv[1:4])
MAPDEMO = os.path.join(os.path.dirname(CAUSES), "../../examples/mapdemo")
ALLOCATORS = {"glibc": "", "jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2"}

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
RATE = 64 * KIB
SIGMAS = 5  # that an estimate may be off
PARTS = ("live heap", "kept by the allocator", "other anonymous memory", "thread stacks", "files and code",
         "heapmark itself", "not recorded")
UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}


def bytes_of(text):
    """ "12.3 MiB" as a number."""
    number, unit = text.split()
    return float(number) * UNITS[unit]


def rounding_of(text):
    """By how much such a number can be off for lack of digits."""
    number, unit = text.split()
    return (0.05 if "." in number else 0.5) * UNITS[unit]


class Screen:
    """What doctor printed, taken apart."""

    def __init__(self, text):
        self.text = text
        rows = re.findall(r"^  ([a-z][a-z ]+?) {2,}([\d.]+ \w+)", text, re.MULTILINE)
        self.sizes = {name: bytes_of(size) for name, size in rows}
        self.rounding = sum(rounding_of(size) for name, size in rows if name in PARTS)
        self.verdict = (re.findall(r"^verdict +([\w ]+):", text, re.MULTILINE) or [""])[0]

    def split(self):
        return [self.sizes.get(part, 0 if part == "not recorded" else math.nan) for part in PARTS]


def resident_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"^VmRSS:\s+(\d+) kB", status.read(), re.MULTILINE)[1]) * KIB


def wait_for_rest(pid, running_count=0):
    """Until no more threads than these run.  One that is on its way into a call, or out of a stop, is not asleep yet."""
    def runs(thread):
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "R"

    wait_until(lambda: sum(map(runs, Path(f"/proc/{pid}/task").iterdir())) <= running_count)


class Program:
    """A program of ours under the library, which has said that it is ready."""

    def __init__(self, place, command, preload="", rate=RATE, **extra):
        self.process = place.start(*command, LD_PRELOAD=f"{LIBRARY} {preload}".strip(), HEAPMARK_RATE=str(rate),
                                   HEAPMARK_DIR=place.path, **extra)
        self.pid = self.process.pid
        line = self.process.stdout.readline().decode()
        if not line.startswith("ready"):
            raise RuntimeError(f"{command} said {line!r}: {self.process.stderr.read()!r}")
        self.figures = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}

    def examine(self, place, pid=None, said="", **extra):
        status, text, errors = place.run("doctor", str(pid or self.pid), **extra)
        equal(f"{place.name}: exit status", status, 0)
        contains(f"{place.name}: warnings", errors, said or "^$")
        return Screen(text)

    def end(self):
        return finish(self.process)


def near(name, size, expected, slack=0.0):
    """An estimate lies within what sampling and three digits allow; `slack` is a part of what is expected."""
    deviation = SIGMAS * math.sqrt(RATE * expected) + 0.006 * expected + slack * expected
    check(name, abs(size - expected) <= deviation, f"{size / MIB:.2f} MiB for {expected / MIB:.2f} +- {deviation / MIB:.2f}")


def each_allocator(place, cause, seconds=0.0, at_rest=False, rate=RATE, names=tuple(ALLOCATORS), **extra):
    """Runs the cause under each allocator, and yields what doctor says of it, once all of it sleeps if at_rest."""
    for allocator in names:
        file = ALLOCATORS[allocator]
        inner = common.Place(place.path, f"{cause}-{allocator}")
        inner.name = f"{cause}, {allocator}"
        program = Program(inner, [CAUSES, cause], file, rate, **extra)
        if at_rest:
            wait_for_rest(program.pid)
        time.sleep(seconds)  # for ages: nothing is asserted of how long it was
        screen = program.examine(inner)
        resident = resident_bytes(program.pid)
        contains(f"{inner.name}: the allocator", screen.text, rf"allocator {allocator}$")
        yield inner.name, program, screen, resident
        finish(program.process)


def adds_up(name, screen, resident, own_max=4 * MIB):
    parts = screen.split()
    check(f"{name}: the parts add up to VmRSS", abs(sum(parts) - resident) <= 0.01 * resident + screen.rounding,
          f"{parts} for {resident}: {screen.text}")
    check(f"{name}: heapmark itself", 64 * KIB <= parts[5] <= own_max, parts)


def test_leak(place):
    for name, _program, screen, _resident in each_allocator(place, "leak", seconds=4):
        equal(f"{name}: verdict", screen.verdict, "leak")
        contains(f"{name}: the place", screen.text, r"^verdict .* most in touched < leak_block < leak$")
        contains(f"{name}: what to type", screen.text, r"^next +heapmark dump .*; later: heapmark diff ")
        check(f"{name}: the leak is the live heap", screen.sizes["live heap"] >= 0.8 * screen.sizes["resident"], screen.text)


def test_churn(place):
    for name, _program, screen, resident in each_allocator(place, "churn"):
        equal(f"{name}: verdict", screen.verdict, "churn")
        contains(f"{name}: the place", screen.text, r"most in touched < churn_block < churn$")
        contains(f"{name}: the place, among what churns", screen.text, r"/s .* touched < churn_block < churn$")
        adds_up(name, screen, resident)


def test_retention(place):
    for name, program, screen, resident in each_allocator(place, "retention"):
        equal(f"{name}: verdict", screen.verdict, "retention")
        contains(f"{name}: the place", screen.text, r"in \d places?, and did not grow while it was looked at; most in touched < "
                 r"build_table < retention$")
        adds_up(name, screen, resident)
        near(f"{name}: live", screen.sizes["live heap"], program.figures["live"])
        # what malloc holds is what is live and a tenth more: heads of blocks, classes of sizes
        near(f"{name}: live and kept", screen.sizes["live heap"] + screen.sizes["kept by the allocator"],
             1.05 * program.figures["live"], slack=0.07)


def test_fragmentation(place):
    for name, program, screen, resident in each_allocator(place, "fragmentation"):
        equal(f"{name}: verdict", screen.verdict, "fragmentation")
        adds_up(name, screen, resident)
        near(f"{name}: live", screen.sizes["live heap"], program.figures["live"])
        near(f"{name}: live and kept", screen.sizes["live heap"] + screen.sizes["kept by the allocator"],
             1.07 * 16 * program.figures["live"], slack=0.09)
        scraped(name, place, program, screen)


def scraped(name, place, program, screen):
    """Prometheus is told what doctor says, as long as the process runs."""
    with Server(place, str(program.pid)) as server:
        text = server.text("/metrics")[1]
        mapped, free = (metric(text, f"heapmark_allocator_{what}_bytes") for what in ("mapped", "free"))
        kept = screen.sizes["kept by the allocator"]
        check(f"{name}: allocator_free_bytes", abs(free - kept) <= 0.02 * kept + MIB, f"{free} for {kept}")
        check(f"{name}: allocator_mapped_bytes", abs(mapped - free - screen.sizes["live heap"]) <= MIB,
              f"{mapped}, {free}: {screen.text}")
        equal(f"{name}: the same again", metric(server.text("/metrics")[1], "heapmark_allocator_free_bytes"), free)
        memory = json.loads(server.text("/debug/vars")[1])["memstats"]
        equal(f"{name}: vars", (memory["HeapSys"], memory["HeapIdle"]), (mapped, free))
        finish(program.process)
        wait_until(lambda: metric(server.text("/metrics")[1], "heapmark_process_running") == 0)
        equal(f"{name}: nothing of what has ended", metric(server.text("/metrics")[1], "heapmark_allocator_mapped_bytes"),
              None)


def test_mmap(place):
    for name, program, screen, resident in each_allocator(place, "mmap"):
        equal(f"{name}: verdict", screen.verdict, "mmap")
        adds_up(name, screen, resident)
        # beside it a block of malloc's, of which the kernel makes one mapping with it
        mapped = screen.sizes["other anonymous memory"]
        check(f"{name}: what was mapped", abs(mapped - program.figures["mapped"]) <= 0.01 * mapped, screen.text)
        check(f"{name}: the block", abs(screen.sizes["live heap"] - 16 * MIB) <= MIB, screen.text)


def mapped_is(name, program, screen):
    """All that the program has mapped is told, and as nothing else: but for 4 MiB, which no verdict depends on."""
    mapped = program.figures["mapped"]
    check(f"{name}: what was mapped", abs(screen.sizes["other anonymous memory"] - mapped) <= 4 * MIB + screen.rounding,
          screen.text)


def test_aligned(place):
    for name, program, screen, resident in each_allocator(place, "aligned"):
        equal(f"{name}: verdict", screen.verdict, "mmap")
        adds_up(name, screen, resident)
        mapped_is(name, program, screen)
        near(f"{name}: live", screen.sizes["live heap"], 8 * MIB)


def test_noreserve(place):
    """Mapped as jemalloc maps its own, and joined with it."""
    for name, program, screen, resident in each_allocator(place, "noreserve"):
        equal(f"{name}: verdict", screen.verdict, "mmap")
        adds_up(name, screen, resident)
        mapped_is(name, program, screen)


def test_freed(place):
    """What the allocator has not given back is its own, even where nothing in it is left in use."""
    for name, _program, screen, resident in each_allocator(place, "freed"):
        equal(f"{name}: verdict", screen.verdict, "fragmentation")
        adds_up(name, screen, resident)
        check(f"{name}: nothing is taken for mapped", screen.sizes["other anonymous memory"] <= MIB, screen.text)


def test_counted_mappings(place):
    """What the program was seen to map is its own, whatever it looks like; and not the stacks in it."""
    for cause in "noreserve", "aligned", "arena_like":
        for name, program, screen, resident in each_allocator(place, cause, HEAPMARK_MMAP="1"):
            equal(f"{name}: verdict", screen.verdict, "mmap")
            adds_up(name, screen, resident)
            mapped_is(name, program, screen)
    for name, program, screen, _resident in each_allocator(place, "threads_placed", at_rest=True, HEAPMARK_MMAP="1"):
        check(f"{name}: stacks", program.figures["stacks"] <= screen.sizes["thread stacks"] + screen.rounding, screen.text)


def test_memory_refused(place):
    """Yama lets others look into /proc and not read memory: what it would tell is guessed, and these are easy."""
    refuse = ["strace", "-qq", "-f", "-o", "/dev/null", "-e", "trace=process_vm_readv",
              "-e", "inject=process_vm_readv:error=EPERM"]
    for cause, allocator, part, figure in (
            ("aligned", "glibc", "other anonymous memory", "mapped"),
            ("threads_large", "glibc", "thread stacks", "stacks"), ("threads_placed", "glibc", "thread stacks", "stacks"),
            ("freed", "jemalloc", None, None)):
        name = f"{cause}, {allocator}"
        inner = common.Place(place.path, cause)
        program = Program(inner, [CAUSES, cause], ALLOCATORS[allocator])
        wait_for_rest(program.pid)
        result = subprocess.run([*refuse, TOOL, "doctor", str(program.pid)], capture_output=True, check=False, text=True)
        screen = Screen(result.stdout)
        equal(f"{name}: exit status", result.returncode, 0)
        adds_up(name, screen, resident_bytes(program.pid))
        if part is None:  # a sample that is left may lead to it, or none
            contains(f"{name}: verdict", screen.text, r"^verdict  (fragmentation:|mmap: .* without a live block of malloc's: the "
                     r"program's own mappings, or free memory of the allocator \(jemalloc\), which once had [34]\d\d MiB in use$)")
        else:
            check(f"{name}: {part}", abs(screen.sizes[part] - program.figures[figure])
                  <= 4 * MIB + 0.02 * program.figures[figure] + screen.rounding, screen.text)
        program.end()


def test_arena_like(place):
    for name, program, screen, resident in each_allocator(place, "arena_like", names=("glibc",)):
        equal(f"{name}: verdict", screen.verdict, "mmap")
        adds_up(name, screen, resident)
        mapped_is(name, program, screen)


def test_break(place):
    for name, program, screen, resident in each_allocator(place, "break", names=("jemalloc", "mimalloc")):
        equal(f"{name}: verdict", screen.verdict, "mmap")
        adds_up(name, screen, resident)
        mapped_is(name, program, screen)


def test_break_beside_malloc(place):
    """What brk gives is glibc's, but not more of it than was ever allocated, with 32 MiB to spare."""
    for name, program, screen, resident in each_allocator(place, "break", names=("glibc",)):
        mapped = program.figures["mapped"]
        equal(f"{name}: verdict", screen.verdict, "mmap")
        adds_up(name, screen, resident)
        check(f"{name}: what was taken", mapped - 40 * MIB <= screen.sizes["other anonymous memory"] <= mapped, screen.text)
        contains(f"{name}: said", screen.text, r"^  the mappings of the heap hold 26\d MiB more than was ever allocated: ")
def test_shared(place):
    """Memory that is shared without a file is memory."""
    for name, program, screen, resident in each_allocator(place, "shared"):
        equal(f"{name}: verdict", screen.verdict, "mmap")
        adds_up(name, screen, resident)
        mapped = screen.sizes["other anonymous memory"]
        check(f"{name}: what was mapped", abs(mapped - program.figures["mapped"]) <= 0.01 * mapped + MIB, screen.text)


def test_file(place):
    """A file in memory is nobody's fault, and is what is large."""
    program = Program(place, [CAUSES, "file"])
    screen = program.examine(place)
    contains("verdict", screen.text,
             r"^verdict +healthy: no leak, retention or churn; the largest part of what is resident is files and code, 2\d\d MiB$")
    adds_up("file", screen, resident_bytes(program.pid))
    program.end()


def test_asleep(place):
    """What was allocated asleep is neither free nor mapped: nobody knows."""
    for name, program, screen, resident in each_allocator(place, "retention", rate=0):
        equal(f"{name}: verdict", screen.verdict, "unknown")
        adds_up(name, screen, resident)
        contains(f"{name}: said", screen.text, r"\]  asleep: nothing is recorded$")
        contains(f"{name}: what to type", screen.text, rf"^next +heapmark rate {program.pid} 64K ")
        check(f"{name}: not recorded", screen.sizes["not recorded"] >= program.figures["live"], screen.text)
        place.run("rate", "-q", str(program.pid), "64K")
        screen = program.examine(place)
        equal(f"{name}: woken: verdict", screen.verdict, "unknown")
        lacks(f"{name}: woken: said", screen.text, r"asleep: nothing is recorded$")
        contains(f"{name}: woken: what to type", screen.text, r"^next +start it with HEAPMARK_RATE=64K, to see all of it")
    program = Program(place, [CAUSES, "retention"], rate=0)
    with Server(place, str(program.pid)) as server:
        lacks("metrics: what is free is not known", server.text("/metrics")[1], "^heapmark_allocator_free_bytes")
    program.end()


def test_woken(place):
    """A leak that is woken is seen to be one, by what it does from then on."""
    program = Program(place, [CAUSES, "leak"], rate=0)
    wait_until(lambda: resident_bytes(program.pid) >= 64 * MIB)
    place.run("rate", "-q", str(program.pid), str(RATE))
    verdicts = []

    def is_leak():
        verdicts.append(program.examine(place).verdict)
        return verdicts[-1] == "leak"

    wait_until(is_leak)
    lacks("never of what is not known", " ".join(verdicts), "fragmentation|mmap")
    equal("dump", place.run("dump", "-q", "-o", "p.pb.gz", str(program.pid))[0], 0)
    program.end()
    equal("its profile", Screen(place.run("doctor", "p.pb.gz")[1]).verdict, "leak")


def test_woken_cache(place):
    """What replaces blocks that nobody recorded grows as far as samples can tell; the process does not."""
    program = Program(place, [CAUSES, "random_slow"], rate=0)
    place.run("rate", "-q", str(program.pid), "64K")
    verdicts = []

    def is_partly_replaced():
        screen = program.examine(place)
        verdicts.append(screen.verdict)
        return screen.sizes["live heap"] >= 0.25 * program.figures["live"]

    wait_until(is_partly_replaced)
    equal("verdicts", set(verdicts), {"unknown"})
    program.end()


def test_inherited(place):
    """What a fork child has of its parent is not in its ledger, and is not free either."""
    for allocator, file in ALLOCATORS.items():
        program = Program(place, [CAUSES, "prefork"], file)
        child = program.figures["child"]
        wait_until(lambda pid=child: place.run("doctor", str(pid))[0] == 0)
        screen = program.examine(place, child)
        equal(f"{allocator}: verdict", screen.verdict, "unknown")
        adds_up(allocator, screen, resident_bytes(child))
        near(f"{allocator}: what the parent had", screen.sizes["not recorded"], program.figures["live"])
        contains(f"{allocator}: said", screen.text, "by the process that this one was forked from")
        contains(f"{allocator}: what to type", screen.text, rf"^next +heapmark doctor {program.pid} says ")
        program.end()


def test_full_ledger(place):
    """What had no room in the ledger may be live."""
    program = Program(place, [CAUSES, "retention"], rate=1, HEAPMARK_MAX="2M")
    screen = program.examine(place, said="samples without room")
    equal("verdict", screen.verdict, "unknown")
    adds_up("full", screen, resident_bytes(program.pid), own_max=16 * MIB)  # a ledger for 65,536 samples
    contains("said", screen.text, "when there was no room in the ledger")
    contains("what to type", screen.text, r"^next +start it with a larger HEAPMARK_MAX ")
    lacks("what is not known to be freed does not churn", screen.text, r"/s .*\[dropped\]")
    program.end()


def test_threads(place):
    for name, program, screen, resident in each_allocator(place, "threads", at_rest=True):
        stacks = screen.sizes["thread stacks"]
        equal(f"{name}: verdict", screen.verdict, "threads")
        adds_up(name, screen, resident)
        # each has a few pages more than it touches: what libc keeps for it, and the calls down there
        check(f"{name}: stacks", program.figures["stacks"] <= stacks <= 1.1 * program.figures["stacks"], screen.text)
        contains(f"{name}: where they wait", screen.text,
                 r"^ +800  sleeping in pause +pause < sleep_in_thread < start_thread  \(doctor_causes\)$")
        contains(f"{name}: the other one", screen.text, r"^ +1  sleeping in poll +poll < go_on < ")
        lacks(f"{name}: nothing is missing", screen.text, "stacks (could|were)")


def test_threads_of_any_size(place):
    """Stacks larger than most, and such as lie in one mapping without anything between them."""
    for cause in "threads_large", "threads_placed":
        for name, program, screen, resident in each_allocator(place, cause, at_rest=True, names=("glibc", "jemalloc")):
            stacks = screen.sizes["thread stacks"]
            equal(f"{name}: verdict", screen.verdict, "threads")
            adds_up(name, screen, resident)
            check(f"{name}: stacks", program.figures["stacks"] <= stacks + screen.rounding
                  and stacks <= 1.02 * program.figures["stacks"], screen.text)


def test_cache(place):
    for name, program, screen, resident in each_allocator(place, "cache"):
        equal(f"{name}: verdict", screen.verdict, "healthy")
        adds_up(name, screen, resident)
        near(f"{name}: live", screen.sizes["live heap"], program.figures["live"])


def test_cache_of_a_turn(place):
    """Full, and as old as the program: all ages are there, and each is replaced."""
    program = Program(place, [CAUSES, "fifo"])
    equal("verdict", program.examine(place).verdict, "healthy")
    program.end()


def test_untouched(place):
    """Memory that was allocated and never touched is in use, and not resident."""
    for name, _program, screen, resident in each_allocator(place, "untouched"):
        adds_up(name, screen, resident)
        contains(f"{name}: said", screen.text, r"of the heap in use, 1.0 GiB was never touched and is not resident")
        check(f"{name}: not live in memory", screen.sizes["live heap"] <= 8 * MIB, screen.text)
        equal(f"{name}: verdict", screen.verdict, "healthy")


def test_reserved(place):
    """What is live and not resident is not said to be held in memory."""
    program = Program(place, [CAUSES, "reserved"])
    screen = program.examine(place)
    adds_up("reserved", screen, resident_bytes(program.pid))
    contains("said", screen.text, r"^verdict +retention: 6\d\d MiB, of which no more than \S+ MiB is resident, is held by ")
    check("more is live than resident", resident_bytes(program.pid) <= program.figures["live"] / 2, screen.text)
    program.end()


def test_mixed(place):
    """Arenas of threads, and blocks with mappings of their own."""
    for name, program, screen, resident in each_allocator(place, "mixed"):
        adds_up(name, screen, resident)
        near(f"{name}: live", screen.sizes["live heap"], program.figures["live"])
        check(f"{name}: nothing else is taken for mapped", screen.sizes["other anonymous memory"] <= 4 * MIB, screen.text)


def test_mixed_seldom(place):
    """At the default rate, where one of two large blocks is not sampled: they are still the allocator's."""
    program = Program(place, [CAUSES, "mixed"], rate=512 * KIB)
    screen = program.examine(place)
    adds_up("mixed, seldom", screen, resident_bytes(program.pid))
    mapped = 200 * 200 * KIB
    check("the allocator's, within sampling", screen.sizes["other anonymous memory"]
          <= SIGMAS * math.sqrt(512 * KIB * mapped), screen.text)
    program.end()


def test_exact(place):
    program = Program(place, [CAUSES, "mixed"], rate=1)
    screen = program.examine(place)
    adds_up("mixed, exact", screen, resident_bytes(program.pid), own_max=64 * MIB)  # 262,144 live samples
    check("the library's own tables are not taken for mapped", screen.sizes["other anonymous memory"] <= MIB, screen.text)
    live = screen.sizes["live heap"]
    check("to three digits", abs(live - program.figures["live"]) <= 0.01 * live, screen.text)
    contains("said", screen.text, "every allocation counted")
    program.end()


def test_drained_map(place):
    """A map that was filled and emptied: of its ledger after a kill, of its profile, and alive."""
    for kind, wanted in ("*.ledger", {"HEAPMARK_RUN": "1"}), ("*.pb.gz", {}):
        inner = common.Place(place.path, kind[2:])
        subprocess.run([MAPDEMO, "drain", "2000000"], check=True, stdout=subprocess.DEVNULL, cwd=inner.path,
                       env=inner.environment(LD_PRELOAD=LIBRARY, HEAPMARK_RATE=str(RATE), **wanted))
        status, text, errors = inner.run("doctor", inner.file(kind))
        equal(f"{kind}: exit status", (status, errors), (0, ""))
        equal(f"{kind}: verdict", Screen(text).verdict, "retention")
        contains(f"{kind}: the place", text, r"^verdict .* most in .*table_create < ")
        contains(f"{kind}: what cannot be said", text, r"what else there was .* only a process that runs can show")
        contains(f"{kind}: what to type", text, r"^next +heapmark top --by kept ")

    # Its last line goes to a pipe that is full, so it stays.
    inside, outside = os.pipe()
    os.set_blocking(outside, False)
    while True:
        try:
            os.write(outside, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(outside, True)
    with subprocess.Popen([MAPDEMO, "drain", "2000000"], stdout=outside, cwd=place.path,
                          env=place.environment(LD_PRELOAD=LIBRARY, HEAPMARK_RATE=str(RATE))) as process:
        os.close(outside)
        wait_until(lambda: "pipe_write" in open(f"/proc/{process.pid}/wchan", encoding="ascii").read())
        status, text, errors = place.run("doctor", str(process.pid))
        equal("alive: exit status", (status, errors), (0, ""))
        equal("alive: verdict", Screen(text).verdict, "retention")
        adds_up("alive", Screen(text), resident_bytes(process.pid))
        contains("alive: gauges", text, r"gauges: .*hashmap/len 0\b")
        process.kill()
        os.close(inside)


def after_the_kill(place, program):
    """What is said of the ledger that is left, and of the profile made of it."""
    program.process.kill()
    program.process.communicate()
    equal("dump", place.run("dump", "-q", "-o", "p.pb.gz", place.file("*.ledger"))[0], 0)
    return [Screen(place.run("doctor", file)[1]).verdict for file in (place.file("*.ledger"), "p.pb.gz")]


def test_forgetful(place):
    """A place that frees most of what it allocates and forgets the rest."""
    program = Program(place, [CAUSES, "forgetful"])
    wait_until(lambda: program.examine(place).verdict == "leak")
    equal("ledger, profile", after_the_kill(place, program), ["leak", "leak"])


def test_late(place):
    """A leak that began when the program had run for a while."""
    program = Program(place, [CAUSES, "late"])
    screens = []

    def is_leak():
        screens.append(program.examine(place))
        return screens[-1].verdict == "leak"

    wait_until(is_leak)
    contains("said", screens[-1].text, r"^verdict +leak: \S+ MiB is not freed, \S+ MiB/s since it began to grow: .* most in "
             r"touched < leak_block < late$")
    program.end()


def test_random_cache(place):
    """It has all ages and frees as much as it gets, which is no leak at any time, nor when it has ended.

    Of the files: 1000 samples, so that a part of what is held is off by 0.016; a leak is 0.05 above what is expected.
    Of the process: as many samples of what is freed in a second as of what is new, some 400."""
    program = Program(place, [CAUSES, "random"])
    for _ in range(6):
        lacks("verdict", program.examine(place).verdict, "leak")
    for verdict in after_the_kill(place, program):
        lacks("verdict of a file", verdict, "leak")


def test_directory(place):
    """A screen for each: of a process that runs, and of one that has ended."""
    ended = Program(place, [CAUSES, "retention"])
    ended.end()
    program = Program(place, [CAUSES, "retention"])
    status, text, errors = place.run("doctor", place.path)
    equal("exit status", (status, errors), (0, ""))
    equal("verdicts", re.findall(r"^verdict +(\w+):", text, re.MULTILINE), ["retention"] * 2)
    equal("processes", sorted(map(int, re.findall(r"^doctor_causes\[(\d+)\]", text, re.MULTILINE))),
          sorted([ended.pid, program.pid]))
    contains("the one that runs has memory", text, r"^  resident +\S+ MiB ")
    program.end()


def test_ends_meanwhile(place):
    """A process that ends in doctor's second has ended, and what it left is what to look at."""
    for name, end, left in (("exit", Program.end, "pb.gz"), ("kill", lambda program: program.process.kill(), "ledger")):
        inner = common.Place(place.path, name)
        program = Program(inner, [CAUSES, "retention"])
        doctor = inner.start(TOOL, "doctor", str(program.pid))
        wait_until(lambda pid=doctor.pid: "nanosleep" in Path(f"/proc/{pid}/wchan").read_text(encoding="ascii"))
        os.kill(doctor.pid, signal.SIGSTOP)
        end(program)
        program.process.communicate()
        os.kill(doctor.pid, signal.SIGCONT)
        status, text, errors = finish(doctor)
        equal(f"{name}: exit status", (status, errors), (0, ""))
        equal(f"{name}: verdict", Screen(text).verdict, "retention")
        contains(f"{name}: said", text, "; the process has ended while it was looked at$")
        lacks(f"{name}: no threads", text, "^threads")
        contains(f"{name}: what to type", text, rf"^next +heapmark top --by kept {inner.file('*.' + left)}$")


def test_killed(place):
    """Of a process that has ended: what its ledger says, by ages too."""
    program = Program(place, [CAUSES, "leak"])
    time.sleep(4.5)
    program.process.kill()
    program.process.communicate()
    status, text, errors = place.run("doctor", place.file("*.ledger"))
    equal("ledger: exit status", (status, errors), (0, ""))
    equal("ledger: verdict", Screen(text).verdict, "leak")
    contains("ledger: said", text, r"; the process has ended$")
    lacks("ledger: no threads", text, r"^threads")
    contains("ledger: what to type", text, r"^next +heapmark top --by age ")
    equal("dump", place.run("dump", "-q", "-o", "p.pb.gz", place.file("*.ledger"))[0], 0)
    equal("profile: verdict", Screen(place.run("doctor", "p.pb.gz")[1]).verdict, "leak")
    # the number may be taken by now, and is not the process whose ledger this is
    status, _, errors = place.run("doctor", str(program.pid))
    equal("its number: exit status", status, 2)
    contains("its number: said", errors, rf"error: {program.pid}: (no such process|runs without)")


def test_killed_busy(place):
    """Of a process that was killed and had nothing live: it is known to have lived until its last sample."""
    program = Program(place, [CAUSES, "churn"])
    time.sleep(4.5)
    program.process.kill()
    program.process.communicate()
    text = place.run("doctor", place.file("*.ledger"))[1]
    recorded = re.search(r"recorded for at least ([\d.]+)(m?s)", text)
    check("recorded for", recorded[2] == "s" and float(recorded[1]) >= 4, text)
    equal("verdict", Screen(text).verdict, "churn")


def test_killed_idle(place):
    """Of a process that was killed nobody knows for how long it had done nothing: no rate is made of what it built."""
    began = time.monotonic()
    program = Program(place, [CAUSES, "fragmentation"])
    is_believed = time.monotonic() - began > 3.5  # the machine is so slow that it may have taken 4 s
    verdicts = after_the_kill(place, program)
    contains("said", place.run("doctor", "p.pb.gz")[1], r"recorded for at least \S+,")
    if not is_believed:
        equal("ledger, profile", verdicts, ["healthy", "healthy"])
        contains("what is not known", place.run("doctor", "p.pb.gz")[1], "; whether it churned cannot be told")


def test_profile_of_running(place):
    """A profile that was dumped from a process says how much memory that had."""
    program = Program(place, [CAUSES, "mmap"])
    equal("dump", place.run("dump", "-q", "-o", "p.pb.gz", str(program.pid))[0], 0)
    resident = resident_bytes(program.pid)
    program.end()
    status, text, errors = place.run("doctor", "p.pb.gz")
    screen = Screen(text)
    equal("exit status", (status, errors), (0, ""))
    check("resident", abs(screen.sizes["resident"] - resident) <= 0.05 * GIB, text)
    check("the rest", abs(screen.sizes["live heap"] + screen.sizes["all else"] - resident) <= 0.05 * GIB, text)
    equal("verdict: of the heap alone", screen.verdict, "healthy")
    contains("what it rests on", text, r"^ +this rests on the heap alone; of the rest, \S+ GiB of \S+ GiB that was "
             r"resident, nothing is known$")
    contains("what to type", text, r"^next +heapmark top p\.pb\.gz; heapmark doctor PID, while it runs")


def test_bad_input(place):
    for name, arguments, expected in (
            ("none", (), "one PID, LEDGER, PROFILE or DIR"), ("two", ("1", "2"), "one PID, LEDGER, PROFILE or DIR"),
            ("no library", (str(os.getpid()),), "runs without libheapmark.so"),
            ("no process", ("4194304",), "no such process"),
            ("no file", ("nothing.pb.gz",), "No such file"), ("empty", (".",), "no profile or ledger in this directory"), ("no profile", (CAUSES,), "not a profile"),
            ("option", ("--by", "1"), "unknown option")):
        status, output, errors = place.run("doctor", *arguments)
        equal(f"{name}: exit status", (status, output), (2, ""))
        contains(f"{name}: said", errors, rf"^heapmark: error: .*{re.escape(expected)}")
        contains(f"{name}: what to type", errors, r"^heapmark: next  ")
    status, output, _ = place.run("doctor", "--help")
    equal("help", (status, output.startswith("usage: heapmark doctor ")), (0, True))


def test_other_user(place):
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if os.geteuid() != 0 or subprocess.run([*user, TOOL, "--version"], stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL, check=False).returncode:
        return
    program = Program(place, [CAUSES, "retention"])
    result = subprocess.run([*user, TOOL, "doctor", str(program.pid)], capture_output=True, check=False, text=True)
    equal("exit status", (result.returncode, result.stdout), (2, ""))
    contains("said", result.stderr, rf"^heapmark: error: {program.pid}: its ledger cannot be read: a process of another "
             r"user: it runs as root \(0\), and this as nobody \(65534\)$")
    contains("what to type", result.stderr, rf"^heapmark: next  sudo heapmark doctor {program.pid}$")
    lacks("who lets himself be looked at", result.stderr, "CAP_SYS_PTRACE")

    # The ledger may be read, since somebody saw to it; the process may not be looked at.
    ledger = place.file("*.ledger")
    os.chmod(ledger, 0o644)
    os.chmod(place.path, 0o755)
    result = subprocess.run([*user, TOOL, "doctor", ledger], capture_output=True, check=False, text=True)
    equal("ledger: exit status", result.returncode, 0)
    contains("ledger: verdict", result.stdout, r"^verdict +retention:")
    contains("ledger: what it rests on", result.stdout, r"^ +this rests on the heap alone; of the rest nothing is known$")
    contains("ledger: it may run still", result.stdout, r"; the process cannot be looked at$")
    contains("ledger: why", result.stdout, r"what else there is cannot be told: a process of another user: it runs as root")
    program.end()


def test_refused(place):
    """Root in a container, and a process that does not want to be looked at."""
    drop = ["setpriv", "--bounding-set=-sys_ptrace,-perfmon,-sys_admin,-checkpoint_restore"]
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if os.geteuid() != 0 or any(subprocess.run([*command, TOOL, "--version"], capture_output=True, check=False).returncode
                                for command in (drop, nobody)):
        return

    def refused(name, wrapper, pid, reason, advice):
        result = subprocess.run([*wrapper, TOOL, "doctor", str(pid)], capture_output=True, check=False, text=True)
        equal(f"{name}: exit status", (result.returncode, result.stdout), (2, ""))
        contains(f"{name}: why", result.stderr, rf"^heapmark: error: {pid}: its ledger cannot be read: {reason}$")
        contains(f"{name}: what to type", result.stderr, rf"^heapmark: next  {advice}")

    program = Program(place, [CAUSES, "retention"])
    refused("more capabilities", drop, program.pid,
            "it has capabilities that this has not, without the capability CAP_SYS_PTRACE", r"give .*--cap-add=SYS_PTRACE")
    program.end()
    os.chmod(place.path, 0o777)
    program = Program(place, [*nobody, CAUSES, "retention"])
    refused("root without the capability", drop, program.pid,
            r"a process of another user: it runs as nobody \(65534\), and this as root \(0\), without the capability "
            "CAP_SYS_PTRACE", rf"sudo -u '#65534' heapmark doctor {program.pid}, or give .*--cap-add=SYS_PTRACE")
    equal("its own user", subprocess.run([*nobody, TOOL, "doctor", str(program.pid)], capture_output=True,
                                         check=False).returncode, 0)
    program.end()
    program = Program(place, [*nobody, CAUSES, "undumpable"])
    refused("one that does not want it", nobody, program.pid,
            r"it does not let itself be looked at, .*\(PR_SET_DUMPABLE\)", rf"sudo heapmark doctor {program.pid}$")
    program.end()


def test_number_without_process(place):
    """What has a number and no memory."""
    child = subprocess.Popen(["/bin/true"])
    wait_until(lambda: Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z")
    for name, pid, expected in (("zombie", child.pid, "has ended, which its parent has not taken notice of"),
                                ("huge", 99999999999, "no such process")):
        status, _, errors = place.run("doctor", str(pid))
        equal(f"{name}: exit status", status, 2)
        contains(f"{name}: said", errors, rf"^heapmark: error: {pid}: {expected}")
    child.wait()


def test_does_not_notice(place):
    """Threads are found where they wait, and go on waiting."""
    program = Program(place, [WAITS])
    for _ in range(5):
        wait_for_rest(program.pid, running_count=1)
        page = subprocess.run([PRINT_THREADS, str(program.pid)], capture_output=True, check=True, text=True).stdout
    threads = page.split("\n\n")
    found = {}
    for thread in threads:
        if name := re.search(r"^wait_in_(\w+)\(\)$", thread, re.MULTILINE):
            found[name[1]] = thread
    # Of two the kernel forgets the call when they were stopped once: it goes on by restart_syscall.
    waits = {"epoll": "epoll_wait", "epoll_timeout": "epoll_wait", "condition": "futex", "semaphore": "futex",
             "sleep": None, "poll": None, "select": "pselect6", "read": "read", "receive": "recvfrom",
             "socket_read": "read", "signal": "rt_sigtimedwait", "semop": "semtimedop", "pause": "pause"}
    equal("all are found", sorted(found), sorted(waits))
    for name, call in waits.items():
        thread = found.get(name, "")
        contains(f"{name}: head", thread, rf'^thread \d+ "wait-\d+" \[sleeping{" in " + call if call else ".*"}\]:$')
        contains(f"{name}: to the outermost frame", thread, r"^(start_thread|clone3?|__clone3?)\(\)$")
        contains(f"{name}: file and line, or offset", thread, r"^\t/\S+(:\d+|\+0x[0-9a-f]+)$")
    running = [thread for thread in threads if re.search(r"^spin\(\)$", thread, re.MULTILINE)]
    equal("the one that runs", len(running), 1)
    contains("the one that runs: its callers", running[0] if running else "", r"^run_spin\(\)$")
    output = program.end()
    equal("none was woken", output[:2], (0, "0\n"))


def test_stopped(place):
    """A process that was stopped is looked at like another, and stays stopped."""
    program = Program(place, [CAUSES, "retention"])
    os.kill(program.pid, 19)
    wait_until(lambda: "\nState:\tT" in open(f"/proc/{program.pid}/status", encoding="ascii").read())
    screen = program.examine(place)
    equal("verdict", screen.verdict, "retention")
    contains("threads", screen.text, r"^ +1  stopped")
    contains("is still stopped", open(f"/proc/{program.pid}/status", encoding="ascii").read(), r"^State:\tT")
    os.kill(program.pid, 18)
    program.end()


def test_traced(place):
    """Under a debugger the stacks stay unknown, which is said; all else is there."""
    program = Program(place, [CAUSES, "retention"])
    with subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(program.pid)]) as tracer:
        wait_until(lambda: re.search(rf"^TracerPid:\t{tracer.pid}$",
                                     open(f"/proc/{program.pid}/status", encoding="ascii").read(), re.MULTILINE))
        screen = program.examine(place)
        tracer.terminate()
    equal("verdict", screen.verdict, "retention")
    contains("said", screen.text, rf"1 of 1 stacks could not be read: Operation not permitted: process {tracer.pid} traces it")
    adds_up("traced", screen, resident_bytes(program.pid))
    program.end()


def test_terminal(place):
    program = Program(place, [CAUSES, "retention"])
    for name, extra, expected in ("colours", {}, True), ("NO_COLOR", {"NO_COLOR": "1"}, False):
        terminal = Terminal(place, TOOL, "doctor", str(program.pid), **extra)
        terminal.read_until(rb"\[status 0\]")
        terminal.close()
        equal(f"{name}: colours", b"\033[1m" in terminal.text, expected)
        check(f"{name}: bars", "█".encode() in terminal.text, terminal.text)
    lacks("no terminal: neither", program.examine(place).text, "█|\033")
    program.end()


if __name__ == "__main__":
    del sys.argv[1:4]
    for variable in [name for name in os.environ if name.startswith("MALLOC_")]:
        del os.environ[variable]  # meson test has glibc fill every block
    sys.exit(common.main(globals()))
