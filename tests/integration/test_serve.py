#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`heapmark serve` and `heapmark watch`: what clients get, what Prometheus and pprof make of it, and what cannot
stop the server.

Paths and output as in test_tools.py, whose helpers it uses; MAPDEMO is the map example.
"""

import contextlib
import fcntl
import gzip
import http.client
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.parse

import test_tools as common
from test_tools import (LIBRARY, PATIENCE_SECONDS, TOOL, check, compile_c, contains, equal, finish, lacks, pprof_rows,
                        wait_ready, wait_until)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import pprof  # noqa: E402

MAPDEMO = os.path.abspath(os.environ.get("MAPDEMO", "build/examples/mapdemo"))

# Allocates in steps, one for each line of input, and says when it has done so.  Publishes gauges with names that
# are hard for Prometheus.
STEPS = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

void heapmark_gauge(const char *name, double value) __attribute__((weak));

static void *volatile kept[1000];

__attribute__((noipa)) static void retain_blocks(void)
{
	for (int i = 0; i < 1000; i++)
		kept[i] = malloc(1000);
}

__attribute__((noipa)) static void release_blocks(void)
{
	for (int i = 0; i < 1000; i++) {
		free(kept[i]);
		kept[i] = NULL;
	}
}

__attribute__((noipa)) static void forget_blocks(void)
{
	for (int i = 0; i < 100; i++) {
		void *volatile block = malloc(777);

		(void)block;
	}
}

__attribute__((noipa)) static void churn_blocks(void)
{
	for (int i = 0; i < 2000; i++) {
		void *volatile block = malloc(500);

		free(block);
	}
}

static void say(const char *text)
{
	if (write(1, text, strlen(text)) < 0)
		_exit(99);
}

int main(int argc, char **argv)
{
	char byte;

	if (heapmark_gauge != NULL) {
		heapmark_gauge("hashmap/overflow_ratio", 0.25);
		heapmark_gauge("hashmap/bucket_count", 7);
		const int is_swapped = argc > 1 && strcmp(argv[1], "swapped") == 0;

		heapmark_gauge(is_swapped ? "old/entries" : "old.entries", is_swapped ? 2 : 1);
		heapmark_gauge(is_swapped ? "old.entries" : "old/entries", is_swapped ? 1 : 2);
		heapmark_gauge("up", 0);
		heapmark_gauge("heapmark_inuse_bytes", 3);
		heapmark_gauge("9 \"lives\\\n", 0.0 / 0.0);
	}
	retain_blocks();
	say("ready\n");
	while (read(0, &byte, 1) == 1) {
		if (byte == 'c')
			churn_blocks();
		else if (byte == 'f')
			release_blocks();
		else if (byte == 'n')
			prctl(PR_SET_NAME, "a\"b\xff");
		else if (byte == 'g')
			forget_blocks();
		else if (byte == 'x')
			execl(argv[0], "second", (char *)NULL);
		else if (byte == 's')
			execle("/bin/sleep", "sleep", "1000", (char *)NULL, (char *[]){ NULL });
		else
			continue;
		say("done\n");
	}
	return argc > 5;
}
"""
RETAINED_BYTES = 1000 * 1000
CHURNED_BYTES = 2000 * 500


# 32,768 stacks with a small block each, beside a thread that turns over gigabytes in a second.
CHURN = r"""
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEVELS = 15 };
static void *volatile kept[1 << LEVELS];

__attribute__((noipa)) static void retain_at(unsigned int place, int level)
{
	if (level == LEVELS)
		kept[place] = malloc(32);
	else if ((place >> level & 1) != 0)
		retain_at(place, level + 1);
	else
		retain_at(place, level + 1);
	__asm__ volatile("");
}

__attribute__((noipa)) static void turn_over(void)
{
	void *volatile block = malloc(65536);

	memset(block, 1, 65536);
	free(block);
}

static void *turn_over_always(void *unused)
{
	for (;;)
		turn_over();
	return unused;
}

int main(void)
{
	pthread_t thread;
	char byte;

	for (unsigned int place = 0; place < 1 << LEVELS; place++)
		retain_at(place, 0);
	if (pthread_create(&thread, NULL, turn_over_always, NULL) != 0 || write(1, "ready\n", 6) != 6)
		return 1;
	return read(0, &byte, 1) == 1;
}
"""
CHURN_RETAINED_BYTES = 32 * (1 << 15)


def do(process, step):
    process.stdin.write(step.encode())
    process.stdin.flush()
    line = process.stdout.readline()
    if line not in (b"done\n", b"ready\n"):
        raise RuntimeError(f"the subject said {line!r}")


@contextlib.contextmanager
def steps(place, argument="an argument", **extra):
    """The subject, every allocation counted unless `extra` says otherwise."""
    path = os.path.join(place.path, "steps")
    if not os.path.exists(path):
        compile_c(STEPS, path)
    process = place.start(path, argument, **{"LD_PRELOAD": LIBRARY, "HEAPMARK_RATE": "1"} | extra)
    try:
        wait_ready(process)
        yield process
    finally:
        process.kill()
        process.communicate()


class Server:
    """`heapmark serve` on a free port, until the with-block ends."""

    def __init__(self, place, *arguments, **extra):
        self.process = place.start(TOOL, "serve", "-l", "127.0.0.1:0", *arguments, **extra)
        self.messages = self.process.stderr.readline().decode()
        while "serving" not in self.messages:
            line = self.process.stderr.readline().decode()
            if line == "":
                raise RuntimeError(f"no server: {self.messages}")
            self.messages += line
        self.origin = re.search(r"serving .* at (http://[^/]+)/", self.messages)[1]
        self.port = int(self.origin.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def ask(self, path, method="GET", body=None, **headers):
        """Status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        connection.request(method, path, body=body, headers={key.replace("_", "-"): value
                                                             for key, value in headers.items()})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, response.headers, content

    def follow(self, path):
        """As ask, at where it is sent on to."""
        answer = self.ask(path)
        while answer[0] == 301:
            answer = self.ask(answer[1]["Location"])
        return answer

    def text(self, path, **headers):
        status, _, content = self.ask(path, **headers)
        return status, content.decode("utf-8", "replace")

    def profile(self, place, path):
        """The profile at a path, as a file."""
        status, _, content = self.ask(path)
        equal(f"{path}: status", status, 200)
        file = os.path.join(place.path, "served.pb.gz")
        with open(file, "wb") as stream:
            stream.write(content)
        return file

    def raw(self, data):
        """What comes back for these bytes, until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(data)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while piece := client.recv(65536):
                    answer += piece
        return answer.decode("utf-8", "replace")


def field(profile, number):
    """The varint fields of this number of a profile's outermost message, last one."""
    data, at, found = gzip.decompress(open(profile, "rb").read()), 0, None

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
            found = value if key >> 3 == number else found
        else:
            size = varint()  # which moves `at` itself
            at += size
    return found


DURATION, DEFAULT_TYPE = 10, 14


def default_type(profile):
    """The type that pprof shows, which its own header names."""
    text = subprocess.run(["go", "tool", "pprof", "-top", profile], capture_output=True, text=True, check=True).stdout
    return re.search(r"^Type: (\S+)", text, re.MULTILINE)[1]


def test_command_line(place):
    def refused(name, *arguments, expect):
        status, output, errors = place.run(*arguments)
        equal(f"{name}: exit status", status, 2)
        equal(f"{name}: nothing on standard output", output, "")
        contains(f"{name}: why", errors, expect)

    refused("serve without an argument", "serve", expect=r"there is no PID, LEDGER or DIR to serve")
    refused("serve of two", "serve", "1", "2", expect=r"only one PID, LEDGER or DIR")
    refused("serve of no process", "serve", "999999999", expect=r"no such process")
    refused("serve of nothing", "serve", "./nothing", expect=r"No such file")
    refused("serve without the library", "serve", str(os.getpid()), expect=r"runs without libheapmark.so")
    refused("serve at no address", "serve", "-l", "127.0.0.1", ".", expect=r"not an address with a port")
    refused("serve at no port", "serve", "-l", "127.0.0.1:x", ".", expect=r"not an address with a port")
    refused("serve at another's address", "serve", "-l", "192.0.2.1:0", ".", expect=r"-l 192\.0\.2\.1:0")
    refused("serve under a bad name", "serve", "--allow-host", "a b", ".", expect=r"not the name of a host")
    refused("serve with no token file", "serve", "--token-file", "nothing", ".", expect=r"No such file")
    open(os.path.join(place.path, "empty"), "w").close()
    refused("serve with an empty token", "serve", "--token-file", "empty", ".", expect=r"first line is empty")
    for name, content, reason in (("NUL", b"s3\0cret\n", "a NUL"), ("blank", b"s3 cret\n", "a blank"),
                                  ("end", b"s" * 5000 + b"\n", "longer than a token may be")):
        with open(os.path.join(place.path, "token"), "wb") as stream:
            stream.write(content)
        refused(f"serve with a token's {name}", "serve", "--token-file", "token", ".", expect=reason)
    with open(os.path.join(place.path, "x.pb.gz"), "wb") as stream:
        stream.write(gzip.compress(b""))
    refused("serve of a profile", "serve", "x.pb.gz", expect=r"go tool pprof -http=: x\.pb\.gz")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        refused("serve at a busy port", "serve", "-l", f"127.0.0.1:{busy.getsockname()[1]}", ".",
                expect=r"something else listens there")
    refused("watch without an argument", "watch", expect=r"there is no PID to watch")
    refused("watch of two", "watch", "1", "2", expect=r"only one PID")
    refused("watch of no process", "watch", "999999999", expect=r"no such process")
    refused("watch every 0 seconds", "watch", "--every", "0", "1", expect=r"not a number of seconds")
    refused("watch of 0 lines", "watch", "-n", "0", "1", expect=r"not a number of lines")


def test_pprof(place):
    """The paths of net/http/pprof."""
    with steps(place) as subject, Server(place, str(subject.pid)) as server:
        contains("ready line: what to type", server.process.stderr.readline().decode(),
                 rf"go tool pprof {server.origin}/debug/pprof/heap$")
        for name, types in (("heap", "inuse_space"), ("allocs", "alloc_space")):
            status, headers, content = server.ask(f"/debug/pprof/{name}")
            equal(f"{name}: status", status, 200)
            equal(f"{name}: type", headers["Content-Type"], "application/octet-stream")
            equal(f"{name}: file", headers["Content-Disposition"], f'attachment; filename="{name}"')
            equal(f"{name}: nosniff", headers["X-Content-Type-Options"], "nosniff")
            equal(f"{name}: gzip", content[:2], b"\x1f\x8b")
            file = server.profile(place, f"/debug/pprof/{name}?gc=1")
            equal(f"{name}: what is shown first", default_type(file), types)
            equal(f"{name}: no window", field(file, DURATION), None)
            equal(f"{name}: its figures", pprof.read(file).total("retain_blocks").inuse_space, RETAINED_BYTES)
            equal(f"{name}: sound", place.run("check", file)[0], 0)

        # the same as dump's, function by function
        equal("dump", place.run("dump", "--no-labels", "-o", "dumped.pb.gz", str(subject.pid))[0], 0)
        dumped = os.path.join(place.path, "dumped.pb.gz")
        for sample_index in ("inuse_space", "alloc_space", "inuse_objects", "alloc_objects"):
            equal(f"pprof over HTTP as from a dump, {sample_index}",
                  pprof_rows(f"{server.origin}/debug/pprof/heap", sample_index), pprof_rows(dumped, sample_index))

        status, headers, content = server.ask("/debug/pprof/heap", method="HEAD")
        equal("HEAD: status and no body", (status, content), (200, b""))
        check("HEAD: length", int(headers["Content-Length"]) > 100)

        status, headers, content = server.ask("/debug/pprof/heap?debug=1")
        equal("text: type", headers["Content-Type"], "text/plain; charset=utf-8")
        text = content.decode()
        contains("text: header", text, r"^heap profile: \d+: \d+ \[\d+: \d+\] @ heap/2$")
        contains("text: a stack", text, rf"^1000: {RETAINED_BYTES} \[1000: {RETAINED_BYTES}\] @( 0x[0-9a-f]+)+$")
        contains("text: a function", text, r"^#\t0x[0-9a-f]+\tretain_blocks")
        legacy = os.path.join(place.path, "legacy.txt")
        with open(legacy, "wb") as stream:
            stream.write(content)
        equal("text: pprof reads it, with the same total", pprof_rows(legacy)[1], pprof_rows(dumped)[1])

        status, headers, content = server.ask("/debug/pprof/cmdline")
        equal("cmdline", content.split(b"\0")[1:], [b"an argument"])
        contains("index", server.text("/debug/pprof/")[1], r'href="/debug/pprof/heap\?debug=1"')
        threads = server.text("/debug/pprof/threads?debug=2")[1]
        contains("threads: head", threads, rf'^thread {subject.pid} "steps" \[sleeping in read\]:$')
        contains("threads: the stack", threads, r"^read\(\)\n\t\S+(\n.+)*\nmain\(\)\n\t/\S+/steps\S+$")

        do(subject, "n")
        content = server.ask("/debug/pprof/threads?debug=2")[2].decode()  # or it is not the UTF-8 that it says it is
        contains("threads: a name of any bytes", content, rf'^thread {subject.pid} "a\\"b\\xff" \[')

        equal("symbol: GET", server.text("/debug/pprof/symbol")[1], "num_symbols: 1\n")
        address = re.search(r"#\t(0x[0-9a-f]+)\tretain_blocks", text)[1]
        other = re.search(r"#\t(0x[0-9a-f]+)\tmain", text)[1]
        expected = {"num_symbols: 1", f"{address} retain_blocks", f"{other} main"}
        body = f"{address}+0x1+rubbish+{other}"
        equal("symbol: POST", set(server.ask("/debug/pprof/symbol", "POST", body)[2].decode().split("\n")[:-1]),
              expected)
        equal("symbol: GET with addresses", set(server.text(f"/debug/pprof/symbol?{body}")[1].split("\n")[:-1]),
              expected)
        equal("symbol: a body that is too long", server.ask("/debug/pprof/symbol", "POST", "0x1+" * 300000)[0], 413)
        equal("symbol: nothing but separators", server.ask("/debug/pprof/symbol", "POST", "+" * 1000000)[0], 200)

        for path, status, reason in (
                ("/debug/pprof/profile", 404, r"no CPU profile.*go tool pprof http://127\.0\.0\.1:\d+/debug/pprof/heap"),
                ("/debug/pprof/goroutine", 404, r"^Unknown profile"),
                ("/debug/pprof/heap?seconds=0", 400, r'^invalid value for "seconds" - must be a positive integer$'),
                ("/debug/pprof/heap?seconds=-5", 400, r'^invalid value for "seconds" - must be a positive integer$'),
                ("/debug/pprof/heap?seconds=x", 400, r'^invalid value for "seconds" - must be a positive integer$'),
                ("/debug/pprof/heap?seconds=99999999999999999999", 400, r"^invalid value"),
                ("/debug/pprof/heap?seconds=%zz", 400, r"^invalid value"),
                ("/debug/pprof/heap?seconds=3601", 400, r"at most 3600$"),
                ("/debug/pprof/heap?seconds=1&debug=1", 400, r"^seconds and debug params are incompatible$"),
                ("/debug/pprof/heap?pid=1", 404, rf"^this server serves process {subject.pid} \(steps\) alone"),
                ("/debug/pprof/heap?pid=x", 400, r'^invalid value for "pid"'),
                ("/debug/pprof/heap?pid=4294967297", 400, r'^invalid value for "pid"'),
                ("/nothing", 404, r"^nothing is here")):
            got, headers, content = server.ask(path)
            equal(f"{path}: status", got, status)
            contains(f"{path}: text", content.decode(), reason)
            equal(f"{path}: pprof prints it", (headers["X-Go-Pprof"], headers["Content-Type"]),
                  ("1", "text/plain; charset=utf-8"))
        for path, location in (("//debug/pprof/heap", "/debug/pprof/heap"), ("/debug//pprof/./heap?a=%20b&c", "/debug/pprof/heap?a=%20b&c"),
                               ("/debug/pprof/../vars", "/debug/vars"), ("/debug/pprof?pid=1", "/debug/pprof/?pid=1"),
                               ("//debug/pprof", "/debug/pprof/"), ("//evil.example/..//metrics", "/metrics"),
                               ("/.//debug/pprof/%5C%0D%0A", "/debug/pprof/%5C%0D%0A")):
            got, headers, _ = server.ask(path)
            equal(f"{path}: sent on, as by Go", (got, headers["Location"]), (301, location))
        for path in ("//", "/debug//pprof/."):
            equal(f"{path}: leads there at last", server.follow(path)[0], 200)
        for path in ("/debug", "//evil.example", "/debug/pprof/heap//", "/metrics/"):
            equal(f"{path}: is not another path", server.follow(path)[0], 404)
        contains("an encoded key", server.text("/debug/pprof/heap?%64ebug=1")[1], r"^heap profile: ")
        result = subprocess.run(["go", "tool", "pprof", "-top", server.origin], capture_output=True, text=True)
        contains("pprof without a path is told what to type", result.stderr, r"go tool pprof http://.*/debug/pprof/heap")
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            status, headers, _ = server.ask("/debug/pprof/heap", method=method)
            equal(f"{method}: status", (status, headers["Allow"]), (405, "GET, HEAD"))


def test_deltas(place):
    with steps(place) as subject, Server(place, str(subject.pid)) as server:
        # The first profile is taken when the request comes; the answer after it says what came later.
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
        connection.request("GET", "/debug/pprof/heap?seconds=4")
        wait_pending(server, 1)
        do(subject, "c")
        do(subject, "f")
        response = connection.getresponse()
        equal("delta: file", response.headers["Content-Disposition"], 'attachment; filename="heap-delta"')
        file = os.path.join(place.path, "delta.pb.gz")
        with open(file, "wb") as stream:
            stream.write(response.read())
        profile = pprof.read(file)
        equal("delta: churn", profile.total("churn_blocks"), pprof.Figures(2000, CHURNED_BYTES, 0, 0))
        equal("delta: freed", profile.total("retain_blocks"), pprof.Figures(0, 0, -1000, -RETAINED_BYTES))
        check("delta: window", 4e9 <= field(file, DURATION) < 100e9, field(file, DURATION))
        equal("delta: what is shown first", default_type(file), "inuse_space")

        fetch = subprocess.Popen(["go", "tool", "pprof", "-proto", "-seconds=4", "-output", file,
                                  f"{server.origin}/debug/pprof/allocs"], stderr=subprocess.PIPE)
        wait_pending(server, 1)
        do(subject, "c")
        fetch.communicate(timeout=PATIENCE_SECONDS)
        equal("pprof -seconds: exit status", fetch.returncode, 0)
        equal("pprof -seconds: what happened", pprof.read(file).total("churn_blocks").alloc_space, CHURNED_BYTES)

        first = pprof.read(server.profile(place, "/debug/pprof/delta_heap"))
        equal("delta_heap: at first since the start", first.total("churn_blocks").alloc_space, 2 * CHURNED_BYTES)
        do(subject, "c")
        equal("delta_heap: HEAD takes nothing", server.ask("/debug/pprof/delta_heap", method="HEAD")[0], 200)
        file = server.profile(place, "/debug/pprof/delta_heap")
        second = pprof.read(file)
        equal("delta_heap: then since the last", second.total("churn_blocks").alloc_space, CHURNED_BYTES)
        equal("delta_heap: what was not allocated anew", second.total("retain_blocks").alloc_space, 0)
        check("delta_heap: window", field(file, DURATION) > 0)
        equal("delta_heap: sound", place.run("check", file)[0], 0)

        # who goes away takes what he waits for with him
        descriptors = os.listdir(f"/proc/{server.process.pid}/fd")
        left = []
        for i in range(128):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
            client.sendall(b"GET /debug/pprof/heap?seconds=3600 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            left.append(client)
        wait_pending(server, 128)
        left[0].shutdown(socket.SHUT_WR)  # as in Go, half of the connection is enough
        wait_pending(server, 127)
        for client in left:
            client.close()
        wait_pending(server, 0)
        equal("128 went away: profiles go on", server.ask("/debug/pprof/heap")[0], 200)
        wait_until(lambda: len(os.listdir(f"/proc/{server.process.pid}/fd")) <= len(descriptors))

        # more of them than are allowed; the server answers others meanwhile
        waiting = []
        for _ in range(140):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
            client.sendall(b"GET /debug/pprof/heap?seconds=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            waiting.append(client)
        refused = 0
        while refused < 140 - 128:
            refused = 0
            for client in waiting:
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    refused += b" 503 " in client.recv(64, socket.MSG_PEEK)
            time.sleep(0.02)
        equal("too many at once: 503", refused, 140 - 128)
        equal("too many at once: others are answered", server.text("/metrics")[0], 200)
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(timeout=PATIENCE_SECONDS)
        equal("ends while they wait", status, 0)
        for client in waiting:
            client.close()


def metric(text, name, labels=""):
    match = re.search(rf"^{re.escape(name + labels)} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else None


def wait_pending(server, count):
    """Until the first profile of so many differences has been taken."""
    wait_until(lambda: metric(server.text("/metrics")[1], "heapmark_deltas_pending") == count)


def promtool(name, text):
    result = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True)
    equal(f"{name}: promtool", (result.returncode, result.stderr + result.stdout), (0, b""))


def test_metrics(place):
    with steps(place) as subject, Server(place, str(subject.pid)) as server:
        do(subject, "c")
        status, headers, content = server.ask("/metrics")
        text = content.decode()
        equal("metrics: type", headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        promtool("one process", text)
        allocated = metric(text, "heapmark_alloc_bytes_total")
        check("allocated", RETAINED_BYTES + CHURNED_BYTES <= allocated < RETAINED_BYTES + CHURNED_BYTES + 100000)
        equal("freed", metric(text, "heapmark_free_bytes_total"), CHURNED_BYTES)
        equal("in use", metric(text, "heapmark_inuse_bytes"), allocated - CHURNED_BYTES)
        equal("in use is exact", metric(text, "heapmark_inuse_stddev_bytes"), 0)
        equal("interval", metric(text, "heapmark_sampling_interval_bytes"), 1)
        equal("running", metric(text, "heapmark_process_running"), 1)
        equal("threads", metric(text, "process_threads"), 1)
        check("resident", 1e6 < metric(text, "process_resident_memory_bytes") < 1e8)
        check("virtual", metric(text, "process_virtual_memory_bytes") > metric(text, "process_resident_memory_bytes"))
        equal("descriptors", metric(text, "process_open_fds"), len(os.listdir(f"/proc/{subject.pid}/fd")))
        check("start", abs(metric(text, "process_start_time_seconds") - time.time()) < PATIENCE_SECONDS)
        check("peak", metric(text, "heapmark_inuse_peak_bytes") >= metric(text, "heapmark_inuse_bytes"))
        equal("gauge", metric(text, "hashmap_overflow_ratio"), 0.25)
        equal("gauge that ends like a counter", metric(text, "hashmap_bucket_count"), 7)
        equal("two of one name", (metric(text, "old_entries"), metric(text, "old_entries_2")), (1, 2))
        equal("one of our names", metric(text, "program_heapmark_inuse_bytes"), 3)
        equal("one of Prometheus' names", metric(text, "program_up"), 0)
        lacks("one of Prometheus' names", text, "^up ")
        contains("a name like no other, of no number", text, r"^_9__lives__ NaN$")
        contains("dumps", text, r'^heapmark_dumps_total\{result="ok"\} 0$')

        status, headers, content = server.ask("/debug/vars")
        equal("vars: type", headers["Content-Type"], "application/json; charset=utf-8")
        values = json.loads(content)
        equal("vars: command", values["cmdline"][1:], ["an argument"])
        equal("vars: in use", values["memstats"]["Alloc"], allocated - CHURNED_BYTES)
        equal("vars: counts", (values["memstats"]["Frees"], values["memstats"]["Mallocs"] >= 3000), (2000, True))
        equal("vars: gauges", (values["hashmap/overflow_ratio"], values["hashmap/bucket_count"]), (0.25, 7))
        equal("vars: no number", [value for key, value in values.items() if "lives" in key], [None])


def test_counters(place):
    """What is a counter never falls, also where samples stand for fractions of an object."""
    with steps(place, HEAPMARK_RATE="256") as subject, Server(place, str(subject.pid)) as server:
        do(subject, "f")
        last, seen, falls = {}, set(), []
        for _ in range(60):
            do(subject, "g")
            text = server.text("/metrics")[1]
            counters = re.findall(r"^# TYPE (\S+) counter$", text, re.M)
            now = {name: metric(text, name) for name in counters if re.search(rf"^{name} ", text, re.M)}
            memstats = json.loads(server.text("/debug/vars")[1])["memstats"]
            now |= {name: memstats[name] for name in ("TotalAlloc", "Mallocs", "Frees")}
            falls += [(name, last[name], value) for name, value in now.items() if value < last.get(name, 0)]
            seen.add(now["heapmark_alloc_bytes_total"])
            last = now
        check("the figures move", len(seen) > 30, seen)
        equal("counters that fell", falls, [])


def start_churn(place, **extra):
    path = os.path.join(place.path, "churn")
    compile_c(CHURN, path, "-pthread")
    process = place.start(path, LD_PRELOAD=LIBRARY, HEAPMARK_RATE="1", **extra)
    wait_ready(process)
    return process


def test_churn(place):
    """While the stacks are read one after the other, one of them allocates and frees."""
    process = start_churn(place)
    try:
        with Server(place, str(process.pid)) as server:
            last, found = -1, []
            for _ in range(10):
                text = server.text("/metrics")[1]
                allocated = metric(text, "heapmark_alloc_bytes_total")
                check("it turns memory over", allocated > last)
                last = allocated
                found.append(metric(text, "heapmark_inuse_bytes"))
            # some blocks may be live at the moment, or be counted at two moments; not what the reading takes
            check("in use", CHURN_RETAINED_BYTES <= min(found) and max(found) < CHURN_RETAINED_BYTES + (1 << 20), found)
    finally:
        process.kill()
        process.communicate()


def test_gauge_names(place):
    """One gauge is one metric, whichever process published which of its gauges first."""
    ledgers = os.path.join(place.path, "gauges")
    os.mkdir(ledgers)
    with steps(place, HEAPMARK_DIR=ledgers) as one, steps(place, "swapped", HEAPMARK_DIR=ledgers) as other, \
            Server(place, ledgers) as server:
        text = server.text("/metrics")[1]
        promtool("gauges of two processes", text)
        for process in (one, other):
            labels = rf'{{pid="{process.pid}",comm="steps"}}'
            equal("gauges", (metric(text, "old_entries", labels), metric(text, "old_entries_2", labels)), (1, 2))


def test_directory(place):
    """Processes that come and go."""
    ledgers = os.path.join(place.path, "ledgers")
    os.mkdir(ledgers)
    with Server(place, "ledgers") as server:
        status, text = server.text("/debug/pprof/heap")
        equal("none yet: status", status, 404)
        contains("none yet: what to type", text, r"heapmark run -o ledgers COMMAND")
        contains("none yet: page", server.text("/")[1], "No process has its ledger in ledgers yet")
        promtool("none yet", server.text("/metrics")[1])
        with steps(place, HEAPMARK_DIR=ledgers) as one:
            equal("one: no need to choose", server.ask("/debug/pprof/heap")[0], 200)
            with steps(place, HEAPMARK_DIR=ledgers) as two:
                status, text = server.text("/debug/pprof/heap")
                equal("two: status", status, 400)
                contains("two: which there are", text, rf"pid={one.pid} \(steps\)")
                contains("two: which there are", text, rf"pid={two.pid} \(steps\)")
                do(two, "c")
                profile = pprof.read(server.profile(place, f"/debug/pprof/heap?pid={two.pid}"))
                equal("two: that one", profile.total("churn_blocks").alloc_space, CHURNED_BYTES)
                page = server.text("/")[1]
                for process in one, two:
                    contains("page: links", page, rf'href="debug/pprof/heap\?pid={process.pid}"')
                contains("page: the links of a process keep to it", server.text(f"/debug/pprof/?pid={one.pid}")[1],
                         rf'href="/debug/pprof/heap\?debug=1&amp;pid={one.pid}"')
                text = server.text("/metrics")[1]
                promtool("two", text)
                for process in one, two:
                    check("metrics: labels", metric(text, "heapmark_inuse_bytes",
                                                    f'{{pid="{process.pid}",comm="steps"}}') >= RETAINED_BYTES)
                equal("pprof of one of them, names and all",
                      pprof_rows(f"{server.origin}/debug/pprof/heap?pid={one.pid}")[0]["retain_blocks"][0],
                      RETAINED_BYTES)

                # it executes another program: what it was before stays, under the name of its ledger
                do(two, "x")
                profile = pprof.read(server.profile(place, f"/debug/pprof/heap?pid={two.pid}"))
                equal("after exec: the new image", profile.total("churn_blocks").alloc_space, 0)
                old = f"heapmark.steps.{two.pid}.ledger"
                profile = pprof.read(server.profile(place, f"/debug/pprof/heap?ledger={old}"))
                equal("after exec: the old one", profile.total("churn_blocks").alloc_space, CHURNED_BYTES)
                contains("after exec: page", server.text("/")[1], r"<td>another program now</td>")
                promtool("after exec", server.text("/metrics")[1])
                equal("after exec: one series each", metric(server.text("/metrics")[1], "heapmark_ledgers_replaced"), 1)
            # `two` was killed
            equal("one runs: no need to choose", server.ask("/debug/pprof/heap")[0], 200)
            file = server.profile(place, f"/debug/pprof/heap?pid={two.pid}")
            check("killed: marked", any("has ended" in comment for comment in pprof.read(file).comments))
            text = server.text("/metrics")[1]
            labels = f'{{pid="{two.pid}",comm="steps"}}'
            equal("killed: in the metrics", metric(text, "heapmark_process_running", labels), 0)
            equal("killed: no memory any more", metric(text, "process_resident_memory_bytes", labels), None)
            promtool("one has ended", text)
            equal("killed: no threads", server.text(f"/debug/pprof/threads?pid={two.pid}")[0], 404)
            equal("killed: its command", server.ask(f"/debug/pprof/cmdline?pid={two.pid}")[0], 200)
            contains("killed: page", server.text("/")[1], rf'class="ended"><td class="number">{two.pid}')
            with tempfile.TemporaryDirectory(dir=place.path) as other_place:
                for name in os.listdir(ledgers):
                    if f".{two.pid}" in name:
                        os.rename(os.path.join(ledgers, name), os.path.join(other_place, name))
                with Server(place, other_place) as server_of_dead:
                    status, text = server_of_dead.text("/debug/pprof/heap")
                    equal("two ledgers of one number: status", status, 400)
                    contains("two ledgers of one number: what to type", text,
                             rf"ledger=heapmark\.steps\.{two.pid}-2\.ledger or ledger=heapmark\.steps\.{two.pid}\.ledger")
                    equal("the last of them", server_of_dead.text(f"/debug/pprof/heap?pid={two.pid}")[0], 200)
                    os.remove(os.path.join(other_place, f"heapmark.steps.{two.pid}.ledger"))
                    with open(os.path.join(other_place, "heapmark.junk.5.ledger"), "wb") as stream:
                        stream.write(b"x" * 5000)
                    equal("the only one that can be read", server_of_dead.text("/debug/pprof/heap")[0], 200)
            status, text = server.text(f"/debug/pprof/heap?pid={two.pid}")
            equal("removed: status", status, 404)
            contains("removed: why", text, rf"^no process {two.pid}, and no ledger of it in ledgers")

            status, text = server.text(f"/debug/pprof/heap?pid={os.getpid()}")
            equal("without the library: status", status, 404)
            contains("without the library: why", text, r"runs without libheapmark.so")
            with steps(place) as other:
                status, text = server.text(f"/debug/pprof/heap?pid={other.pid}")
                equal("elsewhere: status", status, 404)
                contains("elsewhere: where", text, rf"has its ledger elsewhere: /.*heapmark\.steps\.{other.pid}\.ledger")

            for name, data in (("heapmark.bad.77.ledger", b"HEAPMARK" + bytes(100)), ("heapmark.no.78.ledger", b"x")):
                with open(os.path.join(ledgers, name), "wb") as stream:
                    stream.write(data)
                status, text = server.text(f"/debug/pprof/heap?ledger={name}")
                equal(f"{name}: status", status, 503)
                contains(f"{name}: why", text, "heapmark check")
            os.mkfifo(os.path.join(ledgers, "heapmark.fifo.79.ledger"))
            os.symlink("/etc/passwd", os.path.join(ledgers, "heapmark.link.80.ledger"))
            os.mkdir(os.path.join(ledgers, 'heapmark.<b>"&.81.ledger'))
            for name in os.listdir(ledgers):
                if str(one.pid) not in name:
                    status, text = server.text("/debug/pprof/heap?ledger=" + urllib.parse.quote(name))
                    equal(f"{name}: status", status, 503)
            equal("outside of the directory", server.text("/debug/pprof/heap?ledger=../steps")[0], 404)
            text = server.text("/metrics")[1]
            promtool("bad ones", text)
            equal("bad ones are counted", metric(text, "heapmark_ledgers_unreadable"), 5)
            descriptors = len(os.listdir(f"/proc/{server.process.pid}/fd"))
            for path in ("/", "/metrics", f"/debug/pprof/heap?pid={one.pid}", "/debug/pprof/heap", "/debug/vars",
                         "/debug/pprof/delta_heap", "/debug/pprof/heap?pid=1", "/debug/pprof/symbol"):
                for _ in range(5):
                    server.ask(path)
            check("no descriptor is left open",
                  len(os.listdir(f"/proc/{server.process.pid}/fd")) <= descriptors + 2, descriptors)
            page = server.text("/")[1]
            lacks("a name is no markup", page, "<b>")
            odd = "heapmark.a b+&#%\t.82.ledger"
            shutil.copy(os.path.join(ledgers, f"heapmark.steps.{one.pid}.ledger"), os.path.join(ledgers, odd))
            link = "ledger=" + urllib.parse.quote(odd)
            contains("page: a link to any name", server.text("/")[1], re.escape(f'href="debug/pprof/heap?{link}"'))
            contains("index: links to any name", server.text(f"/debug/pprof/?{link}")[1],
                     re.escape(f'href="/debug/pprof/heap?debug=1&amp;{link}"'))
            for name in odd, f"heapmark.steps.{one.pid}.ledger":
                os.remove(os.path.join(ledgers, name))
            status, text = server.text(f"/debug/pprof/heap?pid={one.pid}")
            equal("deleted while it is written to: status", status, 404)
            contains("deleted while it is written to: what to type", text,
                     rf"^\S+\.{one.pid}\.ledger: was deleted while process {one.pid} writes.*heapmark serve {one.pid}$")
            contains("a name is shown", page, "heapmark.&lt;b&gt;&quot;&amp;.81.ledger")
        shutil.rmtree(ledgers)
        equal("without the directory: status", server.text("/metrics")[0], 404)


def test_ends(place):
    """A process that ends, executes, or gives its number to another while it is served by its number."""
    with steps(place) as subject, Server(place, str(subject.pid)) as server:
        do(subject, "x")
        do(subject, "c")
        profile = pprof.read(server.profile(place, "/debug/pprof/heap"))
        equal("exec: the new image", profile.total("churn_blocks").alloc_space, CHURNED_BYTES)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
        connection.request("GET", "/debug/pprof/heap?seconds=4")
        wait_pending(server, 1)
        do(subject, "c")
        finish(subject)
        response = connection.getresponse()
        equal("a delta over its end", response.status, 200)
        delta = os.path.join(place.path, "delta.pb.gz")
        with open(delta, "wb") as stream:
            stream.write(response.read())
        check("a delta over its end: marked", any("has ended" in comment for comment in pprof.read(delta).comments))
        equal("its ledger is gone", place.files("heapmark.second*.ledger"), [])
        file = server.profile(place, "/debug/pprof/heap")
        equal("its last figures", pprof.read(file).total("churn_blocks").alloc_space, 2 * CHURNED_BYTES)
        check("marked", any("has ended" in comment for comment in pprof.read(file).comments))
        equal("metrics: marked", metric(server.text("/metrics")[1], "heapmark_process_running"), 0)
        equal("vars: marked", json.loads(server.text("/debug/vars")[1])["heapmark"]["running"], False)
    with steps(place) as subject, Server(place, str(subject.pid)) as server:
        subject.stdin.write(b"s")
        subject.stdin.flush()
        wait_until(lambda: os.readlink(f"/proc/{subject.pid}/exe").endswith("sleep"))
        profile = pprof.read(server.profile(place, "/debug/pprof/heap"))
        equal("it executes a program without the library's figures: the last ones",
              profile.total("retain_blocks").inuse_space, RETAINED_BYTES)
        check("marked: it has not ended", any("executes another program now" in line for line in profile.comments))
        equal("its ledger is not written to", metric(server.text("/metrics")[1], "heapmark_process_running"), 0)
        contains("page: it has not ended", server.text("/")[1], "<td>another program now</td>")
        contains("index: it has not ended", server.text("/debug/pprof/")[1], "executes another program now")
        status, text = server.text("/debug/pprof/threads?debug=2")
        equal("its threads", (status, re.findall('^thread .*" ', text, re.M)), (200, [f'thread {subject.pid} "sleep" ']))
    with steps(place) as subject:
        ledger = f"heapmark.steps.{subject.pid}.ledger"
        with Server(place, ledger) as server:
            equal("a ledger: status", server.ask("/debug/pprof/heap")[0], 200)
            equal("a ledger: running", metric(server.text("/metrics")[1], "heapmark_process_running"), 1)
            os.remove(os.path.join(place.path, ledger))
            equal("deleted while its process runs", server.ask("/debug/pprof/heap")[0], 200)
            subject.kill()
            subject.wait()
            status, text = server.text("/debug/pprof/heap")
            equal("deleted, and its process has ended: status", status, 404)
            contains("deleted, and its process has ended: why", text, rf"was deleted, and process {subject.pid}")
            status, text = server.text("/metrics")
            equal("deleted, and its process has ended: status of metrics", status, 404)
            contains("deleted, and its process has ended: why there are no metrics", text, rf"^\S+: was deleted, and process")
            contains("deleted, and its process has ended: page", server.text("/")[1],
                     rf"There is nothing to show: \S+: was deleted, and process {subject.pid}")
            equal("metrics then", server.text("/metrics")[0], 404)
    with steps(place) as subject:
        ledger = f"heapmark.steps.{subject.pid}.ledger"
        subject.kill()
        subject.wait()
        with Server(place, ledger) as server:
            equal("of a killed process: status", server.ask("/debug/pprof/heap")[0], 200)
            os.truncate(os.path.join(place.path, ledger), 4)
            status, text = server.text("/debug/pprof/heap")
            equal("cut off while it is served: status", status, 503)


# as_number PID COMMAND...: runs it as the process of this number, and ends with it.  Others are given the numbers
# they would be given anyway: to wind back the kernel's counter would have them meet numbers again.
AS_NUMBER = r"""
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	pid_t pid = argc > 2 ? atoi(argv[1]) : 0;
	struct clone_args arguments = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1 };
	const long made = syscall(SYS_clone3, &arguments, sizeof(arguments));

	if (made < 0) {
		perror("as_number: clone3");
		return 125;
	}
	if (made == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[2], &argv[2]);
		_exit(127);
	}
	return waitpid(pid, NULL, 0) != pid;
}
"""


def test_reused_number(place):
    """The number of a process that has ended is given to another one, which has the library too."""
    with steps(place) as subject, Server(place, str(subject.pid)) as server:
        watch = place.start(TOOL, "watch", "--every", "86400", str(subject.pid))
        watch.stdout.readline()
        do(subject, "c")
        pid = subject.pid
        subject.kill()
        subject.communicate()
        equal("watch has ended with the first", watch.wait(timeout=PATIENCE_SECONDS), 0)
        watch.communicate()
        if os.geteuid() != 0:
            print("skipped: a number that is given to another process (only root may choose it)")
            return
        compile_c(AS_NUMBER, os.path.join(place.path, "as_number"))
        other = place.start(os.path.join(place.path, "as_number"), str(pid), "env", f"LD_PRELOAD={LIBRARY}", "HEAPMARK_RATE=1",
                            os.path.join(place.path, "steps"))
        try:
            wait_ready(other)
            file = server.profile(place, "/debug/pprof/heap")
            equal("served: the first", pprof.read(file).total("churn_blocks").alloc_space, CHURNED_BYTES)
            check("served: marked", any("has ended" in comment for comment in pprof.read(file).comments))
            text = server.text("/metrics")[1]
            equal("metrics: ended, and no memory of the other's",
                  (metric(text, "heapmark_process_running"), metric(text, "process_threads")), (0, None))
            with Server(place, str(pid)) as another:
                file = another.profile(place, "/debug/pprof/heap")
                equal("the other, for who asks for it", pprof.read(file).total("churn_blocks").alloc_space, 0)
        finally:
            other.kill()
            other.communicate()


def test_access(place):
    with steps(place) as subject:
        with Server(place, "--allow-host", "Profiles.example", str(subject.pid)) as server:
            for host, status in (("localhost", 200), ("LOCALHOST:1", 200), ("x.localhost", 200), ("127.0.0.1", 200),
                                 ("127.1.2.3:80", 200), ("[::1]:99", 200), ("profiles.EXAMPLE:443", 200),
                                 ("profiles.example.", 200), ("profiles.example.:", 200), ("evil.example", 403), ("localhost.evil.example", 403),
                                 ("127.0.0.1.evil.example", 403), ("10.0.0.1", 403), ("[::1", 400), ("", 400),
                                 ("a b", 400), ("localhost:x", 400), ("localhost:99999", 400), ("a" * 300, 400)):
                equal(f"Host {host[:40]!r}: status", server.text("/metrics", Host=host)[0], status)
            contains("refused: what to type", server.text("/", Host="evil.example")[1], r"--allow-host evil\.example")
            contains("two hosts", server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n"), r"^HTTP/1\.1 400")
            contains("no host", server.raw(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), r"^HTTP/1\.1 400")
            contains("no host in HTTP/1.0", server.raw(b"GET /metrics HTTP/1.0\r\n\r\n"), r"^HTTP/1\.. 200")
            for target, host, status in (
                    (b"http://127.0.0.1:1/metrics", b"localhost", 200), (b"HTTP://profiles.example/metrics", b"localhost", 200),
                    (b"http://[::1]", b"localhost", 200), (b"http://localhost?pid=x", b"localhost", 200),
                    (b"http://evil/", b"localhost", 403), (b"http://localhost/", b"evil", 403), (b"http://a@localhost/", b"localhost", 400),
                    (b"http:///metrics", b"localhost", 400), (b"https://localhost/", b"localhost", 400), (b"*", b"localhost", 400),
                    (b"/metrics", b"localhost ", 200), (b"/metrics", b" \tlocalhost:1\t ", 200), (b"/metrics", b"localhost:", 200)):
                answer = server.raw(b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (target, host))
                contains(f"{target} at {host}", answer, rf"^HTTP/1\.1 {status} ")
            contains("another's target without a host", server.raw(b"GET http://evil/ HTTP/1.0\r\n\r\n"), r"^HTTP/1\.. 403")
            lacks("loopback: no warning", server.messages, "warning")
        token = os.path.join(place.path, "token")
        with open(token, "w") as stream:
            stream.write("s3cret  \nsecond line\n")
        os.chmod(token, 0o644)
        with Server(place, "--token-file", "token", str(subject.pid)) as server:
            contains("token for all to read: warning", server.messages, r"warning: --token-file token: others may read")
            for authorization, status in (("", 401), ("Bearer", 401), ("Bearer s3cre", 401), ("Bearer s3crets3cret", 401),
                                          ("Bearer s3cretx", 401), ("Bearer  s3cret \t", 200), ("s3cret", 401), ("Bearer s3cret", 200),
                                          ("bearer s3cret", 200)):
                equal(f"{authorization!r}: status", server.text("/metrics", Authorization=authorization)[0], status)
            status, headers, _ = server.ask("/metrics")
            equal("no token", (status, headers["WWW-Authenticate"]), (401, 'Bearer realm="heapmark"'))
        os.chmod(token, 0o600)
        for name, content in (("blanks before it", b" \t s3cret\n"), ("much behind it", b"s3cret\n" + b"#" * 5000)):
            with open(token, "wb") as stream:
                stream.write(content)
            with Server(place, "--token-file", "token", str(subject.pid)) as server:
                lacks(f"token with {name}, for us alone: no warning", server.messages, "warning")
                equal(f"token with {name}: status", server.text("/metrics", Authorization="Bearer s3cret")[0], 200)
        with Server(place, "--allow-host", "[fe80::1]", "--allow-host", "A.example.", str(subject.pid)) as server:
            equal("--allow-host of an address", server.text("/metrics", Host="[fe80::1]:1")[0], 200)
            equal("--allow-host with a dot at its end", server.text("/metrics", Host="a.example")[0], 200)
        with Server(place, "-l", "0.0.0.0:0", str(subject.pid)) as server:
            contains("all addresses: warning", server.messages, r"warning: 0\.0\.0\.0:\d+ can be reached from other machines")
            equal("all addresses: the one that was reached", server.text("/metrics", Host="127.0.0.1")[0], 200)
            equal("all addresses: others", server.text("/metrics", Host="evil.example")[0], 403)
        with Server(place, "-l", "[::1]:0", str(subject.pid)) as server:
            contains("IPv6: the ready line", server.messages, r"at http://\[::1\]:\d+/")
            lacks("IPv6 loopback: no warning", server.messages, "warning")
        everywhere(place, subject)
        if os.geteuid() == 0:
            unprivileged(place, subject)


# A machine that has no IPv6.
NO_IPV6 = r"""
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int socket(int domain, int type, int protocol)
{
	if (domain != AF_INET6)
		return syscall(SYS_socket, domain, type, protocol);
	errno = EAFNOSUPPORT;
	return -1;
}
"""


def everywhere(place, subject):
    """No address, or that of all."""
    def status(server, address, host):
        connection = http.client.HTTPConnection(address, server.port, timeout=PATIENCE_SECONDS)
        connection.request("GET", "/metrics", headers={"Host": host})
        status = connection.getresponse().status
        connection.close()
        return status

    for address in ":0", "[]:0", "[::]:0":
        with Server(place, "-l", address, str(subject.pid)) as server:
            contains(f"-l {address}: warning", server.messages, r"warning: \[::\]:\d+ can be reached from other machines")
            contains(f"-l {address}: the ready line", server.messages, r"at http://localhost:\d+/")
            for reached, host, expected in (("127.0.0.1", "127.0.0.1", 200), ("::1", "[::1]:1", 200), ("127.0.0.1", "0.0.0.0", 200),
                                            ("127.0.0.1", "[::]", 200), ("127.0.0.1", "evil.example", 403),
                                            ("::1", "10.0.0.1", 403), ("127.0.0.1", "[::ffff:127.0.0.1]", 200)):
                equal(f"-l {address}: {host} at {reached}", status(server, reached, host), expected)
            _, _, errors = place.run("serve", "-l", f":{server.port}", str(subject.pid))
            contains(f"-l {address}: no second one", errors, "something else listens there")
    library = os.path.join(place.path, "no_ipv6.so")
    compile_c(NO_IPV6, library, "-shared", "-fPIC")
    with Server(place, "-l", ":0", str(subject.pid), LD_PRELOAD=library,
                ASAN_OPTIONS="verify_asan_link_order=0") as server:
        contains("no IPv6: warning", server.messages, r"warning: 0\.0\.0\.0:\d+ can be reached")
        equal("no IPv6: IPv4", status(server, "127.0.0.1", "127.0.0.1"), 200)


def unprivileged(place, subject):
    """Ledgers of another user."""
    def as_nobody():
        os.setgid(65534)
        os.setuid(65534)

    os.chmod(place.path, 0o755)
    tool = [TOOL, "serve", "-l", "127.0.0.1:0"]
    result = subprocess.run([*tool, str(subject.pid)], cwd=place.path, preexec_fn=as_nobody, capture_output=True)
    equal("another user's process: exit status", result.returncode, 2)
    contains("another user's process: why", result.stderr.decode(), r"a process of another user.*\n.*sudo heapmark serve")
    process = subprocess.Popen([*tool, "."], cwd=place.path, preexec_fn=as_nobody, stderr=subprocess.PIPE)
    port = int(re.search(rb":(\d+)/", process.stderr.readline())[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    connection.request("GET", f"/debug/pprof/heap?pid={subject.pid}")
    response = connection.getresponse()
    equal("another user's ledger: status", response.status, 403)
    contains("another user's ledger: why", response.read().decode(), r"another user")
    connection.request("GET", "/")
    contains("another user's ledger: page", connection.getresponse().read().decode(), r"of another user")

    def text(path):
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    # The ledger may be read, since somebody saw to it; the process may not be looked at.
    os.chmod(os.path.join(place.path, f"heapmark.steps.{subject.pid}.ledger"), 0o644)
    labels = f'{{pid="{subject.pid}",comm="steps"}}'
    metrics = text("/metrics")
    promtool("a process that is hidden", metrics)
    check("hidden: in use", metric(metrics, "heapmark_inuse_bytes", labels) >= RETAINED_BYTES, metrics)
    for name in ("heapmark_process_running", "heapmark_allocator_mapped_bytes", "heapmark_allocator_free_bytes",
                 "process_resident_memory_bytes"):
        equal(f"hidden: {name} is absent", metric(metrics, name, labels), None)
    contains("hidden: page", text("/"), r"not ours to look at")
    contains("hidden: index", text(f"/debug/pprof/?pid={subject.pid}"), r"cannot be looked at")
    connection.request("GET", f"/debug/pprof/threads?debug=2&pid={subject.pid}")
    response = connection.getresponse()
    equal("hidden: threads: status", response.status, 403)
    contains("hidden: threads: why", response.read().decode(), r"a process of another user")
    values = json.loads(text(f"/debug/vars?pid={subject.pid}"))
    equal("hidden: vars", (values["heapmark"]["running"], "HeapSys" in values["memstats"]), (None, False))
    contains("another's, without a ledger here", text(f"/debug/vars?pid={os.getpid()}"),
             rf"^process {os.getpid()} has no ledger in \.; where it has one cannot be told: a process of another user")
    process.terminate()
    equal("another user's server ends", process.wait(timeout=PATIENCE_SECONDS), 0)
    process.stderr.close()


def test_ignored_signals(place):
    """What `nohup` and a script's `&` have ignored stays ignored; the rest ends it."""
    def ignore(*numbers):
        return lambda: [signal.signal(number, signal.SIG_IGN) for number in numbers]

    def is_pending(process, number):
        with open(f"/proc/{process.pid}/status") as status:
            return any(int(line.split()[1], 16) >> (number - 1) & 1
                       for line in status if line.startswith(("SigPnd", "ShdPnd")))

    with steps(place) as subject:
        pid = str(subject.pid)
        for name, arguments, status, said in (
                ("serve", ("-l", "127.0.0.1:0", pid), 0, r"ended by signal 15"),
                ("watch", ("--every", "0.05", pid), 128 + signal.SIGTERM, ""),
                ("run", ("-o", ".", "sh", "-c", "echo ready; exec sleep 1000"), 128 + signal.SIGTERM, "")):
            for number in signal.SIGHUP, signal.SIGINT:
                process = subprocess.Popen([TOOL, name, *arguments], cwd=place.path, preexec_fn=ignore(number),
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=place.environment())
                (process.stderr if name == "serve" else process.stdout).readline()
                process.send_signal(number)
                wait_until(lambda: not is_pending(process, number))
                process.send_signal(signal.SIGTERM)
                errors = process.communicate(timeout=PATIENCE_SECONDS)[1].decode()
                equal(f"{name}: {number.name} is ignored, SIGTERM is not", process.returncode, status)
                contains(f"{name}: {number.name}: what it says", errors, said)


def resident(pid):
    with open(f"/proc/{pid}/status") as stream:
        return int(re.search(r"VmRSS:\s+(\d+)", stream.read())[1]) << 10


def test_hostile(place):
    """What clients may do to the server without stopping it."""
    with steps(place) as subject, Server(place, str(subject.pid)) as server:
        server.ask("/debug/pprof/heap")
        before = resident(server.process.pid)
        half_open = []
        for i in range(300):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
            client.sendall((b"GET /debug/pprof/heap HTTP/1.1\r\nHost: localhost\r\nX: ", b"G", b"", b"POST /debug/pprof/"
                            b"symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n0x1+")[i % 4])
            half_open.append(client)
        for path in ("/debug/pprof/heap", "/metrics", "/debug/vars", "/"):
            equal(f"300 half-open requests: {path}", server.ask(path)[0], 200)
        header = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n"
        contains("a header of 1 MiB", server.raw(header), r"^(HTTP/1\.. 431|$)")
        many = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(100000))
        contains("100000 headers", server.raw(many + b"\r\n"), r"^(HTTP/1\.. 431|$)")
        contains("a path of 1 MiB", server.raw(b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\n\r\n"), r"^(HTTP/1\.. 4\d\d|$)")
        long_path = b"GET /" + b"%41" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        contains("a path that is longer than any", server.raw(long_path), r"^HTTP/1\.. 400")
        for data in (b"\0" * 1000 + b"\r\n\r\n", b"\r\n" * 1000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", os.urandom(5000),
                     b"GET /%00 HTTP/1.0\r\n\r\n", b"GET /% HTTP/1.0\r\n\r\n", b"GET /?%00=%zz&&&==& HTTP/1.0\r\n\r\n",
                     b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
                     b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n"):
            with socket.create_connection(("127.0.0.1", server.port)) as client, contextlib.suppress(ConnectionError):
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(PATIENCE_SECONDS)
                while client.recv(65536):
                    pass
        equal("rubbish: it goes on", server.ask("/debug/pprof/heap")[0], 200)
        for _ in range(200):  # who asks and does not wait for the answer
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"GET /debug/pprof/heap HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: server.ask("/debug/pprof/heap")[0] == 200)
        pipelined = server.raw(b"GET /debug/pprof/cmdline HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10 +
                               b"GET /nothing HTTP/1.0\r\n\r\n")
        equal("ten requests in one go", pipelined.count("HTTP/1.1 200 OK"), 10)
        grown = resident(server.process.pid) - before
        check("memory stays bounded", grown < 64 << 20, grown)
        for client in half_open:
            client.close()
        server.process.send_signal(signal.SIGINT)
        output, errors = server.process.communicate(timeout=PATIENCE_SECONDS)
        equal("SIGINT: exit status, nothing on standard output", (server.process.returncode, output), (0, b""))
        contains("SIGINT: what it says", errors.decode(), r"ended by signal 2, after \d+ profiles")


def unread_bytes(port):
    """What connections to this port have in their sockets that was not read by the server."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(int(row[4].split(":")[1], 16) for row in rows if int(row[1].split(":")[1], 16) == port and row[3] != "0A")


def test_bodies(place):
    """Bodies that are all there but for their last byte."""
    size = (1 << 20) - 1
    with steps(place) as subject, Server(place, str(subject.pid)) as server:
        server.ask("/debug/pprof/heap")

        def send_bodies(request, count):
            clients = []
            for _ in range(count):
                client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
                client.sendall(b"%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" %
                               (request, size) + b"+" * (size - 1))
                clients.append(client)
            wait_until(lambda: unread_bytes(server.port) == 0)
            return clients

        def end_bodies(clients):
            statuses = []
            for client in clients:
                client.sendall(b"+")
                answer = b""
                while piece := client.recv(65536):
                    answer += piece
                client.close()
                statuses.append(int(answer.split()[1]))
            return statuses

        before = resident(server.process.pid)
        clients = send_bodies(b"GET /debug/pprof/cmdline", 100)
        grown = resident(server.process.pid) - before
        check("a body that nobody reads is not kept", grown < 32 << 20, grown)
        equal("a body that nobody reads does no harm", set(end_bodies(clients)), {200})
        clients = send_bodies(b"POST /debug/pprof/symbol", 100)
        grown = resident(server.process.pid) - before
        check("bodies are bounded together", grown < 48 << 20, grown)
        statuses = end_bodies(clients)
        check("bodies beyond the bound are refused", statuses.count(503) >= 100 - 16, statuses)
        equal("others are taken", set(statuses), {200, 503})
        equal("then all goes on", server.ask("/debug/pprof/symbol", "POST", "+" * size)[0], 200)


class SlowReader:
    """A client that takes an answer of tens of megabytes, much more than fits into what the kernel keeps of it."""

    def __init__(self, server, path):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.response = http.client.HTTPResponse(self.socket)
        self.response.begin()
        self.length = int(self.response.headers["Content-Length"])
        self.taken = 0
        check("an answer that does not fit", self.length > 10 << 20, self.length)

    def take(self, count):
        try:
            self.taken += len(self.response.read(count))
        except (ConnectionError, http.client.IncompleteRead):
            pass

    def close(self):
        self.response.close()
        self.socket.close()


def test_slow_clients(place):
    """Who moves a byte now and then is not silent, and is cut off all the same."""
    ledgers = os.path.join(place.path, "slow")
    os.mkdir(ledgers)
    large = start_churn(place, HEAPMARK_DIR=ledgers)
    with steps(place, HEAPMARK_DIR=ledgers) as subject, Server(place, ledgers) as server:
        reader = SlowReader(server, f"/debug/pprof/heap?debug=1&pid={large.pid}")
        begins = {"a request line": b"G", "headers": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
                  "a body": b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
                  "a second request": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\nG"}
        clients = {}
        for name, begin in begins.items():
            clients[name] = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
            clients[name].sendall(begin)
        begun = time.monotonic()
        while clients and time.monotonic() - begun < PATIENCE_SECONDS:
            reader.take(40000)
            for name, client in list(clients.items()):
                try:
                    client.sendall(b"x")
                    client.setblocking(False)
                    ended = client.recv(65536) == b""
                except BlockingIOError:
                    ended = False
                except ConnectionError:
                    ended = True
                client.setblocking(True)
                if ended:
                    client.close()
                    del clients[name]
            time.sleep(1)
        equal("cut off: who sends drop by drop", list(clients), [])
        check("cut off: not before its time", time.monotonic() - begun > 25)
        equal("others are answered", server.ask(f"/debug/pprof/heap?pid={subject.pid}")[0], 200)
        reader.take(reader.length)
        equal("not cut off: who takes an answer slowly, but steadily", reader.taken, reader.length)
        reader.close()
        large.kill()
        large.communicate()


def test_prometheus(place):
    """A real one, which scrapes the map example."""
    ledgers = os.path.join(place.path, "ledgers")
    os.mkdir(ledgers)
    mapdemo = place.start(MAPDEMO, "window", "2000000000", "100000", LD_PRELOAD=LIBRARY, HEAPMARK_DIR=ledgers,
                          HEAPMARK_RATE="64K")
    prometheus = None
    try:
        with Server(place, "ledgers") as server:
            labels = f'{{pid="{mapdemo.pid}",comm="mapdemo"}}'

            def is_filled():
                text = server.text("/metrics")[1]
                return metric(text, "hashmap_overflow_ratio", labels) is not None and \
                    metric(text, "heapmark_inuse_bytes", labels) > 1e6

            wait_until(is_filled)
            mapdemo.send_signal(signal.SIGSTOP)  # figures stand still; it is read all the same
            with open(os.path.join(place.path, "prometheus.yml"), "w") as stream:
                stream.write("global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: heapmark\n  static_configs:\n"
                             f"  - targets: ['127.0.0.1:{server.port}']\n")
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            with open(os.path.join(place.path, "prometheus.log"), "wb") as log:
                prometheus = subprocess.Popen(
                    ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}",
                     "--storage.tsdb.path=data"], cwd=place.path, stdout=log, stderr=log)

            def query(expression):
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
                    connection.request("GET", "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
                    answer = json.loads(connection.getresponse().read())
                    connection.close()
                    return answer["data"]["result"]
                except (OSError, ValueError, KeyError):
                    return []  # it is not up yet

            wait_until(lambda: query("heapmark_inuse_bytes") and query("hashmap_overflow_ratio"))
            text = server.text("/metrics")[1]
            for name in ("heapmark_inuse_bytes", "hashmap_overflow_ratio", "hashmap_bucket_count"):
                results = query(name)
                equal(f"{name}: series", [(result["metric"]["pid"], result["metric"]["comm"]) for result in results],
                      [(str(mapdemo.pid), "mapdemo")])
                equal(f"{name}: value", [float(result["value"][1]) for result in results], [metric(text, name, labels)])
            check("in use", metric(text, "heapmark_inuse_bytes", labels) > 1e6)
            equal("the scrape is up", [result["value"][1] for result in query('up{job="heapmark"}')], ["1"])
    finally:
        if prometheus is not None:
            prometheus.kill()
            prometheus.wait()
        mapdemo.kill()
        mapdemo.communicate()


LINE = (r"@\d+\.\ds rss \S+[BKMG] inuse \S+[BKMG] ±\S+% \([+-]\S+[BKMG]\) alloc \S+[BKMG]/s free \S+[BKMG]/s "
        r"live \S+ threads \d+")


def test_watch_lines(place):
    with steps(place) as subject:
        watch = place.start(TOOL, "watch", "--every", "0.2", str(subject.pid))
        first = watch.stdout.readline().decode()
        contains("a line, at once", first, rf"^{LINE}\n$")
        contains("first line: since the start", first, r"inuse (\S+) ±0% \(\+\1\)")
        contains("first line: what is live", first, r"live 1\.0k threads 1$")
        do(subject, "f")
        line = watch.stdout.readline().decode()
        while "(+0B)" in line:
            line = watch.stdout.readline().decode()
        contains("what was freed", line, r"\(-97[67]K\) alloc 0B/s free \d")
        finish(subject)
        output, errors = watch.communicate(timeout=PATIENCE_SECONDS)
        equal("the process ends: exit status", watch.returncode, 0)
        contains("the process ends: said", errors.decode(), rf"steps\[{subject.pid}\] has ended")
        lacks("no escapes in a pipe", output.decode(), r"\x1b")
    with steps(place) as subject:
        status, output, errors = place.run("watch", "-n", "3", "--every", "0.05", str(subject.pid))
        equal("-n: exit status and lines", (status, len(re.findall(LINE, output))), (0, 3))
        watch = place.start(TOOL, "watch", str(subject.pid))
        watch.stdout.readline()
        do(subject, "x")
        contains("exec: goes on", watch.stdout.readline().decode(), LINE)
        watch.send_signal(signal.SIGTERM)
        equal("SIGTERM", watch.wait(timeout=PATIENCE_SECONDS), 128 + signal.SIGTERM)
        watch.communicate()
        subject.kill()
        subject.wait()
        status, _, errors = place.run("watch", f"heapmark.steps.{subject.pid}.ledger")
        equal("a ledger of one that has ended: exit status", status, 2)
        contains("a ledger of one that has ended: what to type", errors, r"heapmark top heapmark\.steps")


class Screen:
    """A terminal, and what the command writes to it."""

    def __init__(self, place, *arguments, rows=24, columns=100):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(place.path)
            os.execve(TOOL, [TOOL, *arguments], place.environment())
        self.resize(rows, columns)
        # Without it ^C throws away what has been written and not been read yet, the last line at times among it.
        settings = termios.tcgetattr(self.terminal)
        settings[3] |= termios.NOFLSH
        termios.tcsetattr(self.terminal, termios.TCSANOW, settings)
        self.text = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, pattern):
        """What has come up to the pattern, which is taken away."""
        while (match := re.search(pattern, self.text)) is None:
            try:
                piece = os.read(self.terminal, 65536)
            except OSError:
                piece = b""
            if piece == b"":
                raise RuntimeError(f"no {pattern!r} on the screen: {self.text[-2000:]!r}")
            self.text += piece.decode("utf-8", "replace")
        before, self.text = self.text[:match.end()], self.text[match.end():]
        return before

    def finish(self):
        with contextlib.suppress(OSError):
            while piece := os.read(self.terminal, 65536):
                self.text += piece.decode("utf-8", "replace")
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), self.text


def widest(frame):
    lines = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", frame).split("\r\n")
    return max(len(line.rstrip("\r")) for line in lines)


def displayed(text, rows, columns):
    """What a terminal shows of this, that was full of X before."""
    cells = [["X"] * columns for _ in range(rows)]
    row = column = 0
    for sequence, letter in re.findall(r"\x1b\[([^A-Za-z]*[A-Za-z])|([^\x1b])", text):
        if letter == "\r":
            column = 0
        elif letter == "\n":
            row += 1
        elif letter:
            if column == columns:  # only now: the cursor stays on the last one
                row, column = row + 1, 0
        if row == rows:
            cells, row = cells[1:] + [[" "] * columns], rows - 1
        if letter not in ("", "\r", "\n"):
            cells[row][column] = letter
            column += 1
        if sequence == "H":
            row = column = 0
        elif sequence in ("K", "J"):
            here = min(column, columns - 1)
            cells[row][here:] = [" "] * (columns - here)
            if sequence == "J":
                cells[row + 1:] = [[" "] * columns for _ in cells[row + 1:]]
    return ["".join(line).rstrip() for line in cells]


def test_watch_small_screen(place):
    """Nothing wraps and nothing moves up, however small the terminal."""
    with steps(place) as subject:
        labels = [f"steps[{subject.pid}]", "         @", "rss ", "inuse ", "alloc ", "free ", "live ", "threads "]
        for rows, columns in ((24, 80), (9, 80), (8, 80), (7, 80), (3, 52), (1, 80), (12, 20), (8, 26), (5, 12), (2, 3), (1, 1)):
            screen = Screen(place, "watch", "--every", "0.05", str(subject.pid), rows=rows, columns=columns)
            for _ in range(4):  # the first was perhaps drawn before the terminal had its size
                screen.read_until(r"\x1b\[H")
            frame = "\x1b[H" + screen.read_until(r"(?=\x1b\[H)")
            shown = displayed(frame, rows, columns)
            expected = [label[:columns].rstrip() for label in labels[:rows]] + [""] * (rows - len(labels))
            equal(f"{rows} rows of {columns}", [line[:len(label)] for line, label in zip(shown, expected)], expected)
            equal(f"{rows} rows of {columns}: nothing below", shown[len(labels):], [""] * (rows - len(labels)))
            os.kill(screen.pid, signal.SIGTERM)
            screen.finish()


def test_watch_screen(place):
    with steps(place) as subject:
        screen = Screen(place, "watch", "--every", "0.1", str(subject.pid))
        first = screen.read_until(r"\x1b\[J")
        contains("takes another screen", first, r"\x1b\[\?1049h\x1b\[\?25l")
        contains("title", first, rf"steps\[{subject.pid}\]")
        do(subject, "c")
        do(subject, "f")
        screen.read_until(r"inuse[^\r]*[▁▂▃▅]*▇[▁▂▃▅▇]*▁")
        check("a high bar before a low one", True)
        screen.resize(10, 60)
        frame = screen.read_until(r"\x1b\[J") and screen.read_until(r"\x1b\[J") and screen.read_until(r"\x1b\[J")
        check("resized: nothing is wider", widest(frame) <= 60, frame)
        screen.resize(10, 20)
        frame = screen.read_until(r"\x1b\[J") and screen.read_until(r"\x1b\[J") and screen.read_until(r"\x1b\[J")
        lacks("narrow: no bars", frame, "[▁▂▃▅▇]")
        os.write(screen.terminal, b"\x03")
        status, rest = screen.finish()
        equal("^C: exit status", status, 0)
        contains("^C: the screen is given back, a line stays", rest, rf"\x1b\[\?25h\x1b\[\?1049l{LINE}\r\n$")
        screen = Screen(place, "watch", "--every", "0.1", str(subject.pid))
        screen.read_until(r"\x1b\[J")
        finish(subject)
        status, rest = screen.finish()
        equal("the process ends: exit status", status, 0)
        contains("the process ends: screen, line, and why", rest,
                 rf"\x1b\[\?1049l{LINE}\r\nheapmark: \S*steps\[{subject.pid}\] has ended")


if __name__ == "__main__":
    sys.exit(common.main(globals()))
