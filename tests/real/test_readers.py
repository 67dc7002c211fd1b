#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Profiles as other readers show them: go tool pprof by all its text reports, standalone pprof, pprof-format,
speedscope's importer.

Whatever the reader and whatever the sample type, the figures are those of the file, to the unit.
"""
import collections
import json
import re

import real  # which adds tests/lib to the path
import pprof_write

GO_SOURCES = real.Path("/usr/share/gocode")  # of Debian's golang-*-dev packages
STANDALONE_PPROF = "github.com/google/pprof"
SPEEDSCOPE = real.HERE.parent / "readers" / "speedscope.js"
UNITS = {"alloc_objects": "count", "alloc_space": "B", "inuse_objects": "count", "inuse_space": "B"}

PYTHON = """
import json
kept = [{"number": number, "text": str(number) * 5} for number in range(20000)]
for turn in range(20):
    json.loads(json.dumps(kept[:2000]))
"""


def physical_leaf(sample):
    """Of the innermost location's functions the one that is not inlined, which is all that speedscope takes."""
    address = sample.frames[0].address
    functions = [frame.function for frame in sample.frames]
    inlined = 1
    while inlined < len(functions) and sample.frames[inlined].address == address:
        inlined += 1
    return functions[inlined - 1]


def leaves_of(profile, index):
    leaves = collections.Counter()
    for sample in profile.samples:
        leaves[physical_leaf(sample)] += sample.figures[index]
    return {name: amount for name, amount in leaves.items() if amount}


def traces_total(session, path, sample_type):
    """The sum over the stacks of `go tool pprof -traces`."""
    text = session.must(["go", "tool", "pprof", "-traces", f"-unit={UNITS[sample_type]}", f"-sample_index={sample_type}",
                         path])
    blocks = re.split(r"^-+\+-+\n", text, flags=re.MULTILINE)[1:]
    amounts = [re.search(r"^ *(\d+)(?:B|count)?   ", block, re.MULTILINE) for block in blocks]
    return sum(int(amount[1]) for amount in amounts if amount)


def build_pprof(session):
    """Standalone pprof, which finds names for itself; None where its source is not installed."""
    program = session.folder / "pprof"
    if not (GO_SOURCES / "src" / STANDALONE_PPROF).is_dir():
        print("the source of standalone pprof is not installed: it was not asked")
        return None
    if not program.exists():
        session.must(["go", "build", "-o", program, STANDALONE_PPROF],
                     session.environment(GOPATH=str(GO_SOURCES), GO111MODULE="off", GOFLAGS="",
                                         GOCACHE=str(session.folder / "go-cache")))
    return program


def flat_of(session, program, path, sample_type, *options):
    """What a function has itself, by `pprof -top`; `program` is a command line."""
    text = session.must([*program, "-top", f"-sample_index={sample_type}", f"-unit={UNITS[sample_type]}",
                         "-nodecount=100000", "-nodefraction=0", *options, path])
    rows = re.findall(r"^ *(\d+)(?:B|count)? +[\d.]+% +[\d.]+% +\d+(?:B|count)? +[\d.]+%  (.+?)(?: \(inline\))?$", text,
                      re.MULTILINE)
    return {name: int(flat) for flat, name in rows}


def test_standalone(session, path, total_of):
    program = build_pprof(session)
    for sample_type, total in total_of.items() if program else ():
        name = f"{path.name}: {sample_type} by standalone pprof"
        plain, by_go = (flat_of(session, command, path, sample_type, "-symbolize=none")
                        for command in ([program], ["go", "tool", "pprof"]))
        session.equal(f"{name}, functions as in the file", plain, by_go)
        session.equal(f"{name}, which looks for names itself",
                      sum(flat_of(session, [program], path, sample_type).values()), total)


def test_all_readers(session, paths):
    profiles = session.good(paths)  # heapmark check, go tool pprof -raw, pprof-format
    seen_by_speedscope = json.loads(session.must(["node", SPEEDSCOPE, *paths]))
    for path, profile, seen in zip(paths, profiles, seen_by_speedscope):
        test_standalone(session, path, dict(zip(real.pprof.TYPES, profile.total())))
        session.equal(f"{path.name}: types by speedscope", list(seen), real.pprof.TYPES)
        for index, (sample_type, total) in enumerate(zip(real.pprof.TYPES, profile.total())):
            name = f"{path.name}: {sample_type}"
            session.check(f"{name} is there", total > 0, total)
            session.equal(f"{name} by pprof -top", session.view(path, sample_type).total, total)
            session.equal(f"{name} by pprof -top, all functions", sum(session.view(path, sample_type).flat.values()), total)
            session.equal(f"{name} by pprof -traces", traces_total(session, path, sample_type), total)
            shown = seen[sample_type]
            session.equal(f"{name} by speedscope", shown["total"], total)
            session.equal(f"{name}: unit of speedscope", shown["unit"], "bytes" if sample_type.endswith("space") else "none")
            session.equal(f"{name}: innermost functions by speedscope", shown["leaves"], leaves_of(profile, index))


def test_cxx(session):
    program = session.folder / "program"
    session.must([real.find("g++"), "-O2", "-g", "-pthread", real.INPUTS / "program.cc", "-o", program])
    for rate in "1", "64K":
        outcome, paths = session.profile([program], rate)
        session.equal(f"program.cc at {rate}: status", outcome.status, 3)
        test_all_readers(session, paths)


def test_python(session):
    outcome, paths = session.profile([real.find("python3"), "-c", PYTHON], "4K", environment={"PYTHONMALLOC": "malloc"})
    session.equal("python3: status", outcome.status, 0)
    test_all_readers(session, paths)


def tags_of(session, path, sample_type):
    """{label: {value: amount}} by `go tool pprof -tags`."""
    text = session.must(["go", "tool", "pprof", "-tags", f"-unit={UNITS[sample_type]}", f"-sample_index={sample_type}", path])
    tags = collections.defaultdict(dict)
    for line in text.splitlines():
        if heading := re.match(r" *([\w:]+): Total ", line):
            label = heading[1]
        elif row := re.match(r" *([\d.]+)(?:B|count)? *\(.*?\): (.*)", line):
            tags[label][row[2]] = float(row[1])
    return dict(tags)


def test_labels(session):
    """A profile made for it, with labels of both kinds."""
    path = session.folder / "labels.pb.gz"
    young, old = {"age": (10, "seconds"), "thread": "main"}, {"age": (600, "seconds"), "thread": "worker"}
    pprof_write.write(path, [
        (["a", "main"], (4, 400, 4, 400), young),
        (["a", "main"], (3, 300, 1, 100), old),
        (["b", "main"], (2, 50, 1, 25), old),
    ])
    session.equal("heapmark check takes it", session.run([session.tool, "check", "-q", path]), real.Outcome(0, b"", b""))
    session.equal("labels by pprof -tags", tags_of(session, path, "inuse_space"),
                  {"age": {"10s": 400, "600s": 125}, "thread": {"main": 400, "worker": 125}})
    focused = session.must(["go", "tool", "pprof", "-top", "-unit=B", "-sample_index=inuse_space",
                            "-tagfocus=age=600s:", path])
    session.check("pprof -tagfocus keeps what is old", "125B" in focused and "of 525B total" in focused, focused)
    (seen,) = json.loads(session.must(["node", SPEEDSCOPE, path]))
    session.equal("labels do not disturb speedscope", seen["inuse_space"],
                  {"total": 525, "unit": "bytes", "leaves": {"a": 500, "b": 25}})


real.main({"C++": test_cxx, "python3": test_python, "labels": test_labels})
