# SPDX-License-Identifier: Apache-2.0
"""
A row of the table: what one program does under the library, and what its profile must say.

A row runs a program twice, without the library and with it, and expects
  - the same exit status and, line by line, the same standard output, and nothing on standard error;
  - one profile, or what `profiles` and `ledgers` say, which `heapmark check` finds good;
  - the figures of every site that the program tells of (truth.h), to the unit.
A function as `check` takes the place of the last; where there is no command, it does everything.
"""
from dataclasses import dataclass, field
from typing import Callable

import checks


@dataclass
class Row:
    name: str
    command: str = None
    environment: dict = field(default_factory=dict)  # beside HEAPMARK_RATE=1 and HEAPMARK_DIR
    preload: str = "{library}"
    plain_preload: str = ""
    wrapper: tuple = ()
    status: int = 0
    said: tuple = ()  # patterns: what the library writes on standard error, a line each
    profiles: int = 1  # None: not looked at
    ledgers: int = 0
    check: Callable = None
    compare: bool = True  # with a run without the library

    def run(self, case):
        if self.command is None:
            self.check(case)
            return
        plain = case.run(self.command, self.environment, self.plain_preload, self.wrapper) if self.compare else None
        run = case.run(self.command, self.environment, self.preload, self.wrapper)
        if plain is not None:
            case.equal("exit status without the library", self.status, plain.status)
            case.check_same(plain, run)
        case.equal("exit status", self.status, run.status)
        case.check_said(run, self.said)
        case.check_files(run, self.profiles, self.ledgers)
        if self.check is None:
            case.check_figures(run)
        else:
            self.check(case, run)


SIGKILL, SIGSEGV, SIGABRT, SIGTERM = -9, -11, -6, -15  # as exit statuses
ALLOCATORS = {"jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4", "mimalloc": "libmimalloc.so.2"}
SUPERVISED = {"HEAPMARK_RUN": "1"}  # the ledger is left for somebody else
NEVER = {"HEAPMARK_RATE": "1T"}


def over_allocators(name, command, **rest):
    """Over glibc, and over each other allocator, preloaded behind the library."""
    yield Row(f"{name}, glibc", command, **rest)
    for allocator, file in ALLOCATORS.items():
        yield Row(f"{name}, {allocator}", command, preload="{library} " + file, plain_preload=file, **rest)


def over_every_allocator(name, command, **rest):
    """Also linked with each, and with each in front: then the library sees little, and does no harm."""
    yield from over_allocators(name, command, **rest)
    for allocator, file in ALLOCATORS.items():
        yield Row(f"{name}, linked with {allocator}", f"{command}-{allocator}", **rest)
        yield Row(f"{name}, {allocator} in front", command, preload=file + " {library}", plain_preload=file,
                  **rest | {"profiles": None, "check": checks.nothing_more})
