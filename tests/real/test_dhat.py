#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""At rate 1 the same figures as by valgrind's dhat, which counts by other means: it replaces the allocator and
runs the program on a processor of its own.

What it calls total is alloc here, and what it finds at the end is in use here.  A realloc is to both a block more,
of its new size.  Two things differ:
  - a block of no bytes has one byte to dhat
  - a thread's table of thread-local blocks has room for each library that has some, and ours is one more, as are
    those that it loads
"""
import json
import re

import real
from real import Figures

TABLES_OF_THREADS = "_dl_allocate_tls"

QUERIES = b"""
create table item (id integer primary key, name text);
with recursive counter (i) as (select 1 union all select i + 1 from counter where i < 2000)
insert into item select i, 'item number ' || i from counter;
create index item_name on item (name);
delete from item where id % 3 = 0;
select count(*), sum(id), group_concat(name) from item;
"""


class Point:
    """A stack at which blocks were allocated."""

    def __init__(self, entry, frames):
        self.figures = Figures(entry["tbk"], entry["tb"], entry["ebk"], entry["eb"])
        # "0x48417B4: malloc (in /usr/...)", "0x1091C4: main (program.c:12)", "0x4A3B: f(int) (in ...)"
        self.functions = {re.sub(r"^0x[0-9A-F]+: ([^ (@]+).*", r"\1", frames[index]) for index in entry["fs"]}


def run_dhat(session, command, stdin):
    """Returns (outcome, points)."""
    result = session.folder / "dhat.json"
    # What libraries would free after the end of the program is in use at its end.
    options = ["--tool=dhat", f"--dhat-out-file={result}", f"--log-file={session.folder}/valgrind.log",
               "--num-callers=200",
               "--run-libc-freeres=no", "--run-cxx-freeres=no"]
    outcome = session.run([real.find("valgrind"), *options, *command], stdin=stdin)
    recorded = json.loads(result.read_text())
    return outcome, [Point(entry, recorded["ftbl"]) for entry in recorded["pps"]]


def total(points, function):
    return sum((point.figures for point in points if function in point.functions), Figures())


def minus(left, right):
    return Figures(*(a - b for a, b in zip(left, right)))


def compare(session, name, command, stdin=b"", empty_blocks=0):
    """Of `empty_blocks` without bytes nothing is left at the end.  Returns (profile, points) of the same program."""
    outcome, paths = session.profile(command, "1", stdin)
    dhat_outcome, points = run_dhat(session, command, stdin)
    session.same(f"{name} under dhat", outcome, dhat_outcome)
    (profile,) = session.good(paths)

    tables, dhat_tables = profile.total(TABLES_OF_THREADS), total(points, TABLES_OF_THREADS)
    dhat_total = minus(sum((point.figures for point in points), Figures()), Figures(alloc_space=empty_blocks))
    session.equal(f"{name}: total as by dhat", minus(profile.total(), tables), minus(dhat_total, dhat_tables))
    session.equal(f"{name}: threads as by dhat", tables.alloc_objects, dhat_tables.alloc_objects)
    return profile, points


def test_sqlite(session):
    compare(session, "sqlite3", [real.find("sqlite3"), ":memory:"], QUERIES)


def test_openssl(session):
    compare(session, "openssl", [real.find("openssl"), "dgst", "-sha256", real.INPUTS / "rows.sql"])


def test_binutils(session):
    session.must([real.find("gcc"), "-S", "-O1", real.INPUTS / "work.c", "-o", "work.s"])
    session.must(["gcc", "-c", "work.s"])
    compare(session, "as", ["as", "work.s", "-o", "again.o"])
    compare(session, "objdump", ["objdump", "-d", "work.o"])


def test_cxx(session):
    """Function by function, exceptions and threads among them."""
    session.must([real.find("g++"), "-O2", "-pthread", real.INPUTS / "program.cc", "-o", "program"])
    profile, points = compare(session, "program.cc", ["./program"], empty_blocks=500)
    for function in "fill_map", "churn_arrays", "keep_half", "refuse", "make_in_thread":
        session.equal(f"program.cc: {function} as by dhat", profile.total(function), total(points, function))


real.main({"sqlite3": test_sqlite, "openssl": test_openssl, "binutils": test_binutils, "C++": test_cxx})
