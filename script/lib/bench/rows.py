# SPDX-License-Identifier: Apache-2.0
"""The rows: loads of our own, and programs that run to their end.  Those with a server are in servers."""
import shutil
import subprocess
import tempfile

from bench.measure import Row

THREAD_COUNTS = (1, 2, 4, 16, 64)
PAIR = "pair: malloc(64) and free"
WINDOW = "window: 16-4096 bytes, 4096 live"
DEEP = "pair, seen from 20 frames"
STORM = "storm of true, each process"

SQL = """
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, score REAL);
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {count})
INSERT INTO item SELECT n, printf('item %d of many', n), (n * 7919) % 10007 FROM number;
CREATE INDEX by_name ON item (name);
SELECT count(*), sum(length(upper(name))) FROM item;
SELECT score, group_concat(name) FROM item GROUP BY score ORDER BY score LIMIT 3 OFFSET 5000;
UPDATE item SET name = name || ' changed' WHERE id % 3 = 0;
"""

# malloc for every object: by default python takes small ones from arenas of its own, which nobody sees.
PYTHON = """
import json
users = [{{"id": i, "name": "user %d" % i, "tags": [str(j * i) for j in range(5)]}} for i in range({count})]
again = json.loads(json.dumps(users))
assert again == users
"""

C_FUNCTION = """
static int visit_{n}(struct node *node, int depth)
{{
	int total = {n};

	for (int i = 0; i < depth; i++) {{
		switch ((node->kind + i) % 5) {{
		case 0: total += node->weight * {n}; break;
		case 1: total ^= visit_{before}(node->left, depth - 1); break;
		case 2: total -= node->right ? node->right->weight : {n}; break;
		default: node->weight = total % (i + {n} + 1);
		}}
	}}
	return total;
}}
"""


def pair(name, kind, rounds):
    return Row(name, "ns", lambda runner: runner.loop([runner.place.program("pair"), kind, runner.count(rounds)]))


def thread_row(thread_count):
    """The name of the row in which so many threads free each other's blocks."""
    return f"crossing frees, {thread_count} thread{'s' if thread_count > 1 else ''}"


def threads(name, kind, thread_count, rounds):
    def run(runner):
        # A round of every thread takes longest to become a fair share of its work.
        count = max(runner.count(rounds), 2048 * thread_count)
        return runner.loop([runner.place.program("threads"), kind, thread_count, count])
    return Row(name, "ns", run, clock="wall")


def program(name, command, text):
    """Processor time of one program that reads a text from its standard input."""
    def run(runner):
        with tempfile.TemporaryFile(dir=runner.place.scratch) as stdin:
            stdin.write(text.encode())
            stdin.seek(0)
            runner.run(command, stdin=stdin)
        return runner.usage.cpu_s * 1e3

    missing = "" if shutil.which(command[0]) else f"{command[0]} is not installed"
    return Row(name, "ms", run, is_program=True, missing=missing)


def c_source(function_count):
    head = "struct node { int kind, weight; struct node *left, *right; };\n" \
           "static int visit_0(struct node *node, int depth) { return node->weight + depth; }\n"
    body = "".join(C_FUNCTION.format(n=n, before=n - 1) for n in range(1, function_count))
    return f"{head}{body}int last(struct node *node) {{ return visit_{function_count - 1}(node, 9); }}\n"


def compiler(function_count):
    """The compiler itself, without its driver."""
    found = subprocess.run(["gcc", "-print-prog-name=cc1"], stdout=subprocess.PIPE, text=True, check=False)
    path = found.stdout.strip() or "cc1"
    return program("cc1 -O1, one big file", (path, "-quiet", "-O1", "-", "-o", "/dev/null"), c_source(function_count))


def storm(count):
    """One process after the other.  A profiler that is a command is started for each of them."""
    def run(runner):
        # A profiler that starts processes of its own needs no thousands of them to be timed.
        rounds = max(5, count // 10) if runner.column.prefix else count
        runner.processes = rounds
        command = [runner.place.program("spawn"), rounds, *runner.command(["/bin/true"])]
        return runner.loop(command, has_prefix=False) / 1e3
    return Row(STORM, "µs", run, clock="wall", is_program=True)


def all_rows(scale):
    """scale: how much of the full load the programs are given; loops are scaled by their runner."""
    def part(count):
        return max(1, int(count * scale))

    return [
        pair(PAIR, "malloc", 30_000_000),
        pair(WINDOW, "window", 5_000_000),
        pair(DEEP, "deep", 24_000_000),
        *(threads(thread_row(count), "crossing", count, 5_000_000) for count in THREAD_COUNTS),
        threads("larson-like, 16 threads", "larson", 16, 5_000_000),
        threads("producers and consumers, 4 threads", "queue", 4, 5_000_000),
        program("sqlite3, in memory", ("sqlite3", ":memory:"), SQL.format(count=part(150_000))),
        program("python3, many objects", ("/usr/bin/python3", "-"), PYTHON.format(count=part(40_000))),
        compiler(part(250) + 1),
        storm(part(300)),
    ]
