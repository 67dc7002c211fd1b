#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gcc and g++ at work, and the programs that they make."""
import real
from real import Figures

# Of inputs/program.cc at rate 1, to the unit: what each function allocated, and what of it is in use at the end.
FIGURES = {
    "fill_map": Figures(3000, 3000 * 40, 3000, 3000 * 40),
    "churn_arrays": Figures(20000, 20000 * 100, 0, 0),
    "churn_nothing": Figures(500, 0, 0, 0),
    "keep_half": Figures(10000, 10000 * 200, 5000, 5000 * 200),
    # Before an exception of 64 bytes lie 128 that belong to the C++ runtime.
    "refuse": Figures(2000, 2000 * 192, 0, 0),
    "make_in_thread": Figures(4 * 4000, 4 * 4000 * 300, 0, 0),
}


def test_gcc(session):
    """The compiler, the assembler and the linker, each a process with a profile of its own."""
    command = [real.find("gcc"), "-O2", "-Wall", real.INPUTS / "work.c", "-o", "work"]
    program = session.folder / "work"
    plain = session.run(command)
    session.equal("gcc: status without the library", plain.status, 0)
    session.check("gcc warned", b"warning: " in plain.stderr, plain.stderr)
    made = program.read_bytes()
    for profile, rate in (session.profile, "1"), (session.profile_by_run, "64K"), (session.profile, "512K"):
        program.unlink()
        outcome, paths = profile(command, rate)
        session.same(f"gcc at {rate}", outcome, plain)
        session.check(f"gcc at {rate}: the same program as without the library", program.read_bytes() == made)
        session.good(paths, ("cut",))  # of the recursion over dominators
        by_name = {path.name.split(".")[1]: path for path in paths}
        session.shares(by_name["cc1"], "alloc_space", {"toplev::main": 0.9, "xmalloc": 0.2})
        if rate == "1":
            session.equal("gcc: processes", sorted(by_name), ["as", "cc1", "collect2", "gcc", "ld"])
            session.shares(by_name["as"], "alloc_space", {"xmalloc": 0.1})
            session.shares(by_name["ld"], "alloc_space", {"bfd_elf_link_add_symbols": 0.2})


def test_cxx(session):
    """Containers, exceptions and threads."""
    session.must([real.find("g++"), "-O2", "-pthread", real.INPUTS / "program.cc", "-o", "program"])
    plain = session.run(["./program"])
    session.equal("program.cc", plain, real.Outcome(3, b"3000 5000 2000\n", b"the last one\n"))
    truth = None
    for rate in real.RATES:
        outcome, paths = session.profile(["./program"], rate)
        session.same(f"program.cc at {rate}", outcome, plain)
        session.equal(f"program.cc at {rate}: profiles", len(paths), 1)
        (profile,) = session.good(paths)
        if rate == "1":
            truth = profile.total()
            for function, figures in FIGURES.items():
                session.equal(f"program.cc: {function}", profile.total(function), figures)
        session.near(f"program.cc at {rate}", rate, profile.total(), truth)


real.main({"gcc": test_gcc, "C++": test_cxx})
