#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""redis-server, which is linked with jemalloc: under load, filled with known data, killed."""
import math
import re
import signal

import real

KEYS = 20000
VALUE_BYTES = 1000

# What a key takes, innermost functions first, in redis 7: the bytes asked for, and those that jemalloc's size
# class has, which are what redis counts itself.
PARTS_OF_A_KEY = {
    # A header of 5 bytes and an end.
    ("zmalloc_usable", "_sdsnewlen", "createStringObject"): (VALUE_BYTES + 6, 1024),
    ("zmalloc", "createObject", "processMultibulkBuffer"): (16, 16),
    # The key has 9 letters, and a header of 1.
    ("zmalloc_usable", "_sdsnewlen", "dbAdd"): (11, 16),
    ("zmalloc", "dictAddRaw", "dbAdd"): (24, 32),
}
ROUNDED_UP_BYTES = KEYS * sum(kept - asked for asked, kept in PARTS_OF_A_KEY.values())

# Buffers of the client that asks, and what redis keeps for itself while it works.
UNKNOWN_BYTES = 64 * 1024

COMMANDS = b"""
SET greeting hello
APPEND greeting ", world"
GET greeting
RPUSH queue a b c d e f
LRANGE queue 0 -1
HSET person name Ada born 1815
HGETALL person
EVAL "local t = {} for i = 1, 1000 do t[i] = i * i end return #t" 0
SADD primes 2 3 5 7 11
SCARD primes
INCRBY counter 41
GET nothing
LPOP greeting
"""

BENCHMARK_TESTS = ["SET", "GET", "LPUSH", "HSET"]


class Redis:
    """A server on a socket in the session's folder, which nothing outlives."""

    def __init__(self, session, environment):
        self.session = session
        self.socket = session.folder / "redis.sock"
        self.server = session.serve(
            [real.find("redis-server"), "--port", "0", "--unixsocket", self.socket, "--save", "", "--appendonly", "no"],
            environment)
        real.wait_for(self.server, self.is_up, "redis-server answers")

    def is_up(self):
        return self.session.run(["redis-cli", "-s", self.socket, "ping"]).stdout == b"PONG\n"

    def used_memory(self):
        information = self.session.must(["redis-cli", "-s", self.socket, "info", "memory"])
        return int(re.search(r"^used_memory:(\d+)", information, re.MULTILINE)[1])

    def shut_down(self):
        self.session.run(["redis-cli", "-s", self.socket, "shutdown", "nosave"])
        return self.session.end(self.server)


def without_numbers(log):
    """What the server said, without times, process ids and durations."""
    return re.sub(r"\d+", "0", log)


def benchmark(redis):
    """Returns the tests that redis-benchmark said it ran."""
    output = redis.session.must(["redis-benchmark", "-s", redis.socket, "-q", "-n", "20000", "-d", "100", "-r", "5000",
                                 "-t", ",".join(BENCHMARK_TESTS).lower()])
    return re.findall(r"(\w+)[^\r\n]*: [\d.]+ requests per second", output)


def under_load(redis):
    """What users of a server see of it."""
    replies = redis.session.run(["redis-cli", "-s", redis.socket], stdin=COMMANDS)
    tests = benchmark(redis)
    return {"replies": replies, "tests of redis-benchmark": tests, "status": redis.shut_down(),
            "log": without_numbers(redis.session.server_log())}


def test_load(session):
    plain = under_load(Redis(session, session.environment()))
    session.equal("redis-benchmark ran its tests", plain["tests of redis-benchmark"], BENCHMARK_TESTS)
    session.equal("redis-server: status without the library", plain["status"], 0)
    for rate in real.RATES:
        output = session.new_output()
        profiled = under_load(Redis(session, session.preloaded(output, rate)))
        for what, expected in plain.items():
            session.equal(f"redis-server at {rate}: {what} as without the library", profiled[what], expected)
        paths = session.collect(output)
        session.equal(f"redis-server at {rate}: profiles", len(paths), 1)
        session.good(paths)
        session.shares(paths[0], "alloc_space", {"aeMain": 0.8, "readQueryFromClient": 0.4})
        if rate != "512K":
            session.shares(paths[0], "alloc_space", {"call": 0.2, "zmalloc_usable": 0.1, "zrealloc_usable": 0.05})


def fill(redis):
    """Inserts the known data."""
    value = "x" * VALUE_BYTES
    commands = "".join(f"*3\r\n$3\r\nSET\r\n$9\r\nkey:{key:05}\r\n${VALUE_BYTES}\r\n{value}\r\n" for key in range(KEYS))
    output = redis.session.must(["redis-cli", "-s", redis.socket, "--pipe"], stdin=commands.encode())
    redis.session.check("redis took all keys", f"errors: 0, replies: {KEYS}" in output, output)


def deviation(rate):
    """The standard deviation of inuse_space over the known data: an allocation of s bytes that is sampled with
    the probability p adds s² (1 - p) / p to the variance."""
    interval = real.interval_of(rate)
    if interval == 1:
        return 0
    sampled = {asked: -math.expm1(-(asked + 1) / interval) for asked, _kept in PARTS_OF_A_KEY.values()}
    return math.sqrt(KEYS * sum(asked ** 2 * (1 - p) / p for asked, p in sampled.items()))


def test_fill_and_kill(session):
    for rate in real.RATES:
        output = session.new_output()
        redis = Redis(session, session.preloaded(output, rate))
        used_before = redis.used_memory()
        before = session.dump(redis.server.pid, output / "before.pb.gz")
        fill(redis)
        used = redis.used_memory() - used_before

        # Nothing happens between the two dumps: one of a process that stands still, one of a dead one.
        redis.server.send_signal(signal.SIGSTOP)
        filled = session.dump(redis.server.pid, output / "filled.pb.gz")
        redis.server.kill()
        session.equal("redis-server: killed", session.end(redis.server), -signal.SIGKILL)
        (ledger,) = output.glob("*.ledger")
        killed = session.dump(ledger, output / "killed.pb.gz")

        was, live, dead = session.good([before, filled, killed])
        session.equal(f"at {rate}: killed, every stack as when it lived", sorted(map(repr, dead.samples)),
                      sorted(map(repr, live.samples)))
        grown = live.total().inuse_space - was.total().inuse_space
        known = used - ROUNDED_UP_BYTES
        session.check(f"at {rate}: inuse_space grew by what redis says",
                      abs(grown - known) < real.SIGMAS_MAX * deviation(rate) + UNKNOWN_BYTES,
                      f"{grown}, by redis {known}, deviation {deviation(rate):.0f}")
        session.shares(filled, "inuse_space", {"createStringObject": 0.5})
        if rate == "1":
            check_exact(session, was, live)


def check_exact(session, was, live):
    """Each part of each key, to the byte."""
    for functions, (asked, _kept) in PARTS_OF_A_KEY.items():
        before, after = real.stack_total(was, *functions), real.stack_total(live, *functions)
        grown = [now - then for now, then in zip(after, before)]
        session.equal(f"at 1: {' < '.join(functions)}", grown, [KEYS, KEYS * asked, KEYS, KEYS * asked])


real.main({"load": test_load, "fill and kill": test_fill_and_kill})
