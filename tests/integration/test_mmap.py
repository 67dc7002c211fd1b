#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: test_mmap.py [TEST...]

HEAPMARK_MMAP=1: what a program maps itself, to the byte.  The tool and the library come from the environment, as in
test_tools.py, whose helpers this uses.
"""
import os
import re
import signal
import sys

import test_tools as common
from test_tools import LIBRARY, TOOL, check, compile_c, contains, equal, finish

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import pprof  # noqa: E402

PAGE, MIB = 4096, 1 << 20
ALLOCATORS = {"glibc": "", "jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2"}

# Each function is a case; what it leaves mapped is what its stack must have in use.
PROGRAM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
enum { PAGE = 4096 };
#define SITE __attribute__((noinline, noclone))
#define KEEP(x) __asm__ volatile("" : "+r"(x) :: "memory")

static char *map_at(void *at, size_t pages, int protection, int flags)
{
	char *made = mmap(at, pages * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	if (made == MAP_FAILED) { perror("mmap"); exit(9); }
	KEEP(made);
	return made;
}
static char *map(size_t pages) { return map_at(NULL, pages, PROT_READ | PROT_WRITE, 0); }
static void unmap(char *at, size_t pages) { if (munmap(at, pages * PAGE) != 0) exit(8); }

SITE void whole(void) { unmap(map(10), 10); map(3); }
SITE void head(void) { unmap(map(10), 4); }
SITE void tail(void) { unmap(map(10) + 6 * PAGE, 4); }
SITE void hole(void) { unmap(map(10) + 3 * PAGE, 2); }
SITE void hole_then_all(void) { char *at = map(10); unmap(at + 3 * PAGE, 2); unmap(at, 10); }
SITE void odd_size(void) { char *at = mmap(NULL, 5000, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0); KEEP(at); }
SITE void spanning(void)
{
	char *room = map_at(NULL, 40, PROT_NONE, 0);
	map_at(room, 10, PROT_READ | PROT_WRITE, MAP_FIXED);
	map_at(room + 15 * PAGE, 10, PROT_READ | PROT_WRITE, MAP_FIXED);
	map_at(room + 30 * PAGE, 10, PROT_READ | PROT_WRITE, MAP_FIXED);
	unmap(room + 5 * PAGE, 30); /* halves of two, all of the one between, and what is reserved */
}
SITE void replaced(void) { char *at = map(10); map_at(at + 2 * PAGE, 3, PROT_READ, MAP_FIXED); }
SITE void replaced_by_nothing(void) { char *at = map(10); map_at(at + 2 * PAGE, 3, PROT_NONE, MAP_FIXED); }
SITE void reserved(void) { map_at(NULL, 1000, PROT_NONE, MAP_NORESERVE); }
SITE void committed(void)
{
	char *at = map_at(NULL, 1000, PROT_NONE, MAP_NORESERVE);
	if (mprotect(at + 10 * PAGE, 7 * PAGE, PROT_READ | PROT_WRITE) != 0) exit(7);
	if (mprotect(at + 12 * PAGE, 9 * PAGE, PROT_READ | PROT_WRITE) != 0) exit(7);
	if (mprotect(at + 10 * PAGE, PAGE, PROT_NONE) != 0) exit(7);
}
SITE void refused(void)
{
	char *at = map(10);
	errno = 4711;
	if (mmap(at + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED || errno != EINVAL) exit(6);
	if (munmap(at + 1, PAGE) == 0 || errno != EINVAL) exit(6);
	if (mremap(at, 10 * PAGE, 0, 0) != MAP_FAILED || errno != EINVAL) exit(6);
	errno = 4711;
	unmap(at + 9 * PAGE, 1);
	if (errno != 4711) exit(6);
}
SITE void refused_inside(void)
{
	char *at = map(10);
	if (mremap(at + 3 * PAGE, 2 * PAGE, 0, 0) != MAP_FAILED) exit(6);
}
SITE void grown(void) { char *at = mremap(map(4), 4 * PAGE, 90 * PAGE, MREMAP_MAYMOVE); if (at == MAP_FAILED) exit(5); KEEP(at); }
SITE void shrunk(void) { char *at = mremap(map(10), 10 * PAGE, 6 * PAGE, 0); if (at == MAP_FAILED) exit(5); KEEP(at); }
SITE void moved(void)
{
	char *at = map(10), *to = map(20);
	if (mremap(at, 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 5 * PAGE) != to + 5 * PAGE) exit(5);
}
SITE void emptied(void)
{
	char *at = map(10), *to = map(20);
	unmap(to, 20);
	if (mremap(at, 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, to) != to) exit(5);
}
SITE void second_view(void)
{
	char *at = mmap(NULL, 10 * PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mremap(at, 0, 10 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED) exit(5);
}
SITE void reserved_again(void)
{
	if (mprotect(map_at(NULL, 100, PROT_NONE, 0), 100 * PAGE, PROT_NONE) != 0) exit(7);
}
SITE void moved_reservation(void)
{
	char *at = map_at(NULL, 10, PROT_NONE, 0), *to = mremap(at, 10 * PAGE, 500 * PAGE, MREMAP_MAYMOVE);
	if (to == MAP_FAILED || mprotect(to, 3 * PAGE, PROT_READ) != 0) exit(5);
}
SITE void files(void)
{
	FILE *file = tmpfile();
	if (ftruncate(fileno(file), 10 * PAGE) != 0) exit(4);
	char *at = mmap(NULL, 10 * PAGE, PROT_READ, MAP_PRIVATE, fileno(file), 0);
	KEEP(at);
	char *over = map(10);
	if (mmap(over, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fileno(file), 0) != over) exit(4);
}

static char *handed;
static void handle(int number) { (void)number; handed = map(5); }
SITE void handler(void) { signal(SIGUSR1, handle); raise(SIGUSR1); unmap(handed, 2); }

static void *storm(void *argument)
{
	uint64_t random = (uintptr_t)argument;
	char *mine[16] = { 0 };
	for (int i = 0; i < 20000; i++) {
		random = random * 6364136223846793005 + 1442695040888963407;
		char **slot = &mine[random >> 60];
		if (*slot != NULL) {
			const int first = 1 + (random >> 58 & 1);
			unmap(*slot, first);
			unmap(*slot + first * PAGE, 4 - first);
			*slot = NULL;
		}
		else *slot = map(4);
	}
	for (int i = 0; i < 16; i++) if (mine[i] != NULL) unmap(mine[i], 4);
	return NULL;
}
SITE void threads(void)
{
	pthread_t all[8];
	for (long i = 0; i < 8; i++) pthread_create(&all[i], NULL, storm, (void *)(i + 1));
	for (int i = 0; i < 8; i++) pthread_join(all[i], NULL);
	map(11);
}
SITE void child(void)
{
	char *inherited = map(10);
	if (fork() == 0) { unmap(inherited, 10); map(6); exit(0); }
	wait(NULL);
}
SITE void forked_within(void) { unmap(map(7), 7); map(2); wait(NULL); }
SITE void many(void)
{
	char *room = map_at(NULL, 2, PROT_NONE, 0);
	(void)room;
	for (int i = 0; i < 3000; i++) { char *at = map(2); mprotect(at, PAGE, PROT_READ); }
}
SITE void unseen(void)
{
	for (int i = 0; i < 100; i++) { char *at = map(2048); if (syscall(SYS_munmap, at, 2048 * PAGE) != 0) exit(3); }
	map(2048);
}
SITE void unseen_reserved(void)
{
	char *at = map(2048);
	if (syscall(SYS_munmap, at, 2048 * PAGE) != 0 || map_at(at, 2048, PROT_NONE, MAP_FIXED_NOREPLACE) != at) exit(3);
}
SITE void blocks(void) { for (int i = 0; i < 30000; i++) { void *block = malloc(4096); KEEP(block); } }
SITE void both(void)
{
	for (int i = 0; i < 65536; i++) { void *block = malloc(4096); memset(block, 1, 64); KEEP(block); }
	memset(map(64 << 8), 1, 64 << 20);
}
SITE void mapping(void) { memset(map(64 << 8), 1, 64 << 20); }
SITE void stay(void) { map(100); puts("ready"); fflush(stdout); getchar(); }

#define CASE(name) { #name, name }
static const struct { const char *name; void (*run)(void); } cases[] = {
	CASE(whole), CASE(head), CASE(tail), CASE(hole), CASE(hole_then_all), CASE(odd_size), CASE(spanning), CASE(replaced),
	CASE(replaced_by_nothing), CASE(reserved), CASE(committed), CASE(refused), CASE(refused_inside), CASE(grown), CASE(shrunk), CASE(moved),
	CASE(emptied), CASE(second_view), CASE(reserved_again), CASE(moved_reservation), CASE(forked_within), CASE(unseen_reserved),
	CASE(files), CASE(handler), CASE(threads), CASE(child), CASE(many), CASE(unseen), CASE(blocks), CASE(both), CASE(mapping), CASE(stay),
};
int main(int argc, char **argv)
{
	void *block = malloc(1 << 20);
	KEEP(block);
	free(block); /* so that there is a profile */
	for (int i = 1; i < argc; i++)
		for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
			if (strcmp(argv[i], cases[k].name) == 0) cases[k].run();
	return 0;
}
"""

# What is in use in the end: objects, pages; and how many objects there ever were.
EXPECTED = {
    "whole": (1, 3, 2),
    "head": (1, 6, 1),
    "tail": (1, 6, 1),
    "hole": (2, 8, 2),
    "hole_then_all": (0, 0, 2),
    "odd_size": (1, 2, 1),
    "spanning": (2, 10, 3),
    "replaced": (3, 10, 3),
    "replaced_by_nothing": (2, 7, 2),
    "reserved": (0, 0, 0),
    "committed": (2, 11, 2),
    "refused": (1, 9, 1),
    "grown": (1, 90, 2),
    "shrunk": (1, 6, 2),
    "refused_inside": (3, 10, 3),  # in pieces, as the table has it from then on
    "moved": (3, 20, 4),
    "emptied": (2, 20, 3),
    "second_view": (2, 20, 2),
    "reserved_again": (0, 0, 0),
    "moved_reservation": (1, 3, 1),
    "files": (1, 6, 1),
    "handler": (1, 3, 1),
}
# Behind the library: forks in the middle of an munmap of 7 pages, as a signal handler might.  The child maps some at
# once: its stack has the place in the new tables that the one of the pages being unmapped had in the old ones.
FORKER = r"""
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
int munmap(void *at, size_t size_bytes)
{
	if (size_bytes == 7 * 4096 && fork() == 0)
		mmap(0, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return (int)syscall(SYS_munmap, at, size_bytes);
}
"""
PROGRAM_PATH = ""


def program(place):
    global PROGRAM_PATH
    if not PROGRAM_PATH:
        PROGRAM_PATH = os.path.join(os.path.dirname(place.path), "program")
        compile_c(PROGRAM, PROGRAM_PATH, "-pthread", "-Wno-unused-result")
    return PROGRAM_PATH


def run(place, *cases, preload="", files=1, **extra):
    """Runs cases under the library, and returns the profiles."""
    process = place.start(program(place), *cases, LD_PRELOAD=f"{LIBRARY} {preload}".strip(), HEAPMARK_DIR=place.path, **extra)
    _, errors = process.communicate()
    equal(f"{cases}: exit status", (process.returncode, errors.decode()), (0, ""))
    profiles = [pprof.read(os.path.join(place.path, file)) for file in place.files("*.pb.gz")]
    equal(f"{cases}: profiles", len(profiles), files)
    for file in place.files("*.pb.gz"):
        status, text, _ = place.run("check", file)
        equal(f"{cases}: check", (status, re.findall(r"hint: sample.*", text)), (0, []))
        os.unlink(os.path.join(place.path, file))
    return profiles


def mapped(profile, function):
    return profile.labelled("kind", "mmap", function)


def test_cases(place):
    for case, (objects, pages, made) in EXPECTED.items():
        profile, = run(place, case, HEAPMARK_MMAP="1", HEAPMARK_RATE="1")
        figures = mapped(profile, case)
        equal(f"{case}: objects, bytes, objects ever", (figures.inuse_objects, figures.inuse_space, figures.alloc_objects),
              (objects, pages * PAGE, made))
        equal(f"{case}: nothing else", mapped(profile, None), figures)
        equal(f"{case}: no losses", profile.losses, {})


def test_off(place):
    for extra in ({}, {"HEAPMARK_MMAP": "0"}, {"HEAPMARK": "mmap=0"}):
        profile, = run(place, "whole", "spanning", HEAPMARK_RATE="1", **extra)
        equal("off: no label", [sample for sample in profile.samples if dict(sample.labels).get("kind")], [])
    profile, = run(place, "whole", HEAPMARK="mmap=1")
    equal("by the one variable", mapped(profile, "whole").inuse_space, 3 * PAGE)


def test_threads(place):
    profile, = run(place, "threads", HEAPMARK_MMAP="1")
    equal("threads: in use", mapped(profile, None)[2:], (1, 11 * PAGE))
    check("threads: many", mapped(profile, "storm").alloc_objects > 60000, mapped(profile, "storm"))
    equal("threads: no losses", profile.losses, {})


def test_fork(place):
    parent, child = sorted(run(place, "child", files=2, HEAPMARK_MMAP="1"), key=lambda one: -mapped(one, None).inuse_space)
    equal("parent: what it has mapped", mapped(parent, "child")[2:], (1, 10 * PAGE))
    equal("child: what it has mapped, and not what it inherited", mapped(child, "child")[2:], (1, 6 * PAGE))


def test_fork_within(place):
    """In the child the pieces that the parent cut out of its table are not counted as gone."""
    library = os.path.join(os.path.dirname(place.path), "forker.so")
    compile_c(FORKER, library, "-shared", "-fPIC")
    profiles = run(place, "forked_within", preload=library, files=2, HEAPMARK_MMAP="1", HEAPMARK_RATE="1G")
    equal("forked within: in use", sorted(mapped(profile, None)[2:] for profile in profiles), [(1, 2 * PAGE), (2, 5 * PAGE)])
    equal("forked within: no losses", [profile.losses for profile in profiles], [{}, {}])


def test_full(place):
    profile, = run(place, "many", HEAPMARK_MMAP="1", HEAPMARK_MAX="256K")
    check("full: lost, and counted", profile.losses.get("mappings", 0) > 1500, profile.losses)
    check("full: what was kept", 0 < mapped(profile, "many").inuse_objects <= 1024, mapped(profile, "many"))
    profile, = run(place, "many", HEAPMARK_MMAP="1")
    equal("room", (mapped(profile, "many").inuse_space, profile.losses), (3000 * 2 * PAGE, {}))


def test_killed(place):
    process = place.start(program(place), "stay", LD_PRELOAD=LIBRARY, HEAPMARK_DIR=place.path, HEAPMARK_MMAP="1")
    process.stdout.readline()
    equal("alive: dump", place.run("dump", "-o", "alive.pb.gz", str(process.pid))[0], 0)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    equal("killed: dump", place.run("dump", "-o", "dead.pb.gz", place.file("*.ledger"))[0], 0)
    for name in ("alive", "dead"):
        profile = pprof.read(os.path.join(place.path, f"{name}.pb.gz"))
        equal(f"{name}: in use", mapped(profile, "stay")[2:], (1, 100 * PAGE))
        ages = [sample for sample in profile.samples if dict(sample.labels).keys() == {"kind", "age"}]
        equal(f"{name}: with its age", sum(sample.figures.inuse_space for sample in ages), 100 * PAGE)


def test_allocators(place):
    """The allocator's own mappings are not the program's; both at once."""
    for name, file in ALLOCATORS.items():
        profile, = run(place, "both", preload=file, HEAPMARK_MMAP="1", HEAPMARK_RATE="64K")
        figures = mapped(profile, None)
        equal(f"{name}: mapped", (figures.inuse_objects, figures.inuse_space), (1, 64 * MIB))
        heap = profile.total("both").inuse_space - figures.inuse_space
        # 4096 samples or so: 5 standard deviations are a twelfth
        check(f"{name}: malloc's", abs(heap - 256 * MIB) < 256 * MIB / 12, heap)


def test_unseen(place):
    """What was unmapped by a bare system call is noticed when the addresses come again."""
    profile, = run(place, "unseen", HEAPMARK_MMAP="1")
    figures, missed = mapped(profile, "unseen"), profile.losses.get("missed_free", 0)
    equal("unseen: in use", figures.inuse_space, (101 - missed) * 2048 * PAGE)
    check("unseen: counted", missed >= 90, profile.losses)
    profile, = run(place, "unseen_reserved", HEAPMARK_MMAP="1")
    equal("unseen, then reserved", (mapped(profile, None)[2:], profile.losses), ((0, 0), {"missed_free": 1}))


def test_in_front(place):
    """An allocator that comes before the library is an allocator."""
    for name, file in ALLOCATORS.items():
        if file:
            process = place.start(program(place), "blocks", "whole", LD_PRELOAD=f"{file} {LIBRARY}", HEAPMARK_DIR=place.path,
                                  HEAPMARK_MMAP="1", HEAPMARK_RATE="64K")
            process.communicate()
            equal(f"{name} in front: profiles", len(place.files("*.pb.gz")), 1)
            for path in place.files("*.pb.gz"):
                profile = pprof.read(os.path.join(place.path, path))
                equal(f"{name} in front", mapped(profile, None).inuse_space, 3 * PAGE)
                os.unlink(os.path.join(place.path, path))


def test_python(place):
    """The arenas of python's own allocator are mapped by python, and are what its objects lie in."""
    source = "x = [str(i) for i in range(2000000)]; import os; print(os.sysconf('SC_PAGESIZE'))"
    process = place.start("/usr/bin/python3", "-c", source, LD_PRELOAD=LIBRARY, HEAPMARK_DIR=place.path, HEAPMARK_MMAP="1")
    process.communicate()
    profile = pprof.read(os.path.join(place.path, place.file("*.pb.gz")))
    arenas = mapped(profile, None).alloc_space
    check("python: its arenas", 100 * MIB < arenas < 200 * MIB, arenas)


def test_run_and_dormant(place):
    status, _, _ = place.run("run", "--mmap", "-o", place.path, "--", program(place), "whole")
    equal("run --mmap: status", status, 0)
    equal("run --mmap", mapped(pprof.read(os.path.join(place.path, place.file("*.pb.gz"))), "whole").inuse_space, 3 * PAGE)
    os.unlink(os.path.join(place.path, place.file("*.pb.gz")))
    process = place.start(program(place), "stay", LD_PRELOAD=LIBRARY, HEAPMARK_DIR=place.path, HEAPMARK_MMAP="1",
                          HEAPMARK_RATE="0")
    process.stdout.readline()
    place.run("dump", "-o", "asleep.pb.gz", str(process.pid))
    finish(process)
    equal("asleep: nothing", mapped(pprof.read(os.path.join(place.path, "asleep.pb.gz")), None), pprof.Figures())


def test_doctor(place):
    process = place.start(program(place), "both", "stay", LD_PRELOAD=LIBRARY, HEAPMARK_DIR=place.path, HEAPMARK_MMAP="1",
                          HEAPMARK_RATE="64K")
    process.stdout.readline()
    status, text, _ = place.run("doctor", str(process.pid))
    finish(process)
    equal("doctor: status", status, 0)
    live = float(re.search(r"live heap +([\d.]+) MiB", text)[1])
    other = float(re.search(r"other anonymous memory +([\d.]+) MiB", text)[1])
    check("doctor: the live heap is malloc's", abs(live - 256) < 256 / 12, text)
    check("doctor: what is mapped", abs(other - 64) < 3, text)
    contains("doctor: the stack", text, r"both")

    process = place.start(program(place), "mapping", "stay", LD_PRELOAD=LIBRARY, HEAPMARK_DIR=place.path, HEAPMARK_MMAP="1")
    process.stdout.readline()
    status, text, _ = place.run("doctor", str(process.pid))
    finish(process)
    contains("mmap: verdict", text, r"^verdict +mmap: .*; the program has mapped 64.4 MiB, by the stacks above$")
    contains("mmap: next", text, r"^next +heapmark dump .*kind=mmap")
    contains("mmap: the stack", text, r"< mapping")


if __name__ == "__main__":
    sys.exit(common.main(globals()))
