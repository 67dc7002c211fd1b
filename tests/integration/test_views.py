#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the views say about profiles: ages, `heapmark top` on names and lines, `heapmark diff`.

Paths and output as in test_tools.py, whose helpers it uses.
"""

import fcntl
import gzip
import os
import re
import shutil
import struct
import sys
import termios

import test_tools as common
from test_tools import (LIBRARY, Terminal, check, compile_c, contains, equal, finish, lacks, pprof_rows, size_text,
                        top_rows, wait_ready)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import pprof  # noqa: E402

TYPES = ("alloc_objects", "alloc_space", "inuse_objects", "inuse_space")

# Both functions have 200 blocks in the end; those of one are as old as the process, those of the other are
# replaced, a second later.  Says between which two moments that was.
LEAK_AND_CACHE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void *volatile leaked[200];
static void *volatile cached[200];

__attribute__((noipa)) static void leak_blocks(void)
{
	for (int i = 0; i < 200; i++)
		leaked[i] = malloc(1000);
}

__attribute__((noipa)) static void renew_cache(void)
{
	for (int i = 0; i < 200; i++) {
		free(cached[i]);
		cached[i] = malloc(3000);
	}
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(void)
{
	leak_blocks();
	renew_cache();
	renew_cache();
	const double leak_end = now();
	usleep(1500000);
	const double cache_begin = now();
	renew_cache();
	printf("%.6f %.6f\n", leak_end, cache_begin);
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
"""
LEAKED_BYTES = 200 * 1000
CACHED_BYTES = 200 * 3000

# Grows, shrinks and stays; more with each line of input.
STEPS = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *volatile kept[1 << 16];
static int kept_count;
static void *volatile buffers[1000];

__attribute__((noipa)) static void grow(int count)
{
	while (count-- > 0)
		kept[kept_count++] = malloc(2000);
}

__attribute__((noipa)) static void stay(void)
{
	for (int i = 0; i < 1000; i++)
		kept[kept_count++] = malloc(1000);
}

__attribute__((noipa)) static void fill_buffers(void)
{
	for (int i = 0; i < 1000; i++)
		buffers[i] = malloc(700);
}

__attribute__((noipa)) static void copy_text(void)
{
	static char text[50001];

	memset(text, 'x', 50000);
	kept[kept_count++] = strdup(text);
	__asm__ volatile("" ::: "memory"); /* no jump in place of the call */
}

static void work(int count)
{
	stay();
	fill_buffers();
	grow(count);
	copy_text();
	__asm__ volatile("" ::: "memory");
}

int main(int argc, char **argv)
{
	work(argc > 1 ? atoi(argv[1]) : 100);
	if (argc > 2 && strcmp(argv[2], "free") == 0)
		for (int i = 0; i < 1000; i++)
			free(buffers[i]);
	if (argc > 2)
		return 0;
	do {
		puts("ready");
		fflush(stdout);
		if (getchar() == EOF)
			return 0;
		grow(500);
	} while (1);
}
"""


def build_program(place, name, source):
    path = os.path.join(place.path, name)
    compile_c(source, path)
    return path


# ---- profiles made by hand --------------------------------------------------------------------------------------

def varint(number):
    data = b""
    while number > 0x7f:
        data += bytes([number & 0x7f | 0x80])
        number >>= 7
    return data + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def write_profile(place, name, samples, types=tuple(zip(TYPES, ("count", "bytes") * 2)), period=("space", "bytes"),
                  rate=1):
    """A profile of [(function, line, values)], each a stack of one frame."""
    strings = [""]

    def text(string):
        if string not in strings:
            strings.append(string)
        return strings.index(string)

    data = b"".join(field(1, field(1, text(kind)) + field(2, text(unit))) for kind, unit in types)
    for index, (_, _, values) in enumerate(samples):
        data += field(2, field(1, varint(index + 1)) + field(2, b"".join(map(varint, values))))
    data += field(3, field(1, 1) + field(2, 0x1000) + field(3, 0x900000) + field(5, text("/usr/bin/made")))
    for index, (_, line, _) in enumerate(samples):
        data += field(4, field(1, index + 1) + field(2, 1) + field(3, 0x2000 + index)
                      + field(4, field(1, index + 1) + field(2, line)))
    for index, (function, _, _) in enumerate(samples):
        data += field(5, field(1, index + 1) + field(2, text(function)) + field(3, text(function))
                      + field(4, text("/src/made.c")))
    rest = (field(9, 1) + field(11, field(1, text(period[0])) + field(2, text(period[1]))) + field(12, rate)
            + field(14, text(types[-1][0])))
    data += b"".join(field(6, string.encode()) for string in strings) + rest
    path = os.path.join(place.path, name)
    with open(path, "wb") as file:
        file.write(gzip.compress(data))
    return path


def without_field(place, name, path, number):
    """A copy of a profile that lacks a field."""
    data, copy, offset = gzip.decompress(open(path, "rb").read()), b"", 0
    while offset < len(data):
        begin = offset
        key, offset = pprof.read_varint(data, offset)
        value, offset = pprof.read_varint(data, offset)
        offset += value if key & 7 == 2 else 0
        copy += data[begin:offset] if key >> 3 != number else b""
    path = os.path.join(place.path, name)
    with open(path, "wb") as file:
        file.write(gzip.compress(copy))
    return path


# ---- ages -------------------------------------------------------------------------------------------------------

def killed_ledger(place, program):
    """The ledger of a process that was killed, and when the last of its blocks were allocated, at the earliest."""
    process = place.start(program, LD_PRELOAD=LIBRARY, HEAPMARK_RATE="1")
    _, cache_begin = map(float, process.stdout.readline().split())
    process.kill()
    process.communicate()
    return place.file("*.ledger"), cache_begin


def test_ages(place):
    ledger, cache_begin = killed_ledger(place, build_program(place, "leak_and_cache", LEAK_AND_CACHE))
    # A ledger whose process was killed is looked at as of its last modification: ten minutes pass at once.  The cache
    # is then more than half a second too young for the label of 600 s, the leak that much older than it takes.
    os.utime(ledger, (cache_begin + 599.3,) * 2)
    place.run("dump", "-o", "labelled", ledger)
    place.run("dump", "--no-labels", "-o", "unlabelled", ledger)
    labelled, unlabelled = (os.path.join(place.path, name) for name in ("labelled", "unlabelled"))

    for name in TYPES[1::2]:
        expected = pprof_rows(unlabelled, name)
        equal(f"labels do not change {name}", pprof_rows(labelled, name), expected)
    equal("labels do not change any total", pprof.read(labelled).total(), pprof.read(unlabelled).total())
    equal("a profile with labels is good", place.run("check", labelled)[0], 0)
    equal("--no-labels: one sample for each stack", len(pprof.read(unlabelled).samples),
          len({tuple(frame.address for frame in sample.frames) for sample in pprof.read(labelled).samples}))

    old = pprof_rows(labelled, "inuse_space", "-tagfocus=age=600s:")[0]
    equal("-tagfocus=age=600s: is the leak", old.get("leak_blocks"), (LEAKED_BYTES,) * 2)
    check("-tagfocus=age=600s: is not the cache", "renew_cache" not in old, old)
    young = pprof_rows(labelled, "inuse_space", "-tagfocus=age=:599s")[0]
    equal("-tagfocus=age=:599s is the cache", young.get("renew_cache"), (CACHED_BYTES,) * 2)
    check("-tagfocus=age=:599s is not the leak", "leak_blocks" not in young, young)
    gone = pprof_rows(labelled, "alloc_space", "-tagignore=age=0s:")[0]
    equal("what is gone has no label", gone.get("renew_cache"), (2 * CACHED_BYTES,) * 2)
    equal("all that is live has one", pprof_rows(labelled, "inuse_space", "-tagignore=age=0s:")[0].get("renew_cache"), None)
    mean = pprof_rows(labelled, "inuse_space", "-mean", "-tagfocus=age=600s:")[0]
    equal("-mean of what is old: the size of its blocks", mean["leak_blocks"][0], 1000)

    ages = {}
    for kind, path in (("ledger", ledger), ("profile", labelled)):
        output = place.run("top", "--by", "age", path)[1]
        rows = top_rows(output)
        equal(f"{kind}: --by age puts the leak first", list(rows)[:2], ["leak_blocks", "renew_cache"])
        contains(f"{kind}: mean age of the leak", rows["leak_blocks"]["age"], r"^10m[0-5]\ds$")
        contains(f"{kind}: mean age of the cache", rows["renew_cache"]["age"], r"^9m[0-5]\ds$")
        ages[kind] = [rows[name]["age"] for name in ("leak_blocks", "renew_cache")]
        equal(f"{kind}: kept% of the cache", rows["renew_cache"]["kept"], "33.3%")

    equal("a profile knows the mean of each label", ages["profile"], ages["ledger"])

    os.utime(ledger, (cache_begin + 86460,) * 2)
    place.run("dump", "-o", "labelled", ledger)
    old = pprof_rows(labelled, "inuse_space", "-tagfocus=age=24hr:")[0]
    equal("a day later all is old", (old["leak_blocks"][0], old["renew_cache"][0]), (LEAKED_BYTES, CACHED_BYTES))


def test_ages_at_exit(place):
    """The writer in the process does as the tools do."""
    program = build_program(place, "leak_and_cache", LEAK_AND_CACHE)
    process = place.start(program, LD_PRELOAD=LIBRARY, HEAPMARK_RATE="1")
    process.stdout.readline()
    status, _, errors = finish(process)
    equal("the program's status and errors", (status, errors), (0, ""))
    profile = place.file("*.pb.gz")
    old = pprof_rows(profile, "inuse_space", "-tagfocus=age=1s:")[0]
    equal("what is older than a second: the leak", old.get("leak_blocks"), (LEAKED_BYTES,) * 2)
    all_live = pprof_rows(profile, "inuse_space", "-tagfocus=age=0s:")[0]
    equal("with any age: the cache", all_live["renew_cache"][0], CACHED_BYTES)
    equal("it is good", place.run("check", profile)[0], 0)


# ---- top --------------------------------------------------------------------------------------------------------

def test_top_kept(place):
    # 512 KiB each: one sample of which all is kept, and 100 samples of which 90 are
    one, hundred = 512 << 10, 100 * (512 << 10)
    profile = write_profile(place, "made", [
        ("once", 1, (1, one // 10, 1, one // 10)),
        ("one_sample", 1, (5243, one, 5243, one)),
        ("many_samples", 2, (524300, hundred, 471870, hundred * 9 // 10)),
    ], rate=512 << 10)
    rows = top_rows(place.run("top", "--by", "kept", profile)[1])
    equal("--by kept: certainty first", list(rows)[:2], ["many_samples", "one_sample"])
    equal("kept% of one sample", (rows["one_sample"]["kept"], rows["one_sample"]["kept interval"]),
          ("100.0%", "21-100%"))
    equal("kept% of a hundred", (rows["many_samples"]["kept"], rows["many_samples"]["kept interval"]),
          ("90.0%", "83-94%"))
    equal("the interval of alloc: 1.96 / sqrt(100)", rows["many_samples"]["alloc interval"], "±20%")
    equal("... and of inuse: 1.96 / sqrt(90)", rows["many_samples"]["interval"], "±21%")


def terminal_width(terminal, columns):
    fcntl.ioctl(terminal.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))


def test_top_names(place):
    name = "std::map<int, std::vector<std::pair<int, long>>>::insert(std::pair<int, long>&&)"
    profile = write_profile(place, "made", [(name, 7, (1, 100, 1, 100)), ("short", 8, (1, 50, 1, 50)),
                                            (name, 9, (1, 25, 1, 25))])
    contains("in a pipe a name is whole", place.run("top", profile)[1], re.escape(f"  {name}") + "$")
    for verb, arguments in (("top", [profile]), ("diff", [profile, write_profile(place, "none", [("short", 8, (1, 50, 1, 50))])])):
        # the width is set before the command can look at it: it waits for a line
        terminal = Terminal(place, "/bin/sh", "-c", 'read line; exec "$@"', "sh", common.TOOL, verb, *arguments)
        terminal_width(terminal, 125)
        terminal.type(b"\n")
        terminal.read_until(rb"\[status")
        lines = re.sub(rb"\x1b\[\d+m", b"", terminal.text).decode().splitlines()
        table = [line for line in lines if "insert(" in line]
        check(f"{verb}: on a terminal a name is cut to fit", table and all("std::map<...>::insert(" in line for line in table), lines)
        check(f"{verb}: no line is wider than the terminal", all(len(line) <= 125 for line in table), lines)
        check(f"{verb}: bold titles on a terminal", b"\x1b[1m" in terminal.text, terminal.text)
        terminal.close()
        terminal = Terminal(place, common.TOOL, verb, *arguments, NO_COLOR="1")
        terminal.read_until(rb"\[status")
        check(f"{verb}: NO_COLOR", b"\x1b" not in terminal.text, terminal.text)
        terminal.close()

    rows = top_rows(place.run("top", "--lines", profile)[1])
    equal("--lines: a row for each line", {key: row["flat"] for key, row in rows.items()},
          {f"{name} /src/made.c:7": "100 B", f"{name} /src/made.c:9": "25 B", "short /src/made.c:8": "50 B"})


# ---- diff -------------------------------------------------------------------------------------------------------

def diff_rows(text):
    """{function: columns} of the table that `heapmark diff` prints."""
    rows = {}
    growth = r"([+-]?\d+(?:\.\d)? [KMGT]?i?B)(?:\s+(±\d+(?:\.\d)? [KMGT]?i?B))?(?:\s+(\*))?"
    size = r"(\d+(?:\.\d)? [KMGT]?i?B)"
    for line in text.splitlines():
        match = re.match(rf"^\s*{growth}\s+{growth}\s+{size}\s+{size}  (\S.*)$", line)
        if match:
            rows[match[9]] = dict(zip(["flat", "flat interval", "flat mark", "cum", "cum interval", "cum mark", "old", "new"],
                                      match.groups()[:8]))
    return rows


def growth_text(value):
    return ("+" if value > 0 else "-" if value < 0 else "") + size_text(abs(value))


def compare_with_pprof(place, name, old, new):
    for option, sample_index in (("", "inuse_space"), ("--alloc", "alloc_space")):
        expected, base = pprof_rows(new, sample_index, f"-diff_base={old}")
        output = place.run("diff", "-n", "0", *option.split(), old, new)[1]
        rows = diff_rows(output)
        expected = {key: row for key, row in expected.items() if row != (0, 0)}
        equal(f"{name} {option}: growth by function as pprof", {key: (row["flat"], row["cum"]) for key, row in rows.items()},
              {key: (growth_text(row[0]), growth_text(row[1])) for key, row in expected.items()})
        total = pprof_rows(new, sample_index)[1] - base
        contains(f"{name} {option}: total as pprof", output,
                 rf"^\S+ \S+ (in use|allocated), {re.escape(size_text(base))} before: {re.escape(growth_text(total))}( |,|$)")


def run_steps(place, program, directory, rate, *arguments, **extra):
    place.run("run", "-r", rate, "-o", directory, program, *arguments, **extra)
    return place.file(f"{directory}/*.pb.gz")


def test_diff(place):
    program = build_program(place, "steps", STEPS)
    old = run_steps(place, program, "old", "1", "100", "keep")
    new = run_steps(place, program, "new", "1", "300", "free")
    sampled = run_steps(place, program, "sampled", "4K", "300", "free", HEAPMARK_SEED="5")
    resampled = run_steps(place, program, "resampled", "16K", "100", "keep", HEAPMARK_SEED="6")

    compare_with_pprof(place, "exact", old, new)
    compare_with_pprof(place, "sampled", resampled, sampled)
    compare_with_pprof(place, "rates that differ", old, sampled)
    compare_with_pprof(place, "the other way round", sampled, old)

    output = place.run("diff", old, new)[1]
    rows = diff_rows(output)
    equal("what grew", rows["grow"]["flat"], growth_text(200 * 2000))
    equal("what shrank", rows["fill_buffers"]["flat"], growth_text(-700 * 1000))
    check("what stayed is no row", "stay" not in rows, rows)
    equal("the largest growth first", list(rows)[0], "grow")
    equal("exact: each change is one", (rows["grow"]["flat mark"], rows["grow"]["flat interval"]), ("*", None))
    equal("-n 1", list(diff_rows(place.run("diff", "-n", "1", old, new)[1])), ["grow"])
    expected = pprof_rows(sampled, "alloc_space", f"-diff_base={resampled}")[0]
    rows = diff_rows(place.run("diff", "-n", "0", "--alloc", "--cum", resampled, sampled)[1])
    equal("--cum: order by cum", [row["cum"] for row in rows.values()],
          [growth_text(cum) for cum in sorted((row[1] for row in expected.values() if row != (0, 0)), reverse=True)])
    rows = diff_rows(place.run("diff", "--alloc", "--cum", old, new)[1])
    equal("--cum: old and new of that too", rows["main"]["old"], size_text(1000 * 1000 + 1000 * 700 + 100 * 2000 + 50001))

    rows = diff_rows(place.run("diff", "-n", "0", resampled, sampled)[1])
    equal("sampled: a growth far beyond noise is marked", rows["fill_buffers"]["flat mark"], "*")
    check("sampled: what did not change is not marked", rows.get("stay", {"flat mark": None})["flat mark"] is None, rows)
    # stay: 1000 blocks of 1000 bytes; w = 4.61 at 4096, 16.87 at 16384; Var = 1000 * 1000^2 (w - 1) each:
    # 1.96 sqrt(3.61e9 + 15.87e9) = 274 KB; which samples there are makes some per cent of it
    width = float(re.search(r"±(\d+)", rows["stay"]["flat interval"])[1]) * 1024
    check("sampled: the interval of the growth", 0.85 * 273600 < width < 1.15 * 273600, width)


def test_diff_limit(place):
    program = build_program(place, "steps", STEPS)
    old = run_steps(place, program, "old", "1", "100", "keep")
    new = run_steps(place, program, "new", "1", "300", "keep")
    for limit, expected, pattern in (
            ("390K", 1, r"error: in use: \+391 KiB, which is more than the 390 KiB allowed$"),
            ("1M", 0, r"in use: \+391 KiB, which is within the 1.0 MiB allowed$"),
            ("0", 1, r"which is more than the 0 B allowed$")):
        status, _, errors = place.run("diff", "--fail-above", limit, old, new)
        equal(f"--fail-above {limit}: exit status", status, expected)
        contains(f"--fail-above {limit}: the last line", errors.splitlines()[-1], pattern)
    equal("what shrank", place.run("diff", "--fail-above", "0", new, old)[0], 0)
    equal("--fail-above with --alloc", place.run("diff", "--alloc", "--fail-above", "390K", old, new)[0], 1)
    equal("without a limit", place.run("diff", old, new)[0], 0)

    # 4 samples more: they stand for 2 MiB, and that may be noise.
    old = write_profile(place, "few", [("f", 1, (41944, 4 << 20, 41944, 4 << 20))], rate=512 << 10)
    new = write_profile(place, "more", [("f", 1, (62915, 6 << 20, 62915, 6 << 20))], rate=512 << 10)
    status, output, errors = place.run("diff", "--fail-above", "1M", old, new)
    equal("growth that may be noise: exit status", status, 0)
    contains("growth that may be noise", errors, r"\+2.0 MiB ±4.4 MiB, which is not certainly more than the 1.0 MiB allowed$")
    lacks("growth that may be noise has no mark", output, r"B \*")


def test_diff_process(place):
    """Two moments of one process see the same samples."""
    process = place.start(build_program(place, "steps", STEPS), LD_PRELOAD=LIBRARY, HEAPMARK_RATE="4K", HEAPMARK_SEED="3")
    wait_ready(process)
    place.run("dump", "-o", "old.pb.gz", str(process.pid))
    shutil.copy(place.file("heapmark*.ledger"), os.path.join(place.path, "old.ledger"))
    process.stdin.write(b"\n")
    process.stdin.flush()
    wait_ready(process)
    place.run("dump", "-o", "new.pb.gz", str(process.pid))
    output = place.run("diff", "old.ledger", str(process.pid))[1]
    contains("it is known from its ledgers", output, r"\(one process at two moments\)$")
    exact = diff_rows(output)
    output = place.run("diff", "old.pb.gz", "new.pb.gz")[1]
    rows = diff_rows(output)
    contains("it is known", output, r"\(one process at two moments\)$")
    equal("what stayed has not changed by a single sample", sorted(set(rows) & {"stay", "fill_buffers", "copy_text"}), [])
    equal("what grew is beyond noise", rows["grow"]["flat mark"], "*")
    equal("from ledgers the same", {name: (row["flat"], row["flat mark"]) for name, row in exact.items()},
          {name: (row["flat"], row["flat mark"]) for name, row in rows.items()})
    # 500 blocks of 2000 bytes at 4096: w = 2.59, 1.96 sqrt(500 * 2000^2 * 1.59) = 110.5 KB; nothing was freed
    width = float(re.search(r"±(\d+)", rows["main"]["cum interval"])[1]) * 1024
    check("the interval is that of what came", 0.85 * 110500 < width < 1.15 * 110500, width)
    separate = diff_rows(place.run("diff", "old.pb.gz", str(process.pid))[1])
    equal("a profile and the process: the same growth", separate["grow"]["flat"], rows["grow"]["flat"])
    width_separate = float(re.search(r"±(\d+)", separate["main"]["cum interval"])[1]) * 1024
    check("... with a wider interval", width_separate > 1.3 * width, width_separate)
    process.kill()
    process.communicate()
    equal("a process and its ledger: no growth", diff_rows(place.run("diff", "new.pb.gz", place.file("heapmark*.ledger"))[1]), {})


def test_diff_refused(place):
    good = write_profile(place, "good", [("f", 1, (1, 100, 1, 100))])
    cases = (
        ("no heap profile", write_profile(place, "cpu", [("f", 1, (1, 100))],
                                          types=(("samples", "count"), ("cpu", "nanoseconds")), period=("cpu", "nanoseconds")),
         r"cpu: not a heap profile: it has no alloc_space and inuse_space"),
        ("another unit", write_profile(place, "kilobytes", [("f", 1, (1, 100, 1, 100))],
                                       types=tuple(zip(TYPES, ("count", "kilobytes") * 2))),
         r"kilobytes: alloc_space and inuse_space are not in bytes"),
        ("another period", write_profile(place, "objects", [("f", 1, (1, 100, 1, 100))], period=("objects", "count")),
         r"objects was sampled by objects in count and .*good by space in bytes, so they cannot be compared"),
        ("no file", os.path.join(place.path, "nowhere"), r"nowhere"),
    )
    for name, bad, pattern in cases:
        status, output, errors = place.run("diff", bad, good)
        equal(f"{name}: exit status", (status, output), (2, ""))
        contains(f"{name}: why", errors, pattern)
        equal(f"{name} as NEW: exit status", place.run("diff", "--fail-above", "0", good, bad)[0], 2)
    for arguments in ((good,), (good, good, good), ("--fail-above", "much", good, good), ("-n", "x", good, good)):
        equal(f"diff {' '.join(arguments)[-30:]}: usage", place.run("diff", *arguments)[0], 2)
    # sizes of the other kind, in any order and among others, are found by their names
    swapped = write_profile(place, "swapped", [("f", 1, (150, 1, 150, 1))],
                            types=(("inuse_space", "bytes"), ("inuse_objects", "count"), ("alloc_space", "bytes"),
                                   ("alloc_objects", "count")))
    equal("types in another order", diff_rows(place.run("diff", good, swapped)[1])["f"]["flat"], "+50 B")


def test_diff_hidden(place):
    """As in pprof, what NEW wants hidden is hidden in both."""
    program = build_program(place, "steps", STEPS)
    old = run_steps(place, program, "old", "1", "100", "keep")
    new = run_steps(place, program, "new", "1", "300", "free")
    shown = without_field(place, "shown.pb.gz", old, 7)
    compare_with_pprof(place, "OLD hides nothing itself", shown, new)
    compare_with_pprof(place, "NEW hides nothing", new, shown)
    check("no growth of strdup", not {"strdup", "copy_text"} & set(diff_rows(place.run("diff", shown, new)[1])))
    check("it is there in a view of its own", "strdup" in place.run("top", "--by", "alloc", "-n", "0", shown)[1])

    os.mkdir(os.path.join(place.path, "both"))
    os.link(old, os.path.join(place.path, "both/a.pb.gz"))
    os.link(new, os.path.join(place.path, "both/b.pb.gz"))
    rows = diff_rows(place.run("diff", old, "both")[1])
    equal("DIR: added up", rows["grow"]["new"], size_text(400 * 2000))


if __name__ == "__main__":
    sys.exit(common.main(globals()))
