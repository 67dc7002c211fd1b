#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The `heapmark` command as a user types it: run, dump, check, top.

Paths come from the environment: HEAPMARK_BIN and HEAPMARK_LIB, or BUILD_DIR that holds both.
Prints a line for each check and at last "N passed, M failed"; exits with 1 if any failed.
"""

import ctypes
import glob
import gzip
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

BUILD_DIR = os.environ.get("BUILD_DIR", "build")
TOOL = os.path.abspath(os.environ.get("HEAPMARK_BIN", os.path.join(BUILD_DIR, "tools/heapmark")))
LIBRARY = os.path.abspath(os.environ.get("HEAPMARK_LIB", os.path.join(BUILD_DIR, "preload/libheapmark.so")))

# How long something that must happen may take on the slowest machine; nothing is asserted about it.
PATIENCE_SECONDS = 120

# What every mode of the subject allocates first, in functions of its own.
RETAINED_BLOCKS = 1000
RETAINED_BYTES = RETAINED_BLOCKS * 1000
CHURNED_BYTES = 1000 * 500
COPIED_BYTES = 100 * 1001

SUBJECT = r"""
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile kept[1000];
static volatile sig_atomic_t counts[65];

__attribute__((noipa)) static void retain_blocks(void)
{
	for (int i = 0; i < 1000; i++)
		kept[i] = malloc(1000);
}

__attribute__((noipa)) static void churn_blocks(void)
{
	for (int i = 0; i < 1000; i++) {
		void *volatile block = malloc(500);

		free(block);
	}
}

/* Seven frames of itself, and strdup, which profiles hide. */
__attribute__((noipa)) static void copy_texts(int depth)
{
	static char text[1001];

	if (depth > 0) {
		copy_texts(depth - 1);
	} else {
		memset(text, 'x', 1000);
		for (int i = 0; i < 100; i++) {
			char *volatile copy = strdup(text);

			free(copy);
		}
	}
	__asm__ volatile("" ::: "memory"); /* no jump in place of the call */
}

static void count(int number)
{
	counts[number]++;
}

static void catch_all(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM, 35 };
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = count;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &action, NULL);
}

static void say(const char *text)
{
	if (write(1, text, strlen(text)) < 0)
		_exit(99);
}

/* Until standard input ends. */
static void wait_for_end(void)
{
	char byte;

	while (read(0, &byte, 1) != 0)
		;
}

/* Writes which signals came, and how often. */
static void report(void)
{
	char text[64];

	for (int i = 1; i < 65; i++) {
		if (counts[i] == 0)
			continue;
		snprintf(text, sizeof(text), "signal %d %d\n", i, (int)counts[i]);
		say(text);
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	const int number = argc > 2 ? atoi(argv[2]) : 0;

	if (strcmp(mode, "nothing") == 0)
		return number;
	retain_blocks();
	churn_blocks();
	copy_texts(6);
	if (strcmp(mode, "exit") == 0)
		return number;
	if (strcmp(mode, "kill") == 0)
		raise(number);
	if (strcmp(mode, "wait") == 0) {
		say("ready\n");
		wait_for_end();
	}
	if (strcmp(mode, "count") == 0) {
		catch_all();
		say("ready\n");
		wait_for_end();
		report();
	}
	if (strcmp(mode, "close") == 0) {
		for (int i = 3; i < 4096; i++)
			close(i);
		say("ready\n");
		wait_for_end();
	}
	if (strcmp(mode, "fork") == 0) {
		for (int i = 0; i < number; i++) {
			if (fork() == 0) {
				retain_blocks();
				exit(0);
			}
		}
		while (wait(NULL) > 0)
			;
	}
	if (strcmp(mode, "survivor") == 0) { /* a child that outlives us, until standard input ends */
		int ready[2];
		char byte;

		if (pipe(ready) != 0)
			return 98;
		if (fork() == 0) {
			retain_blocks();
			if (write(ready[1], "x", 1) < 0)
				_exit(98);
			close(1);
			close(2);
			wait_for_end();
			exit(0);
		}
		if (read(ready[0], &byte, 1) != 1)
			return 98;
	}
	if (strcmp(mode, "exec") == 0) {
		execl(argv[0], argv[0], "exit", argv[2], (char *)NULL);
		return 99;
	}
	if (strcmp(mode, "raise") == 0) { /* a signal to our own process group, as a shell's `kill 0` */
		catch_all();
		kill(0, number);
		say("ready\n");
		wait_for_end();
		report();
	}
	if (strcmp(mode, "stop") == 0) { /* job control: stops, and goes on when it is continued */
		say("ready\n");
		wait_for_end();
		say("went on\n");
	}
	return 0;
}
"""

OWN_MALLOC = r"""
#include <stddef.h>
static char pool[1 << 20];
static size_t used;
void *malloc(size_t size) { used += (size + 15) & ~(size_t)15; return pool + used - ((size + 15) & ~(size_t)15); }
void free(void *block) { (void)block; }
void *calloc(size_t count, size_t size) { return malloc(count * size); }
void *realloc(void *block, size_t size) { (void)block; return malloc(size); }
int main(void) { return malloc(100) == NULL; }
"""

PART = r"""
#include <stdlib.h>
static void *volatile kept[1000];
__attribute__((noipa)) void retain_part(void)
{
	for (int i = 0; i < 1000; i++)
		kept[i] = malloc(1000);
}
"""

PART_MAIN = r"""
#include <stdio.h>
void retain_part(void);
int main(void)
{
	retain_part();
	puts("ready");
	fflush(stdout);
	return getchar() != EOF;
}
"""

passed = 0
failed = 0


def check(name, condition, detail=""):
    """One line of the result."""
    global passed, failed
    if condition:
        passed += 1
        print(f"ok    {name}")
    else:
        failed += 1
        print(f"FAIL  {name}  {detail!r}")
    sys.stdout.flush()


def equal(name, got, expected):
    check(name, got == expected, f"got {got!r}, expected {expected!r}")


def contains(name, text, pattern):
    check(name, re.search(pattern, text, re.MULTILINE) is not None, f"no {pattern!r} in {text!r}")


def lacks(name, text, pattern):
    check(name, re.search(pattern, text, re.MULTILINE) is None, f"{pattern!r} in {text!r}")


class Place:
    """A directory for one test, with what is needed to run things in it."""

    def __init__(self, root, name):
        self.name = name
        self.path = os.path.join(root, name)
        os.mkdir(self.path)

    def environment(self, **extra):
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("HEAPMARK") and key not in ("LD_PRELOAD", "NO_COLOR")
        }
        environment["HEAPMARK_LIBRARY"] = LIBRARY
        environment["TERM"] = "xterm"
        environment.update(extra)
        return environment

    def run(self, *arguments, stdin=b"", **extra):
        """Runs the tool to its end: exit status, standard output and error as text."""
        result = subprocess.run(
            [TOOL, *arguments], cwd=self.path, env=self.environment(**extra), input=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS)
        return result.returncode, result.stdout.decode("utf-8", "replace"), result.stderr.decode("utf-8", "replace")

    def start(self, *arguments, **extra):
        return subprocess.Popen(
            list(arguments), cwd=self.path, env=self.environment(**extra), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def start_preloaded(self, *arguments, **extra):
        """The subject with the library and without the tool."""
        return self.start(SUBJECT_PATH, *arguments, LD_PRELOAD=LIBRARY, **extra)

    def files(self, pattern):
        """Paths, as seen from the directory."""
        return sorted(glob.glob(pattern, root_dir=self.path))

    def file(self, pattern):
        """The one file of that name."""
        found = self.files(pattern)
        return os.path.join(self.path, found[0]) if len(found) == 1 else f"{len(found)} files like {pattern}"


def wait_ready(process):
    line = process.stdout.readline()
    if line != b"ready\n":
        raise RuntimeError(f"the subject said {line!r}: {process.stderr.read()!r}")


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("what should happen did not")
        time.sleep(0.02)


def finish(process):
    """Ends the subject's input, and with it the subject: exit status, output, errors."""
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")


# ---- go tool pprof, the reader that everybody has ----------------------------------------------------------

def pprof_rows(path, sample_index="inuse_space", *options):
    """{function: (flat, cum)} in bytes, nothing left out; and the total, of OLD where there is a -diff_base."""
    text = subprocess.run(
        ["go", "tool", "pprof", "-top", "-unit=B", "-nodecount=1000000", "-nodefraction=0", "-edgefraction=0",
         f"-sample_index={sample_index}", *options, path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, env={**os.environ, "PPROF_TMPDIR": "/tmp"},
    ).stdout.decode()
    total = re.search(r"of (\d+)B total", text)
    rows = {}
    for line in text.splitlines():
        match = re.match(r"\s*(-?\d+)B?\s+\S+\s+\S+\s+(-?\d+)B?\s+\S+\s+(.+)$", line)
        if match:
            rows[match[3]] = (int(match[1]), int(match[2]))
    return rows, int(total[1]) if total else 0


def flat_of(path, function, sample_index):
    return pprof_rows(path, sample_index)[0].get(function, (0, 0))[0]


def size_text(value):
    """A size as the tool prints it."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    unit = 0
    while value >= 1023.5 and unit + 1 < len(units):
        value /= 1024
        unit += 1
    return f"{value:.{1 if unit > 0 and value < 99.95 else 0}f} {units[unit]}"


def top_rows(text):
    """{function: columns} of the table that `heapmark top` prints."""
    rows = {}
    size = r"(\d+(?:\.\d)? [KMGT]?i?B)"
    interval = r"\s*(±\S+)?"
    pattern = (rf"^\s*{size}\s+([\d.]+%)\s+([\d.]+%)\s+{size}\s+([\d.]+%){interval}\s+{size}{interval}\s+{size}{interval}"
               rf"\s+(-|[\d.]+%)\s*(\d+-\d+%)?\s+(-|[\d.]+\w+){interval}  +(\S.*)$")
    for line in text.splitlines():
        match = re.match(pattern, line)
        if match:
            rows[match[15]] = dict(zip(
                ["flat", "flat%", "sum%", "cum", "cum%", "cum interval", "alloc", "alloc interval", "inuse", "interval",
                 "kept", "kept interval", "age", "age interval"],
                match.groups()[:14]))
    return rows


# ---- the tests ---------------------------------------------------------------------------------------------

def test_command_line(place):
    status, output, errors = place.run()
    equal("without arguments: exit status", status, 2)
    contains("without arguments: usage", errors, r"^usage: heapmark VERB")
    equal("without arguments: nothing on standard output", output, "")

    status, output, errors = place.run("--help")
    equal("--help: exit status", status, 0)
    for verb in ("run", "dump", "top", "check"):
        contains(f"--help names {verb}", output, rf"^  {verb} ")

    status, output, errors = place.run("--version")
    contains("--version", output, r"^heapmark \d+\.\d+\.\d+$")

    for verb in ("run", "dump", "top", "check"):
        status, output, errors = place.run(verb, "--help")
        equal(f"{verb} --help: exit status", status, 0)
        contains(f"{verb} --help: usage", output, rf"^usage: heapmark {verb} ")
        equal(f"help {verb} is the same", place.run("help", verb)[1], output)
        contains(f"{verb} --version", place.run(verb, "--version")[1], r"^heapmark \d")

    for word, meant in (("dmup", "dump"), ("chek", "check"), ("rum", "run"), ("tpo", "top")):
        status, output, errors = place.run(word)
        equal(f"{word}: exit status", status, 2)
        contains(f"{word}: suggests {meant}", errors, rf"did you mean `{meant}`\?")
    lacks("a word like no verb: no suggestion", place.run("xylophone")[2], "did you mean")
    contains("a program in place of a verb", place.run(SUBJECT_PATH)[2], rf"next  heapmark run {SUBJECT_PATH}$")

    status, output, errors = place.run("top", "--line", "--cmu", "1")
    equal("unknown option: exit status", status, 2)
    contains("unknown option: suggestion", errors, r"unknown option --cmu: did you mean --cum\?")
    contains("unknown letter", place.run("dump", "-x", "1")[2], r"unknown option -x")
    contains("missing value", place.run("dump", "-o")[2], r"option -o needs a value")
    equal("no operand: exit status", place.run("dump")[0], 2)
    contains("no operand: what to type", place.run("check")[2], r"next  heapmark check --help")
    lacks("no control characters from names", place.run("check", "\x1b[31mred\x07")[2], "[\x1b\x07]")
    contains("--by nonsense", place.run("top", "--by", "size", "1")[2], r"inuse, alloc, kept and age")
    contains("-n nonsense", place.run("top", "-n", "-3", "1")[2], r"number of rows")


def test_run_status(place):
    equal("exit status 0", place.run("run", "-r", "1", SUBJECT_PATH, "exit", "0")[0], 0)
    equal("exit status 37", place.run("run", "-r", "1", SUBJECT_PATH, "exit", "37")[0], 37)
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
        status, _, errors = place.run("run", "-r", "1", SUBJECT_PATH, "kill", str(int(number)))
        equal(f"killed by {number.name}: exit status", status, 128 + number)
        contains(f"killed by {number.name}: a profile all the same", errors, r"in use at its end")
    equal("every ledger became a profile", (len(place.files("*.ledger")), len(place.files("*.pb.gz"))), (0, 5))

    status, _, errors = place.run("run", "no-such-command")
    equal("not found: exit status", status, 127)
    contains("not found: says so", errors, r"no-such-command: no such command in PATH, so nothing was run")
    status, _, errors = place.run("run", "./no such file")
    equal("no such file: exit status", status, 127)
    contains("no such file: what to type", errors, r"next  ls \./$")
    contains("a shell's line: hint", place.run("run", "ls | wc")[2], r"sh -c")
    plain = os.path.join(place.path, "plain")
    with open(plain, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n")
    equal("not executable: exit status", place.run("run", plain)[0], 126)
    equal("a directory: exit status", place.run("run", place.path)[0], 126)
    status, _, errors = place.run("run", "plain", PATH=f"/bin:{place.path}:/usr/bin")
    equal("not executable in PATH: exit status", status, 126)
    contains("not executable in PATH: which", errors, rf"error: {plain}: not a file that can be executed")

    for arguments in ([], ["-r", "many", "true"], ["-r", "2T", "true"], ["--every", "0", "true"],
                      ["--every", "inf", "true"], ["--evry", "1", "true"], ["-o"]):
        equal(f"usage error {arguments}: exit status", place.run("run", *arguments)[0], 125)
    contains("misspelt option: suggestion", place.run("run", "--evry", "1", "true")[2], r"did you mean --every\?")
    status, output, _ = place.run("run", "sh", "-c", "echo \"$@\"", "sh", "-r", "--help")
    equal("options after COMMAND are COMMAND's", (status, output), (0, "-r --help\n"))
    status, output, _ = place.run("run", "--", "sh", "-c", "exit 4")
    equal("-- before COMMAND", status, 4)


def refused(place, name, command, expected, why, what_to_type):
    """Nothing is run: the status, the one line that says why, and the one that says what to type, each in full."""
    status, output, errors = place.run("run", command)
    equal(f"{name}: exit status", status, expected)
    equal(f"{name}: why, and what to type", (output, errors), (
        "", f"heapmark: error: {why}\nheapmark: next  {what_to_type}\n"))
    equal(f"{name}: nothing is left", place.files("heapmark.*"), [])


def write_executable(path, data):
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, 0o755)
    return path


def elf_header(elf_class=2, machine=62, file_type=2, header_count=0):
    """An ELF file of nothing but its header, the smallest that the kernel looks at."""
    if elf_class == 1:
        fields = struct.pack("<HHIIIIIHHHHHH", file_type, machine, 1, 0, 52, 0, 0, 52, 32, header_count, 0, 0, 0)
    else:
        fields = struct.pack("<HHIQQQIHHHHHH", file_type, machine, 1, 0, 64, 0, 0, 64, 56, header_count, 0, 0, 0)
    return b"\x7fELF" + bytes([elf_class, 1, 1]) + bytes(9) + fields


def set_loader(data, path):
    """The subject with another loader, of at most as many letters."""
    loader = b"/lib64/ld-linux-x86-64.so.2\0"
    return data.replace(loader, path.encode().ljust(len(loader), b"\0"), 1)


STATIC_ADVICE = "link it dynamically, without -static or -static-pie"


def build(place, name, *flags, source="int main(void) { return 0; }"):
    path = os.path.join(place.path, name)
    compile_c(source, path, *flags)
    return path


def test_run_refuses(place):
    for name, flag in (("static", "-static"), ("static-pie", "-static-pie")):
        path = build(place, name, flag)
        refused(place, name, path, 125,
                f"{path}: statically linked, so LD_PRELOAD does not reach it and nothing would be recorded",
                STATIC_ADVICE)
    if shutil.which("go"):
        path = os.path.join(place.path, "gopher")
        source = os.path.join(place.path, "gopher.go")
        with open(source, "w", encoding="utf-8") as file:
            file.write("package main\n\nfunc main() {}\n")
        subprocess.run(["go", "build", "-o", path, source], check=True, timeout=PATIENCE_SECONDS,
                       env={**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off", "GOFLAGS": "",
                            "HOME": place.path, "GOCACHE": os.path.join(place.path, "go-cache")})
        refused(place, "Go", path, 125,
                f"{path}: statically linked, so LD_PRELOAD does not reach it and nothing would be recorded",
                STATIC_ADVICE)

    for name, data in (("i386", elf_header(1, 3)), ("x32", elf_header(1, 62)), ("aarch64", elf_header(2, 183)),
                       ("arm", elf_header(1, 40))):
        path = write_executable(os.path.join(place.path, name), data)
        refused(place, name, path, 125,
                f"{path}: not a 64-bit x86-64 program, so libheapmark.so cannot be loaded into it",
                "build it for x86-64, without -m32")


def test_run_refuses_damaged(place):
    with open(SUBJECT_PATH, "rb") as file:
        subject = file.read()
    for name, data in (
            ("magic", subject[:4]), ("half a header", subject[:40]), ("header", subject[:64]),
            ("headers cut", subject[:200]), ("segments cut", subject[:len(subject) // 3]),
            ("no segments", elf_header()), ("an object file", elf_header(file_type=1, header_count=1) + bytes(56)),
            ("a core", elf_header(file_type=4, header_count=1) + bytes(56))):
        path = write_executable(os.path.join(place.path, name.replace(" ", "-")), data)
        refused(place, name, path, 126, f"{path}: not a file that can be executed, so nothing was run",
                f"ls -ld {path}")

    path = write_executable(os.path.join(place.path, "no-loader"), set_loader(subject, "/lib64/no-loader"))
    refused(place, "missing loader", path, 127,
            f"{path}: needs /lib64/no-loader, which is missing, so nothing was run",
            "install what provides /lib64/no-loader")
    path = write_executable(os.path.join(place.path, "unended"), subject.replace(b"x86-64.so.2\0", b"x86-64.so.2!", 1))
    refused(place, "loader without end", path, 126, f"{path}: not a file that can be executed, so nothing was run",
            f"ls -ld {path}")
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="h") as short:
        other = os.path.join(short, "ld-musl.so")  # short enough for the place in the file
        os.symlink("/lib64/ld-linux-x86-64.so.2", other)
        path = write_executable(os.path.join(place.path, "musl"), set_loader(subject, other))
        refused(place, "another C library", path, 125,
                f"{path}: linked with a C library that is not glibc, so libheapmark.so cannot be loaded into it",
                "build it on a system with glibc")


def test_run_scripts(place):
    def script(name, interpreter, mode=0o755):
        path = os.path.join(place.path, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!{interpreter}\n")
        os.chmod(path, mode)
        return path

    def nested(name, innermost, count):
        for number in range(count):
            innermost = script(f"{name}-{number}", innermost)
        return innermost

    static = build(place, "static", "-static")
    for name, path in (("script", script("of-static", static)), ("five scripts", nested("static", static, 5))):
        refused(place, f"{name} of a static interpreter", path, 125,
                f"{static}: statically linked, so LD_PRELOAD does not reach it and nothing would be recorded",
                STATIC_ADVICE)
    for name, path in (("script", script("lost", " /no/such/interpreter -x")),
                       ("nested script", nested("lost", "/no/such/interpreter", 3))):
        _, _, errors = place.run("run", path)
        which = errors.split(" ")[2].removesuffix(":")
        contains(f"{name} without its interpreter: whose", which, "/lost")
        refused(place, f"{name} without its interpreter", path, 127,
                f"{which}: needs /no/such/interpreter, which is missing, so nothing was run",
                "install what provides /no/such/interpreter")
    plain = script("plain", "/bin/sh", 0o644)
    refused(place, "interpreter that is none", script("of-plain", plain), 126,
            f"{plain}: not a file that can be executed, so nothing was run", f"ls -ld {plain}")

    for count in (1, 5):
        path = nested(f"fine-{count}", SUBJECT_PATH, count)
        status, _, errors = place.run("run", "-r", "1", path)
        contains(f"{count} scripts of the subject: profiled", errors, r"^heapmark: wrote .*/heapmark\.fine-")
    status, _, errors = place.run("run", nested("deep", SUBJECT_PATH, 6))
    equal("six scripts are one too many for the kernel: exit status", status, 126)
    contains("six scripts: why", errors, r"deep-5: Too many levels of symbolic links, so nothing was run")
    path = os.path.join(place.path, "without-line")
    write_executable(path, b"exit 3\n")
    equal("a script without a first line is the shell's", place.run("run", path)[0], 3)
    equal("an empty file is too", place.run("run", write_executable(path, b""))[0], 0)


def test_run_loader(place):
    status, _, errors = place.run("run", "-r", "1", "/lib64/ld-linux-x86-64.so.2", SUBJECT_PATH, "exit", "5")
    equal("a program started by the loader: exit status", status, 5)
    contains("a program started by the loader: profiled", errors, r"^heapmark: wrote ")


def test_run_privileged(place):
    if os.geteuid() != 0:
        print("skipped: only root can give a file privileges")
        return
    os.chmod(place.path, 0o777)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    def run_as_nobody(path, *options):
        result = subprocess.run([*as_nobody, *options, TOOL, "run", "-r", "1", path, "exit", "6"], cwd=place.path,
                                env=place.environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        return result.returncode, result.stderr

    def privileged(name, mode, owner=-1, group=-1, capabilities=None):
        path = shutil.copy(SUBJECT_PATH, os.path.join(place.path, name))
        os.chown(path, owner, group)
        os.chmod(path, mode)
        if capabilities:
            subprocess.run(["setcap", capabilities, path], check=True)
        return path

    why = "{}: runs with the privileges of its file, so LD_PRELOAD is ignored and nothing would be recorded"
    to_type = "heapmark run with a copy of it: a copy has no privileges"
    for name, path, command in (
            ("set-user-ID of another", privileged("other", 0o4755, owner=65534), None),
            ("set-group-ID of another", privileged("group", 0o2755, group=65534), None),
            ("set-user-ID root", privileged("root", 0o4755), run_as_nobody),
            ("set-user-ID root, not readable", privileged("unreadable", 0o4711), run_as_nobody),
            ("file capabilities", privileged("capable", 0o755, capabilities="cap_net_raw+ep"), run_as_nobody)):
        if command is None:
            refused(place, name, path, 125, why.format(path), to_type)
            continue
        equal(name, command(path), (125, f"heapmark: error: {why.format(path)}\nheapmark: next  {to_type}\n"))

    for name, mode, options in (("root runs its own set-user-ID file", 0o4755, None),
                                ("set-group-ID, but not executable by the group", 0o2745, []),
                                ("set-user-ID where no program gains anything", 0o4755, ["--no-new-privs"])):
        path = privileged("gains-nothing", mode)
        status, errors = (run_as_nobody(path, *options) if options is not None
                          else place.run("run", "-r", "1", path, "exit", "6")[::2])
        equal(f"{name}: exit status", status, 6)
        contains(f"{name}: profiled", errors, r"^heapmark: wrote ")
        os.remove(path)


def test_run_own_malloc(place):
    warning = "has a malloc of its own linked in: what it allocates with that will not be seen"
    hidden = OWN_MALLOC.replace("void *malloc", "__attribute__((visibility(\"hidden\"))) void *malloc")
    for name, flags, source in (("exported", ["-rdynamic"], OWN_MALLOC), ("not asked to export", [], OWN_MALLOC),
                                ("hidden", [], hidden), ("fixed addresses", ["-no-pie"], OWN_MALLOC)):
        path = build(place, "own-" + name.replace(" ", "-"), *flags, source=source)
        status, _, errors = place.run("run", path)
        equal(f"own malloc, {name}: runs", status, 0)
        equal(f"own malloc, {name}: warning", errors.splitlines()[0], f"heapmark: warning: {path} {warning}")
    lacks("no such warning for others", place.run("run", SUBJECT_PATH, "nothing")[2], "malloc of its own")


def test_run_impossible(place):
    status, _, errors = place.run("run", "-o", "plain-file/below", SUBJECT_PATH)
    equal("impossible directory: exit status", status, 125)
    contains("impossible directory: says so", errors, r"plain-file/below: No such file or directory, so profiles")
    equal("a file as directory: exit status", place.run("run", "-o", SUBJECT_PATH, SUBJECT_PATH)[0], 125)
    status, _, errors = place.run("run", SUBJECT_PATH, HEAPMARK_LIBRARY="/no/libheapmark.so")
    equal("library missing: exit status", status, 125)
    contains("library missing: what to type", errors, r"next  HEAPMARK_LIBRARY=")


def test_run_passes_through(place):
    data = bytes(range(256)) * 1000
    result = subprocess.run([TOOL, "run", "cat"], cwd=place.path, env=place.environment(), input=data,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS)
    check("standard input and output are COMMAND's", result.stdout == data)

    # Two preloads: the other one must stay, behind ours.
    other = os.path.join(place.path, "other.so")
    compile_c("int nothing_at_all;", other, "-shared", "-fPIC")
    _, output, _ = place.run("run", "-r", "64K", "-o", "out", "env", LD_PRELOAD=other)
    variables = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    equal("LD_PRELOAD: ours first", variables.get("LD_PRELOAD"), f"{LIBRARY}:{other}")
    equal("HEAPMARK_DIR is absolute", variables.get("HEAPMARK_DIR"), os.path.join(place.path, "out"))
    equal("HEAPMARK_RATE in bytes", variables.get("HEAPMARK_RATE"), "65536")
    check("HEAPMARK_RUN: 16 hex digits", re.fullmatch(r"[0-9a-f]{16}", variables.get("HEAPMARK_RUN", "")))
    equal("HEAPMARK_CHILDREN is left alone", variables.get("HEAPMARK_CHILDREN"), None)
    _, output, _ = place.run("run", "--no-children", "env")
    contains("--no-children", output, r"^HEAPMARK_CHILDREN=0$")

    place.run("run", SUBJECT_PATH, "exit", HEAPMARK="rate=1,dir=from-variable")
    equal("the directory in HEAPMARK is made, and used", len(place.files("from-variable/*.pb.gz")), 1)
    _, _, errors = place.run("run", "-r", "1", "-o", "made/", SUBJECT_PATH, "exit")
    contains("-o with a slash behind it", errors, r"wrote made/heapmark")
    equal("-o: made where missing", len(place.files("made/*.pb.gz")), 1)


def test_run_summary(place):
    status, output, errors = place.run("run", "-r", "1", SUBJECT_PATH, "exit", "0")
    lines = errors.splitlines()
    profile = place.file("*.pb.gz")
    name = os.path.basename(profile)
    pid = name.split(".")[2]
    equal("summary: three lines", len(lines), 3)
    contains("summary: what the process did", lines[0],
             rf"^heapmark: subject\[{pid}\]  1\.5 MiB allocated, 97[78] KiB in use at exit, \d+ samples$")
    equal("summary: wrote", lines[1], f"heapmark: wrote ./{name}")
    equal("summary: next", lines[2],
          f"heapmark: next  go tool pprof -http=: -sample_index=inuse_space ./{name}")
    equal("the command's output is empty", output, "")
    equal("in use, exactly", flat_of(profile, "retain_blocks", "inuse_space"), RETAINED_BYTES)
    equal("allocated and freed, exactly", flat_of(profile, "churn_blocks", "alloc_space"), CHURNED_BYTES)
    equal("hidden frames: what strdup allocates is its caller's", flat_of(profile, "copy_texts", "alloc_space"),
          COPIED_BYTES)
    equal("freed is not in use", flat_of(profile, "churn_blocks", "inuse_space"), 0)

    _, _, errors = place.run("run", "-q", "-r", "1", SUBJECT_PATH, "exit", "0")
    equal("-q: no summary", errors, "")
    equal("heapmark -q run: no summary", place.run("-q", "run", "-r", "1", SUBJECT_PATH, "exit", "0")[2], "")

    _, _, errors = place.run("run", "-r", "4K", SUBJECT_PATH, "exit", "0")
    contains("an estimate has an interval", errors, r"iB ±\d+% in use at exit")

    before = len(place.files("*"))
    _, _, errors = place.run("run", "-r", "1T", SUBJECT_PATH, "exit", "0")
    contains("nothing sampled: says so", errors, r"nothing was sampled")
    contains("nothing sampled: what to type", errors, r"next  heapmark run -r 1 ")
    equal("nothing sampled: no file", len(place.files("*")), before)
    _, _, errors = place.run("run", "-r", "0", SUBJECT_PATH, "exit", "0")
    contains("asleep: says so", errors, r"rate is 0, which keeps the library asleep")

    quoted = os.path.join(place.path, "it's here")
    _, _, errors = place.run("run", "-r", "1", "-o", quoted, SUBJECT_PATH, "exit", "0")
    contains("next can be typed: quotes", errors, r"next  go tool pprof .* '.*it'\\''s here/heapmark\.subject")


def test_run_processes(place):
    _, _, errors = place.run("run", "-r", "1", SUBJECT_PATH, "kill", "9")
    profile = place.file("*.pb.gz")
    equal("kill -9: the figures are all there", flat_of(profile, "retain_blocks", "inuse_space"), RETAINED_BYTES)
    equal("kill -9: churn too", flat_of(profile, "churn_blocks", "alloc_space"), CHURNED_BYTES)

    _, _, errors = place.run("run", "-r", "1", "-o", "exec", SUBJECT_PATH, "exec", "5")
    names = place.files("exec/*")
    equal("exec: a profile for each image", [re.sub(r"\d{2,}", "PID", name) for name in names],
          ["exec/heapmark.subject.PID-2.pb.gz", "exec/heapmark.subject.PID.pb.gz"])

    _, _, errors = place.run("run", "-r", "1", "-o", "fork", SUBJECT_PATH, "fork", "3")
    profiles = [os.path.join(place.path, name) for name in place.files("fork/*.pb.gz")]
    equal("fork: a profile for each process", len(profiles), 4)
    equal("fork: no ledger left", place.files("fork/*.ledger"), [])
    equal("fork: each has its own figures", sorted(flat_of(path, "churn_blocks", "alloc_space") for path in profiles),
          [0, 0, 0, CHURNED_BYTES])
    equal("fork: a line for each", len(re.findall(r"^heapmark: subject\[\d+\]  ", errors, re.MULTILINE)), 4)
    contains("fork: wrote", errors, r"^heapmark: wrote fork/heapmark\.subject\.\d+\.pb\.gz and 3 more beside it$")
    largest = re.search(r"inuse_space (\S+)$", errors, re.MULTILINE)[1]
    equal("fork: next names the largest", flat_of(os.path.join(place.path, largest), "churn_blocks", "alloc_space"),
          CHURNED_BYTES)

    _, _, errors = place.run("run", "-r", "1", "-o", "many", SUBJECT_PATH, "fork", "13")
    equal("many processes: ten lines", len(re.findall(r"^heapmark: subject\[\d+\]  ", errors, re.MULTILINE)), 10)
    contains("many processes: the rest", errors, r"^heapmark: \.\.\. and 4 more$")

    place.run("run", "-r", "1", "-o", "single", "--no-children", SUBJECT_PATH, "fork", "3")
    equal("--no-children: one profile", len(place.files("single/*.pb.gz")), 1)

    # A profile of that name is there already: nothing is overwritten.
    process = place.start(TOOL, "run", "-r", "1", "-o", "taken", SUBJECT_PATH, "wait")
    wait_ready(process)
    ledger = place.file("taken/*.ledger")
    taken = ledger.replace(".ledger", ".pb.gz")
    with open(taken, "w", encoding="utf-8") as file:
        file.write("mine")
    status, _, errors = finish(process)
    with open(taken, encoding="utf-8") as file:
        equal("what is there stays", file.read(), "mine")
    equal("the new one has another name", os.path.exists(taken.replace(".pb.gz", "-2.pb.gz")), True)

    # Ledgers of others in the same directory are none of our business, dead or alive.
    os.mkdir(os.path.join(place.path, "shared"))
    stranger = place.start_preloaded("wait", HEAPMARK_RATE="1", HEAPMARK_DIR="shared")
    wait_ready(stranger)
    stranger.kill()
    stranger.communicate()
    left = place.file("shared/*.ledger")
    place.run("run", "-r", "1", "-o", "shared", SUBJECT_PATH, "exit")
    equal("the ledger of another stays", os.path.exists(left), True)
    equal("the ledger of another: no profile of it", len(place.files("shared/*.pb.gz")), 1)


def test_run_survivors(place):
    process = place.start(TOOL, "run", "-r", "1", SUBJECT_PATH, "survivor")
    process.stdout.read()  # the survivor has closed its copy: this ends with the run
    errors = process.stderr.read().decode()
    equal("survivor: exit status of the command", process.wait(timeout=PATIENCE_SECONDS), 0)
    found = re.search(r"^heapmark: subject\[(\d+)\] still runs .*: heapmark dump (\d+)$", errors, re.MULTILINE)
    check("survivor: is named", found is not None and found[1] == found[2], errors)
    pid = found[1]
    ledger = place.file("*.ledger")
    equal("survivor: its ledger stays", os.path.basename(ledger), f"heapmark.subject.{pid}.ledger")
    status, _, _ = place.run("dump", "-o", "now.pb.gz", pid)
    equal("survivor: can be dumped", status, 0)
    process.stdin.close()  # now it ends, and writes its profile itself
    wait_until(lambda: not os.path.exists(ledger))
    equal("survivor: writes its own profile", os.path.exists(ledger.replace(".ledger", ".pb.gz")), True)
    equal("survivor: with its figures", flat_of(ledger.replace(".ledger", ".pb.gz"), "retain_blocks", "inuse_space"),
          RETAINED_BYTES)


def test_run_signals(place):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
                   signal.SIGWINCH, signal.SIGALRM):
        process = place.start(TOOL, "run", SUBJECT_PATH, "count")
        wait_ready(process)
        process.send_signal(number)
        wait_settled(process.pid)
        status, output, _ = finish(process)
        equal(f"{number.name} to run reaches COMMAND once", output, f"signal {int(number)} 1\n")
        equal(f"{number.name}: run goes on", status, 0)

    # A real-time signal, of which two are two.
    process = subprocess.Popen(
        [TOOL, "run", SUBJECT_PATH, "raise", "35"], cwd=place.path, env=place.environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    wait_ready(process)
    wait_settled(process.pid)
    status, output, _ = finish(process)
    equal("what COMMAND sends to its group comes once", output, "signal 35 1\n")


def child_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return int(file.read().split()[0])


def wait_settled(pid):
    """Until the run has passed on what there was, and its command has taken it."""
    child = child_of(pid)
    wait_until(lambda: is_settled(pid) and is_settled(child) and is_settled(pid) and is_settled(child))


def is_settled(pid):
    """Sleeps, and has no signal pending."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            text = file.read()
    except FileNotFoundError:
        return False
    pending = [int(re.search(rf"^{key}:\s*(\S+)", text, re.MULTILINE)[1], 16) for key in ("SigPnd", "ShdPnd")]
    return pending == [0, 0] and re.search(r"^State:\s+S", text, re.MULTILINE) is not None


class Terminal:
    """A command in the foreground of a terminal of its own, with a parent that does a shell's part."""

    def __init__(self, place, *arguments, **extra):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(place.path)
            self.be_shell(list(arguments), place.environment(**extra))
        self.text = b""

    @staticmethod
    def be_shell(arguments, environment):
        """Starts the job in a group of its own, and says when it stops and how it ends."""
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.execve(arguments[0], arguments, environment)
        while True:
            _, status = os.waitpid(job, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                break
            os.write(1, b"[stopped]\n")
        os.write(1, b"[status %d]\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)

    def read_until(self, pattern):
        while re.search(pattern, self.text) is None:
            try:
                data = os.read(self.descriptor, 4096)
            except OSError:
                data = b""
            if not data:
                raise RuntimeError(f"the terminal ended with {self.text!r}")
            self.text += data

    def type(self, data):
        os.write(self.descriptor, data)

    def close(self):
        os.waitpid(self.pid, 0)
        os.close(self.descriptor)


def test_terminal(place):
    terminal = Terminal(place, TOOL, "run", "-r", "1", SUBJECT_PATH, "count")
    terminal.read_until(rb"ready")
    run = child_of(terminal.pid)
    os.kill(run, signal.SIGSTOP)  # so that COMMAND takes the first before run could send a second
    terminal.read_until(rb"\[stopped\]")
    terminal.type(b"\x03")
    terminal.read_until(rb"\^C")
    wait_until(lambda: is_settled(child_of(run)))
    os.kill(run, signal.SIGCONT)
    wait_settled(run)
    terminal.type(b"\x04")  # end of input: the subject reports
    terminal.read_until(rb"\[status")
    equal("^C reaches COMMAND once", re.findall(rb"signal (\d+) (\d+)", terminal.text), [(b"2", b"1")])
    check("^C: the profile is written", b"wrote ./heapmark.subject" in terminal.text, terminal.text)
    equal("^C: COMMAND's status", re.findall(rb"\[status (\d+)\]", terminal.text), [b"0"])
    check("colours on a terminal", b"\x1b[" in terminal.text)
    terminal.close()

    terminal = Terminal(place, TOOL, "run", "-r", "1", SUBJECT_PATH, "wait", NO_COLOR="1")
    terminal.read_until(rb"ready")
    terminal.type(b"\x03")
    terminal.read_until(rb"\[status")
    equal("^C that ends COMMAND: status", re.findall(rb"\[status (\d+)\]", terminal.text), [b"130"])
    check("^C that ends COMMAND: the profile is written", b"wrote ./heapmark.subject" in terminal.text)
    check("NO_COLOR", b"\x1b[" not in terminal.text)
    terminal.close()

    terminal = Terminal(place, TOOL, "run", "-r", "1", SUBJECT_PATH, "stop", TERM="dumb")
    terminal.read_until(rb"ready")
    terminal.type(b"\x1a")
    terminal.read_until(rb"\[stopped\]")
    os.killpg(child_of(terminal.pid), signal.SIGCONT)
    terminal.type(b"\x04")
    terminal.read_until(rb"\[status")
    check("^Z stops, and it goes on", b"went on" in terminal.text, terminal.text)
    equal("^Z: status", re.findall(rb"\[status (\d+)\]", terminal.text), [b"0"])
    check("TERM=dumb: no colours", b"\x1b[" not in terminal.text)
    terminal.close()


def test_run_every(place):
    process = place.start(TOOL, "run", "-r", "1", "--every", "0.1", SUBJECT_PATH, "wait")
    wait_ready(process)
    wait_until(lambda: len(place.files("*.0003.pb.gz")) == 1)
    status, _, errors = finish(process)
    equal("--every: exit status", status, 0)
    first = place.file("*.0001.pb.gz")
    pid = os.path.basename(first).split(".")[2]
    equal("--every: names", os.path.basename(first), f"heapmark.subject.{pid}.0001.pb.gz")
    equal("--every: the last one besides", os.path.exists(os.path.join(place.path, f"heapmark.subject.{pid}.pb.gz")),
          True)
    equal("--every: a snapshot has the figures",
          flat_of(place.file("*.0003.pb.gz"), "retain_blocks", "inuse_space"), RETAINED_BYTES)
    equal("--every: all are sound", place.run("check", "-q", ".")[0], 0)


def test_dump_process(place):
    process = place.start_preloaded("wait", HEAPMARK_RATE="1")
    wait_ready(process)
    pid = str(process.pid)

    status, output, errors = place.run("dump", pid)
    lines = errors.splitlines()
    equal("PID: exit status", status, 0)
    contains("PID: what it does", lines[0],
             rf"^heapmark: subject\[{pid}\]  1\.5 MiB allocated, 97[78] KiB in use, \d+ samples$")
    equal("PID: wrote", lines[1], f"heapmark: wrote ./heapmark.subject.{pid}.pb.gz")
    contains("PID: next", lines[2], r"next  go tool pprof ")
    path = place.file("*.pb.gz")
    equal("PID: in use, exactly", flat_of(path, "retain_blocks", "inuse_space"), RETAINED_BYTES)
    equal("PID: mode", os.stat(path).st_mode & 0o777, 0o600)

    place.run("dump", pid)
    equal("a second one has another name", os.path.exists(path.replace(".pb.gz", "-2.pb.gz")), True)
    status, _, _ = place.run("dump", "-o", "named", pid)
    place.run("dump", "-o", "named", pid)
    equal("-o: the name that was given, replaced", flat_of(os.path.join(place.path, "named"), "retain_blocks",
                                                          "inuse_space"), RETAINED_BYTES)
    result = subprocess.run([TOOL, "dump", "-o", "-", pid], cwd=place.path, env=place.environment(),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    equal("-o -: a profile on standard output", gzip.decompress(result.stdout)[:1], b"\x0a")
    contains("-o -: what it is on standard error", result.stderr.decode(), r"in use, \d+ samples")
    lacks("-o -: nothing else", result.stderr.decode(), r"wrote|next")

    place.run("dump", "--no-symbols", "-o", "bare", pid)
    equal("--no-symbols: no function names", flat_of(os.path.join(place.path, "bare"), "retain_blocks", "inuse_space"),
          0)
    contains("--no-symbols: addresses of the program", str(pprof_rows(os.path.join(place.path, "bare"))[0]), r"\[subject\]")

    contains("memory of the process in a comment", place.run("check", path)[1], r"resident memory: \d+ MiB")

    status, _, _ = place.run("dump", "-o", "elsewhere", place.file("*.ledger"))
    equal("LEDGER of a process that runs", flat_of(os.path.join(place.path, "elsewhere"), "retain_blocks",
                                                   "inuse_space"), RETAINED_BYTES)

    os.unlink(place.file("*.ledger"))
    status, _, _ = place.run("dump", "-o", "deleted", pid)
    equal("a deleted ledger can still be read", (status, flat_of(os.path.join(place.path, "deleted"), "retain_blocks",
                                                                 "inuse_space")), (0, RETAINED_BYTES))
    equal("the process does not notice", finish(process)[0], 0)

    os.mkdir(os.path.join(place.path, "closed"))
    process = place.start_preloaded("close", HEAPMARK_RATE="1", HEAPMARK_DIR="closed")
    wait_ready(process)
    status, _, _ = place.run("dump", "-o", "closed.pb.gz", str(process.pid))
    equal("a program that closes all descriptors", flat_of(os.path.join(place.path, "closed.pb.gz"), "retain_blocks",
                                                           "inuse_space"), RETAINED_BYTES)
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: re.search(r"^State:\s+T", open(f"/proc/{process.pid}/status", encoding="ascii").read(),
                                 re.MULTILINE))
    equal("a stopped process", place.run("dump", "-o", "stopped.pb.gz", str(process.pid))[0], 0)
    process.kill()
    process.communicate()
    status, _, errors = place.run("dump", str(process.pid))
    equal("a process that is gone: exit status", status, 2)
    contains("a process that is gone: why", errors, rf"{process.pid}: no such process")
    contains("a process that is gone: what to type", errors, rf"next  ls heapmark\.\*\.{process.pid}\*")


def test_dump_replaced(place):
    """Files that are no longer where they were."""
    program = os.path.join(place.path, "program")
    shutil.copy(SUBJECT_PATH, program)
    process = place.start(program, "wait", LD_PRELOAD=LIBRARY, HEAPMARK_RATE="1")
    wait_ready(process)
    os.unlink(program)
    _, _, errors = place.run("dump", "-o", "deleted", str(process.pid))
    equal("a deleted program: still named", flat_of(os.path.join(place.path, "deleted"), "retain_blocks",
                                                    "inuse_space"), RETAINED_BYTES)
    lacks("a deleted program: no warning", errors, "warning")
    process.kill()
    process.communicate()
    _, _, errors = place.run("dump", place.file("*.ledger"))
    contains("a deleted program, gone: warning", errors, r"warning: 1 files that were loaded are not on disk")
    compile_c(PART_MAIN.replace("void retain_part(void);", "static void retain_part(void) {}"), program)
    _, _, errors = place.run("dump", place.file("*.ledger"))
    contains("a replaced program: warning", errors, r"warning: 1 files were replaced since they were loaded")


def test_dump_unprivileged(place):
    """As a user who may not open /proc/PID/map_files."""
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if os.geteuid() != 0 or subprocess.run([*user, TOOL, "--version"], stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL, check=False).returncode:
        return
    os.chmod(place.path, 0o777)
    process = place.start(*user, "env", f"LD_PRELOAD={LIBRARY}", SUBJECT_PATH, "wait", HEAPMARK_RATE="1")
    wait_ready(process)
    os.unlink(place.file("*.subject.*.ledger"))
    result = subprocess.run([*user, TOOL, "dump", "-o", "deleted", str(process.pid)], cwd=place.path,
                            stderr=subprocess.PIPE, check=False)
    equal("a deleted ledger, by a descriptor", (result.returncode, result.stderr.decode().split("\n")[0][-7:]),
          (0, "samples"))
    equal("a deleted ledger, by a descriptor: figures", flat_of(os.path.join(place.path, "deleted"), "retain_blocks",
                                                                "inuse_space"), RETAINED_BYTES)
    finish(process)


def test_dump_namespaces(place):
    """A process that has other numbers and other paths inside, and a library that is nowhere outside."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-pmf", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        return
    hidden = os.path.join(place.path, "hidden")
    os.mkdir(hidden)
    part = os.path.join(place.path, "libpart.so")
    compile_c(PART, part, "-shared", "-fPIC", "-Wl,-soname,libpart.so")
    compile_c(PART_MAIN, os.path.join(place.path, "main"), part, "-Wl,-rpath,$ORIGIN")
    process = place.start(
        "unshare", "-pmf", "--mount-proc", "sh", "-c",
        f"mount -t tmpfs none {hidden} && cd {hidden} && cp {place.path}/main {place.path}/libpart.so . && "
        f"HEAPMARK_RATE=1 LD_PRELOAD={LIBRARY} exec ./main")
    wait_ready(process)
    pid = subprocess.run(["pgrep", "-P", str(process.pid)], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    status, _, errors = place.run("dump", "-o", "inside.pb.gz", pid)
    equal("other namespaces: exit status", status, 0)
    equal("other namespaces: figures and names", flat_of(os.path.join(place.path, "inside.pb.gz"), "retain_part",
                                                         "inuse_space"), RETAINED_BYTES)
    equal("other namespaces: no warning about names", re.findall("warning", errors), [])
    finish(process)

    # A run must not take the ledger from a process because it has another number inside.
    process = place.start(TOOL, "run", "-r", "1", "-o", "run", "unshare", "-pf", SUBJECT_PATH, "wait")
    wait_ready(process)
    time.sleep(2.5)  # two of the looks that run takes at its directory each second
    equal("run: the ledger of a running process stays", len(place.files("run/*.subject.*.ledger")), 1)
    finish(process)
    equal("run: and becomes a profile afterwards", (len(place.files("run/*.ledger")),
                                                    len(place.files("run/*.subject.*.pb.gz"))), (0, 1))


def test_dump_ledger(place):
    process = place.start_preloaded("wait", HEAPMARK_RATE="1")
    wait_ready(process)
    process.kill()
    process.communicate()
    ledger = place.file("*.ledger")
    other = place.start("sleep", "1000")

    status, _, errors = place.run("dump", ledger)
    equal("LEDGER: exit status", status, 0)
    contains("LEDGER: at its end", errors, r"in use at its end, \d+ samples")
    profile = ledger.replace(".ledger", ".pb.gz")
    equal("LEDGER: in use, exactly", flat_of(profile, "retain_blocks", "inuse_space"), RETAINED_BYTES)
    equal("LEDGER: stays where it is", os.path.exists(ledger), True)
    place.run("dump", os.path.relpath(ledger, place.path))
    equal("LEDGER: a second profile", os.path.exists(ledger.replace(".ledger", "-2.pb.gz")), True)
    with open(profile, "rb") as first, open(ledger.replace(".ledger", "-2.pb.gz"), "rb") as second:
        check("LEDGER: the same bytes each time", first.read() == second.read())

    status, _, errors = place.run("dump", "--peak", ledger)
    equal("--peak: exit status", status, 0)
    contains("--peak: says which moment", errors, r"in use at the high-water mark, \d+ samples")
    peak = ledger.replace(".ledger", ".peak.pb.gz")
    equal("--peak: a name of its own", os.path.exists(peak), True)
    contains("--peak: a comment for people", place.run("check", peak)[1],
             r"in use: as at the high-water mark, 976\.5 KiB, \d+\.\d s after the start")
    contains("--peak: one for machines", place.run("check", peak)[1], r"#heapmark\.inuse=peak")
    contains("an ordinary profile knows the peak too", place.run("check", profile)[1],
             r"most in use at once: 976\.5 KiB, (?s:.*)#heapmark\.peak_bytes=\d+")
    contains("check LEDGER: what was in use at the peak", place.run("check", ledger)[1],
             r"at its peak +\d+ objects , \d+ bytes \(97[78] KiB\)")

    shutil.copy(ledger, os.path.join(place.path, "copy.ledger"))
    place.run("dump", ".")
    equal("DIR: all ledgers in it", os.path.exists(os.path.join(place.path, "copy.pb.gz")), True)
    equal("-o with several: exit status", place.run("dump", "-o", "x", ledger, "copy.ledger")[0], 2)
    os.mkdir(os.path.join(place.path, "empty"))
    contains("DIR without ledgers", place.run("dump", "empty")[2], r"empty: no ledger in this directory")

    status, _, errors = place.run("dump", str(other.pid))
    equal("without the library: exit status", status, 2)
    contains("without the library: why", errors, r"runs without libheapmark\.so")
    contains("without the library: what to type", errors, r"next  heapmark run")
    other.kill()
    other.communicate()

    for name, data in (("text.ledger", b"hello\n" * 1000), ("empty.ledger", b"")):
        with open(os.path.join(place.path, name), "wb") as file:
            file.write(data)
        status, _, errors = place.run("dump", name)
        equal(f"{name}: exit status", status, 2)
        contains(f"{name}: says so", errors, rf"error: {name}: .*so no profile was written")
    equal("a profile is no ledger", place.run("dump", profile)[0], 2)
    equal("no such file: exit status", place.run("dump", "nowhere.ledger")[0], 2)

    with open(ledger, "rb") as file:
        data = file.read()
    for length in (8192, 20000, 100000):
        with open(os.path.join(place.path, "short.ledger"), "wb") as file:
            file.write(data[:length])
        status, _, errors = place.run("dump", "-o", "short.pb.gz", "short.ledger")
        equal(f"cut off after {length}: exit status", status, 2)
        contains(f"cut off after {length}: says so", errors, r"error: short\.ledger: ")
        status, _, errors = place.run("top", "short.ledger")
        equal(f"cut off after {length}, top: exit status", status, 2)
        contains(f"cut off after {length}, top: says so", errors, r"error: short\.ledger: ")

    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--clear-groups", TOOL, "dump", "-o", "/dev/null", str(os.getpid())]
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        equal("somebody else's process: exit status", result.returncode, 2)
        contains("somebody else's process: what to type", result.stderr.decode(), r"next  sudo heapmark dump \d+")

    # By a link, so that a dump that renames its output into place would replace the link and not the device.
    os.symlink("/dev/full", os.path.join(place.path, "full"))
    full = place.run("dump", "-o", "full", ledger)
    equal("a full disk: exit status", full[0], 2)
    contains("a full disk: says so", full[2], r"full: No space left on device, so no profile was written")


def test_full_output(place):
    """Standard output that takes nothing: each verb says so, whatever it wrote to it and when."""
    process = place.start_preloaded("wait", HEAPMARK_RATE="1")
    wait_ready(process)
    pid = str(process.pid)
    equal("a dump", place.run("dump", "-o", "x.pb.gz", pid)[0], 0)
    for arguments in (("top", pid), ("check", pid), ("doctor", pid), ("diff", "x.pb.gz", "x.pb.gz"), ("flame", "-o", "-", pid),
                      ("dump", "-o", "-", pid), ("symbolize", "-o", "-", "x.pb.gz"), ("watch", "-n", "2", "--every", "0.05", pid),
                      ("--help",), ("--version",), ("help", "top"), ("top", "--help"), ("top", "--version")):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([TOOL, *arguments], cwd=place.path, env=place.environment(), stdout=full,
                                    stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS)
        equal(f"{' '.join(arguments[:1])}: exit status", result.returncode, 2)
        contains(f"{' '.join(arguments[:1])}: why", result.stderr.decode(),
                 r"^heapmark: error: (standard output|-): (No space left on device|not all could be written)")
    finish(process)


def test_check(place):
    process = place.start_preloaded("wait", HEAPMARK_RATE="1")
    wait_ready(process)
    status, output, _ = place.run("check", str(process.pid))
    equal("PID: exit status", status, 0)
    contains("PID: is running", output, rf"process +subject\[{process.pid}\], running$")
    process.kill()
    process.communicate()
    ledger = place.file("*.ledger")
    status, output, _ = place.run("check", ledger)
    equal("LEDGER: exit status", status, 0)
    contains("LEDGER: whose", output, rf"process +subject\[{process.pid}\], gone before its normal end$")
    contains("LEDGER: rate", output, r"rate +1: every allocation")
    contains("LEDGER: allocated", output, r"allocated +\d+ objects , 16\d{5} bytes")
    contains("LEDGER: in use", output, r"in use +\d+ objects , 10\d{5} bytes")
    contains("LEDGER: verdict", output, r"verdict +good$")

    place.run("dump", ledger)
    profile = place.file("*.pb.gz")
    status, output, _ = place.run("check", profile)
    equal("PROFILE: exit status", status, 0)
    rows, total = pprof_rows(profile)
    contains("PROFILE: the total that pprof shows", output, rf"inuse_space +{total} bytes")
    contains("PROFILE: shown first", output, r"shown first +inuse_space$")
    contains("PROFILE: verdict", output, r"verdict +good$")
    equal("-q: nothing to say", place.run("check", "-q", profile, ledger)[1:], ("", ""))
    equal("DIR: all in it", len(re.findall(r"verdict +good", place.run("check", ".")[1])), 2)

    with open(profile, "rb") as file:
        data = file.read()
    with open(ledger, "rb") as file:
        raw = file.read()
    for name, content, expected in (
            ("cut.pb.gz", data[:-20], 1),
            ("trailing.pb.gz", data + b"more", 1),
            ("double.pb.gz", gzip.compress(gzip.decompress(data) * 2), 1),
            ("text.pb.gz", b"hello\n", 2),
            ("empty.pb.gz", b"", 2),
            ("cut.ledger", raw[:100000], 1),
            ("header.ledger", raw[:100], 1),
            ("text.ledger", b"hello\n", 2)):
        with open(os.path.join(place.path, name), "wb") as file:
            file.write(content)
        status, output, errors = place.run("check", "-q", name)
        equal(f"{name}: exit status", status, expected)
        check(f"{name}: says why", name in output + errors, output + errors)
    equal("the worst of several", place.run("check", "-q", profile, "cut.pb.gz", ledger)[0], 1)

    # a hint: nobody but Perfetto minds a doc_url, which is field 15 and here text 1
    with open(os.path.join(place.path, "hint.pb.gz"), "wb") as file:
        file.write(gzip.compress(gzip.decompress(data) + bytes([15 << 3, 1])))
    status, output, _ = place.run("check", "hint.pb.gz")
    equal("a hint: exit status", status, 0)
    contains("a hint: which rule, and who minds", output, r"^hint\.pb\.gz: hint: .*\(doc-url: Perfetto .*\)$")
    contains("a hint: verdict", output, r"verdict +good, with hints$")
    equal("a hint: not when quiet", place.run("check", "-q", "hint.pb.gz"), (0, "", ""))
    contains("broken: which rule, and who minds", place.run("check", "-q", "double.pb.gz")[1],
             r"^double\.pb\.gz: broken: .*\(file-single: go tool pprof .*\)$")
    equal("no such file", place.run("check", "nowhere.pb.gz")[0], 2)


def test_top(place):
    _, _, errors = place.run("run", "-r", "1", SUBJECT_PATH, "kill", "9")
    profile = place.file("*.pb.gz")
    for order, sample_index in (("inuse", "inuse_space"), ("alloc", "alloc_space")):
        expected, total = pprof_rows(profile, sample_index)
        status, output, _ = place.run("top", "-n", "0", "--by", order, profile)
        rows = top_rows(output)
        # both leave out what is below 0.5 %, here by cum
        expected = {name: row for name, row in expected.items() if row[1] >= 0.005 * total and row[1] > 0}
        equal(f"--by {order}: the functions of pprof", sorted(rows), sorted(expected))
        equal(f"--by {order}: flat as pprof", {name: row["flat"] for name, row in rows.items()},
              {name: size_text(row[0]) for name, row in expected.items()})
        equal(f"--by {order}: cum as pprof", {name: row["cum"] for name, row in rows.items()},
              {name: size_text(row[1]) for name, row in expected.items()})
        contains(f"--by {order}: total as pprof", output, rf"% of the {re.escape(size_text(total))} ")

    rows = top_rows(place.run("top", profile)[1])
    equal("kept%: all", rows["retain_blocks"]["kept"], "100.0%")
    equal("exact: no interval", rows["retain_blocks"]["interval"], None)
    equal("age, from a profile", rows["retain_blocks"]["age"], "0ms")
    equal("age of nothing", rows["churn_blocks"]["age"] if "churn_blocks" in rows else "-", "-")
    rows = top_rows(place.run("top", "--by", "alloc", profile)[1])
    equal("kept%: nothing", rows["churn_blocks"]["kept"], "0.0%")
    names = list(top_rows(place.run("top", "--by", "alloc", profile)[1]))
    check("--by alloc: order by flat", names.index("retain_blocks") < names.index("churn_blocks") < names.index("main"))
    names = list(top_rows(place.run("top", "--by", "alloc", "--cum", profile)[1]))
    check("--cum: order by cum", names.index("main") < names.index("retain_blocks") < names.index("churn_blocks"))
    rows = top_rows(place.run("top", "--by", "alloc", "--cum", profile)[1])
    equal("--cum: alloc of all that it called", rows["main"]["alloc"], rows["main"]["cum"])
    equal("-n 1", len(top_rows(place.run("top", "-n", "1", profile)[1])), 1)
    place.run("run", "-r", "1", "--no-labels", "-o", "unlabelled", SUBJECT_PATH, "kill", "9")
    status, _, errors = place.run("top", "--by", "age", place.file("unlabelled/*.pb.gz"))
    equal("--by age without labels: exit status", status, 2)
    contains("--by age without labels: what to do", errors, r"no ages are known.*--no-labels")
    place.run("run", "-r", "1", "--no-symbols", "-o", "bare", SUBJECT_PATH, "exit")
    contains("--lines without lines", place.run("top", "--lines", place.file("bare/*.pb.gz"))[2], r"no lines are known")

    before = time.monotonic()
    process = place.start_preloaded("wait", HEAPMARK_RATE="4K", HEAPMARK_SEED="7")
    wait_ready(process)
    time.sleep(1.2)
    live = top_rows(place.run("top", str(process.pid))[1])
    # No younger than we have slept, no older than all this took; shown to a tenth, counted in 1/64 s.
    age = float(live["retain_blocks"]["age"].rstrip("s"))
    check("age", 1.2 - 0.1 <= age <= time.monotonic() - before + 0.1, age)
    process.kill()
    process.communicate()
    ledger = place.file("*.ledger")
    rows = top_rows(place.run("top", ledger)[1])
    # 1000 blocks of 1000 bytes at 4096: w = 1/(1-exp(-1001/4096)) = 4.61, some 217 samples, each w(w-1) of
    # variance: 1.96 sqrt(217 * 4.61 * 3.61) / 1000 = 0.118; which samples there are makes a few per cent of it
    interval = int(re.sub(r"\D", "", rows["retain_blocks"]["interval"]))
    check("interval of an estimate, from a ledger", 10 <= interval <= 14, interval)
    check("age, from a ledger", rows["retain_blocks"]["age"] != "-", rows)
    equal("a process and its ledger", (live["retain_blocks"]["flat"], live["retain_blocks"]["interval"]),
          (rows["retain_blocks"]["flat"], rows["retain_blocks"]["interval"]))
    equal("--by age", place.run("top", "--by", "age", ledger)[0], 0)
    place.run("dump", "-o", "estimate", ledger)
    estimate = top_rows(place.run("top", "estimate")[1])
    equal("the interval from a profile, where sizes are alike", estimate["retain_blocks"]["interval"],
          rows["retain_blocks"]["interval"])
    # 1000 of 1500 KB: 2.2 times the bytes of retain_blocks, all of it freed
    equal("nothing kept: its interval", estimate["churn_blocks"]["kept"] if "churn_blocks" in estimate else "0.0%",
          "0.0%")
    equal("a ledger and its profile show the same", {name: row["flat"] for name, row in estimate.items()},
          {name: row["flat"] for name, row in rows.items()})

    os.mkdir(os.path.join(place.path, "two"))
    shutil.copy(profile, os.path.join(place.path, "two/a.pb.gz"))
    shutil.copy(profile, os.path.join(place.path, "two/b.pb.gz"))
    rows = top_rows(place.run("top", "two")[1])
    equal("DIR: added up", rows["retain_blocks"]["flat"], size_text(2 * RETAINED_BYTES))
    status, output, errors = place.run("top", profile, "nowhere.pb.gz")
    equal("one of two cannot be read: exit status", status, 2)
    equal("one of two cannot be read: the other is shown", top_rows(output)["retain_blocks"]["flat"],
          size_text(RETAINED_BYTES))
    equal("no colours in a pipe", re.findall(r"\x1b", output + errors), [])


def compile_c(source, path, *flags):
    subprocess.run(["cc", "-O1", "-o", path, "-x", "c", "-", "-x", "none", *flags], input=source.encode(), check=True,
                   timeout=PATIENCE_SECONDS)


def give_up(number, frame):
    raise TimeoutError("what should happen did not")


def main(tests):
    """Runs what is called test_...; all of it, or what the command line names."""
    global SUBJECT_PATH
    signal.signal(signal.SIGALRM, give_up)
    # The subject's children must not outlive a test that breaks off.
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
    chosen = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="heapmark-tools-") as root:
        os.chmod(root, 0o755)
        SUBJECT_PATH = os.path.join(root, "subject")
        compile_c(SUBJECT, SUBJECT_PATH)
        for name, test in list(tests.items()):
            if not name.startswith("test_") or (chosen and name not in chosen):
                continue
            signal.alarm(2 * PATIENCE_SECONDS)  # a terminal on which nothing comes
            try:
                test(Place(root, name))
            except Exception as error:  # the rest is still worth running
                check(name, False, repr(error))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(globals()))
