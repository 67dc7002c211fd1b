#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Commands that run to their end in one process, at every rate.

The same samples every time: a program that allocates the same gives the same profile.
"""
from typing import NamedTuple

import real

SEED = {"HEAPMARK_SEED": "2"}


class Command(NamedTuple):
    command: list
    stdin: bytes
    environment: dict
    everything: str  # a function under which nearly all is allocated
    shares: dict  # of alloc_space, where every allocation is counted


def read(name):
    return (real.INPUTS / name).read_bytes()


COMMANDS = {
    "sqlite3": Command(
        ["sqlite3", ":memory:"], read("rows.sql"), {},
        "sqlite3_step", {"sqlite3BtreeInsert": 0.3, "sqlite3Malloc": 0.3}),
    "perl": Command(
        ["perl", str(real.INPUTS / "words.pl")], b"", {"PERL_HASH_SEED": "0"},
        "perl_run", {"Perl_safesysmalloc": 0.2, "Perl_safesysrealloc": 0.2, "Perl_hv_common": 0.02}),
    "openssl": Command(
        ["openssl", "enc", "-aes-256-ctr", "-pass", "pass:word", "-pbkdf2", "-iter", "40000", "-S", "0102030405060708"],
        read("rows.sql"), {},
        "PKCS5_PBKDF2_HMAC", {"EVP_MD_CTX_copy_ex": 0.8, "HMAC_CTX_copy": 0.5}),
}


def test_of(name, entry):
    def test(session):
        command = [real.find(entry.command[0]), *entry.command[1:]]
        plain = session.run(command, session.environment(**entry.environment), entry.stdin)
        session.equal(f"{name}: status without the library", plain.status, 0)
        truth = None
        for rate in real.RATES:
            outcome, paths = session.profile(command, rate, entry.stdin, {**entry.environment, **SEED})
            session.same(f"{name} at {rate}", outcome, plain)
            session.equal(f"{name} at {rate}: profiles", len(paths), 1)
            (profile,) = session.good(paths)
            session.shares(paths[0], "alloc_space", {entry.everything: 0.9})
            if truth is None:
                truth = profile.total()
                session.shares(paths[0], "alloc_space", entry.shares)
            session.near(f"{name} at {rate}", rate, profile.total(), truth)

    return test


real.main({name: test_of(name, entry) for name, entry in COMMANDS.items()})
