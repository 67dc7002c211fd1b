#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that make code while they run."""
import real

# Stacks may end in code without unwind information; and those of a parser are deeper than what is kept.
MAY_LOSE = ("truncated", "cut")

SCRIPT = """
const squares = new Map();
for (let i = 0; i < 100000; i++)
    squares.set(i, `the square of ${i} is ${i * i}`);
let hash = 0;
for (const text of squares.values())
    for (let i = 0; i < text.length; i++)
        hash = (hash * 31 + text.charCodeAt(i)) | 0;
const packed = require('zlib').gzipSync(JSON.stringify([...squares]));
console.log(squares.size, hash, require('zlib').gunzipSync(packed).length);
console.error('done');
process.exitCode = 3;
"""


def check_at_all_rates(session, name, command, plain, shares):
    """`shares` are of alloc_space at rate 1."""
    for rate in real.RATES:
        outcome, paths = session.profile(command, rate)
        session.same(f"{name} at {rate}", outcome, plain)
        session.equal(f"{name} at {rate}: profiles", len(paths), 1)
        session.good(paths, MAY_LOSE)
        if rate == "1":
            session.shares(paths[0], "alloc_space", shares)


def test_node(session):
    command = [real.find("node"), "-e", SCRIPT]
    plain = session.run(command)
    session.equal("node: status without the library", plain.status, 3)
    check_at_all_rates(session, "node", command, plain, {"node::Start": 0.3})


def test_java(session):
    java, javac = real.find("java"), real.find("javac")
    session.must([javac, "-d", ".", real.INPUTS / "Squares.java"])
    # -Xbatch: who calls waits for the compiler, so that what is compiled does not depend on how busy the machine is.
    command = [java, "-XX:+UseSerialGC", "-Xmx64m", "-Xbatch", "-cp", ".", "Squares"]
    plain = session.run(command)
    session.equal("java: status without the library", plain.status, 3)
    check_at_all_rates(session, "java", command, plain, {"os::malloc": 0.9, "Arena::grow": 0.1})


real.main({"node": test_node, "java": test_java})
