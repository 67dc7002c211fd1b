#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Functions, files, lines and inlined functions in profiles, held against the sources and against addr2line."""
import os
import pty
import random
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import real
import addresses
import pprof

CXX_FLAGS = ["-O2", "-g", "-std=c++17"]
SHAPES_CXX = real.INPUTS / "shapes.cc"
SHAPES_RUST = real.INPUTS / "shapes.rs"
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"

C_SOURCE = """#include <stdlib.h>
#include <unistd.h>
void *kept[100];
__attribute__((noinline)) void keep_blocks(int count)
{
	for (int i = 0; i < count; i++)
		kept[i] = malloc(1000); /* mark: keep */
	__asm__ volatile("");
}
int main(int argc, char **argv)
{
	keep_blocks(100); /* mark: main */
	return argc > 1 ? unlink(argv[0]) : 0;
}
"""


def marks(source):
    """{name: number of the line that has it}"""
    return {match[1]: number for number, line in enumerate(source.splitlines(), 1)
            for match in [re.search(r"mark: (\w+)", line)] if match}


def build(session, name, source, *flags):
    path = session.folder / f"{name}.c"
    path.write_text(source)
    session.must(["gcc", "-O2", "-g", *flags, path, "-o", session.folder / name])
    return session.folder / name


def build_shapes(session):
    program = session.folder / "shapes"
    session.must(["g++", *CXX_FLAGS, SHAPES_CXX, "-o", program])
    return program


def profile_by_run(session, command, *options, status=0, **environment):
    """Returns (what heapmark said, the path of the one profile)."""
    output = session.new_output()
    outcome = session.run([session.tool, "run", "-o", output, "-r", "1", *options, "--", *command],
                          session.environment(**environment))
    session.equal(f"{command[0]}: status", outcome.status, status)
    paths = sorted(output.glob("*.pb.gz"))
    session.equal(f"{command[0]}: profiles", len(paths), 1)
    return outcome.stderr.decode(), paths[0]


def places(path):
    """All frames: {(function, base name of the file, line)}."""
    return {(frame.function, os.path.basename(frame.file), frame.line)
            for sample in pprof.read(path).samples for frame in sample.frames}


def chain(path, function):
    """The functions from this one on outwards, in a stack that has it."""
    for sample in pprof.read(path).samples:
        names = sample.functions()
        if function in names:
            return names[names.index(function):]
    return []


def is_good(session, path):
    session.equal(f"{path.name}: heapmark check", session.run([session.tool, "check", path]).status, 0)


# What other readers say of the same addresses

# llvm-symbolizer can speak as addr2line does.
READERS = {
    "addr2line": ["addr2line", "-a", "-f", "-i", "-e"],
    "llvm-symbolizer": ["llvm-symbolizer", "--output-style=GNU", "--no-demangle", "-a", "-f", "-i", "-e"],
}


def by_reader(session, reader, binary, wanted):
    """{address: [(function, file, line)]}, innermost first, names as the linker has them."""
    text = session.must([*READERS[reader], binary], stdin="".join(f"{address:#x}\n" for address in wanted).encode())
    answers, frames, function = {}, [], None
    for line in text.splitlines():
        if re.fullmatch(r"0x[0-9a-f]+", line):
            frames = answers.setdefault(int(line, 16), [])
        elif function is None:
            function = line
        elif line:
            file, number = re.sub(r" \(discriminator \d+\)$", "", line).rsplit(":", 1)
            frames.append((function, "" if file == "??" else file, 0 if number == "?" else int(number)))
            function = None
    return answers


def same_file(ours, theirs):
    """
    They leave "./" and "a/.." in a path, and put the directory of a unit before a path also where that
    directory is relative and leads nowhere, as in Debian's builds.
    """
    ours, theirs = (os.path.normpath(path) if path else "" for path in (ours, theirs))
    return ours == theirs or theirs.endswith("/" + ours) or theirs == re.sub(r"^(\.\./)+", "", ours)


def same_function(ours, theirs, is_outermost, symbols):
    """
    The names are the linker's.  Where debug information has none, they say what it has, and ours is, of the
    function that really exists, the symbol; it then has more than one name (malloc, __libc_malloc), or one for
    its piece (parse.part.0).  llvm-symbolizer says a symbol there also where debug information has a name:
    that of the piece, or another one for the same place (the destructors D1 and D2).
    """
    if ours == theirs:
        return True
    if not is_outermost:
        return False
    is_piece = theirs in symbols and theirs.startswith(ours + ".")
    return is_piece or theirs in symbols.get(ours, ()) or not theirs.startswith(("_Z", "_R")) and ours in symbols


def same_answer(ours, theirs, symbols):
    return len(ours) == len(theirs) and all(
        same_function(mine[0], other[0], mine is ours[-1], symbols) and same_file(mine[1], other[1]) and
        mine[2] == other[2] for mine, other in zip(ours, theirs))


def compare(session, name, binary, count, readers, symbol_options=()):
    """
    Random addresses in all functions of a file: the same answer from us as from one of the readers at least.
    Two are asked where one has faults: addr2line takes the wrong entry of the table of files in DWARF 5, does
    not see the inlined functions of clang, and now and then repeats the outermost function as the innermost.
    """
    names, ranges = addresses.functions(binary, *symbol_options)
    symbols = {symbol: together for together in names.values() for symbol in together}
    wanted = addresses.choose(ranges, count, name)
    profile = session.folder / f"{name}.pb.gz"
    addresses.write(profile, binary, wanted)
    outcome = session.run([session.tool, "symbolize", profile])
    session.equal(f"{name}: symbolize: {outcome.stderr.decode()}: status", outcome.status, 0)
    is_good(session, profile)
    answers = {reader: by_reader(session, reader, binary, wanted) for reader in readers}
    differences, inlined = [], 0
    for sample in pprof.read(profile).samples:
        address = sample.frames[0].address - addresses.BASE
        ours = [(frame.system_name, frame.file, frame.line) for frame in sample.frames]
        inlined += len(ours) - 1
        if not any(same_answer(ours, theirs[address], symbols) for theirs in answers.values()):
            differences.append((hex(address), ours, *(theirs[address] for theirs in answers.values())))
    session.equal(f"{name}: {count} answers, differences from {' and '.join(readers)}: {len(differences)}",
                  differences[:2], [])
    return inlined


def test_readers(session):
    program = session.folder / "shapes-4"
    session.must(["g++", *CXX_FLAGS, "-gdwarf-4", SHAPES_CXX, "-o", program])
    inlined = compare(session, "shapes, DWARF 4", program, 1500, ["addr2line", "llvm-symbolizer"])
    session.check("inlined functions were compared", inlined > 500, inlined)
    compare(session, "shapes, DWARF 5", build_shapes(session), 1500, ["llvm-symbolizer"])
    program = session.folder / "shapes-clang"
    session.must([real.find("clang++"), *CXX_FLAGS, SHAPES_CXX, "-o", program])
    compare(session, "shapes by clang", program, 1500, ["llvm-symbolizer"])


# Programs of three languages

def test_cxx(session):
    line = marks(SHAPES_CXX.read_text())
    said, path = profile_by_run(session, [build_shapes(session)])
    session.equal("shapes: no warning", re.findall("warning.*", said), [])
    is_good(session, path)
    session.good([path])
    found = places(path)
    for function, mark in {"shapes::(anonymous namespace)::make_inner": "inner", "shapes::make_middle": "middle",
                           "make_outer": "outer", "main": "main", "main::{lambda}::operator()": "lambda",
                           "shapes::Box<Point>::fill": "Box"}.items():
        session.check(f"shapes: {function} at its line", (function, "shapes.cc", line[mark]) in found,
                      sorted(place for place in found if place[1] == "shapes.cc"))
    session.equal("shapes: inlined functions, innermost first", chain(path, "shapes::(anonymous namespace)::make_inner")[:4],
                  ["shapes::(anonymous namespace)::make_inner", "shapes::make_middle", "make_outer", "main"])
    session.check("shapes: template arguments stay, allocators go",
                  any(function == "std::vector<Point>::push_back" for function, _file, _line in found), found)
    mangled = {frame.system_name for sample in pprof.read(path).samples for frame in sample.frames}
    session.check("shapes: the linker's names", "_Z10make_outeri" in mangled, mangled)


def test_rust(session):
    rustc = real.find("rustc")
    program = session.folder / "shapes"
    line = marks(SHAPES_RUST.read_text())
    for mangling in "legacy", "v0":
        flags = ["-C", "symbol-mangling-version=v0"] if mangling == "v0" else []
        if session.run([rustc, "-O", "-g", *flags, SHAPES_RUST, "-o", program]).status != 0:
            session.check("rustc knows the older names", mangling == "v0")  # and not yet the newer ones
            continue
        _said, path = profile_by_run(session, [program])
        is_good(session, path)
        found = places(path)
        session.check(f"{mangling}: a method of a trait",
                      ("<shapes::shapes::Square as shapes::shapes::Area>::table", "shapes.rs", line["table"]) in found,
                      sorted(place for place in found if place[1] == "shapes.rs"))
        session.check(f"{mangling}: main", ("shapes::main", "shapes.rs", line["main"]) in found,
                      sorted(place for place in found if place[1] == "shapes.rs"))
        session.check(f"{mangling}: no hash in a name", not any(re.search("::h[0-9a-f]{16}$", place[0]) for place in found))


def test_go_tool_pprof(session):
    """Source lines beside figures, in the reader that people use."""
    program = build(session, "keeper", C_SOURCE)
    _said, path = profile_by_run(session, [program])
    listed = session.must(["go", "tool", "pprof", "-list", "keep_blocks", "-sample_index=inuse_space", path])
    session.check("-list shows the line that allocates", re.search(
        rf"97\.66kB +97\.66kB +{marks(C_SOURCE)['keep']}:\s.*kept\[i\] = malloc\(1000\)", listed), listed)
    traces = session.must(["go", "tool", "pprof", "-traces", "-lines", "-sample_index=inuse_space", path])
    session.check("-traces shows the stack", re.search(
        rf"keep_blocks .*keeper\.c:{marks(C_SOURCE)['keep']}\n +main .*keeper\.c:{marks(C_SOURCE)['main']}\n", traces),
        traces)


# Debug information that is elsewhere

def test_separate_files(session):
    """Stripped programs of the distribution, with the files of python3-dbg and libc6-dbg beside them."""
    _said, path = profile_by_run(session, [real.find("/usr/bin/python3"), "-c", "x = [bytes(500) for i in range(1000)]"],
                                 PYTHONDONTWRITEBYTECODE="1")
    is_good(session, path)
    found = places(path)
    session.check("libc6-dbg", any(function == "__libc_start_main" and file == "libc-start.c" and line > 0
                                   for function, file, line in found), found)
    session.check("python3-dbg", any(function.startswith("_PyEval_Eval") and file == "ceval.c" and line > 0
                                     for function, file, line in found), found)
    compare(session, "libc", LIBC, 1000, ["addr2line", "llvm-symbolizer"], ["-D"])


def test_debug_link(session):
    """A .gnu_debuglink beside the program; and one whose checksum is another file's."""
    program = build(session, "linked", C_SOURCE, "-Wl,--build-id=none")
    debug = session.folder / "linked.debug"
    session.must(["objcopy", "--only-keep-debug", program, debug])
    session.must(["strip", program])
    session.must(["objcopy", f"--add-gnu-debuglink={debug}", program])
    line = marks(C_SOURCE)["keep"]
    session.check("debuglink", ("keep_blocks", "linked.c", line) in places(profile_by_run(session, [program])[1]))
    with debug.open("ab") as file:
        file.write(b"altered")
    session.check("debuglink of another file",
                  not any(file == "linked.c" for _function, file, _line in places(profile_by_run(session, [program])[1])))


def test_mini_debug_info(session):
    """Symbols that are left in a compressed section."""
    program = build(session, "mini", C_SOURCE.replace("void keep_blocks", "static void keep_blocks"))
    symbols = session.folder / "mini_symbols"
    session.must(["objcopy", "--strip-debug", "--remove-section=.comment", program, symbols])
    session.must(["objcopy", "--only-keep-debug", symbols])
    session.must(["xz", "-k", symbols])
    session.must(["strip", program])
    session.must(["objcopy", "--add-section", f".gnu_debugdata={symbols}.xz", program])
    _said, path = profile_by_run(session, [program])
    session.check(".gnu_debugdata", "keep_blocks" in pprof.read(path).functions(), pprof.read(path).functions())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def strip_into(session, name, folder):
    """A program without debug information, which is put into a folder of its own."""
    program = build(session, name, C_SOURCE)
    folder.mkdir()
    session.must(["objcopy", "--only-keep-debug", program, folder / f"{name}.debug"])
    session.must(["strip", program])
    (session.folder / f"{name}.c").unlink()
    return program


def test_debuginfod(session):
    server = real.find("debuginfod")
    files = session.folder / "served"
    program = strip_into(session, "served_program", files)
    port = free_port()
    home = session.folder / "server-home"
    home.mkdir()
    process = session.serve([server, "-d", ":memory:", "-p", str(port), "-F", str(files)],
                            session.environment(HOME=str(home)))

    def is_ready():
        answer = subprocess.run(["debuginfod-find", "debuginfo", program],
                                env=session.environment(DEBUGINFOD_URLS=f"http://127.0.0.1:{port}",
                                                        DEBUGINFOD_CACHE_PATH=str(home / f"cache-{time.monotonic()}")),
                                capture_output=True, check=False) if find else None
        return answer is None or answer.returncode == 0

    find = shutil.which("debuginfod-find", path=real.SYSTEM_PATH)
    real.wait_for(process, is_ready, "debuginfod")
    line = marks(C_SOURCE)["keep"]
    asked = {"DEBUGINFOD_URLS": f"http://127.0.0.1:{port}", "DEBUGINFOD_CACHE_PATH": str(session.folder / "cache")}
    said, path = profile_by_run(session, [program], **asked)
    session.equal("debuginfod: no progress where there is no terminal, no warning", re.findall("names:|warning.*", said), [])
    session.check("debuginfod: a file that is found nowhere else", ("keep_blocks", "served_program.c", line) in places(path),
                  places(path))
    # On another machine: nothing but the profile and the server.
    _said, bare = profile_by_run(session, [program], "--no-symbols")
    program.unlink()
    outcome = session.run([session.tool, "symbolize", bare], session.environment(**asked))
    session.equal("debuginfod: symbolize without the program", outcome.status, 0)
    session.check("debuginfod: lines without the program", ("keep_blocks", "served_program.c", line) in places(bare),
                  places(bare))


def test_debuginfod_dead(session):
    """A server that is not there: one line, and names from symbol tables."""
    program = build(session, "lonely", C_SOURCE)
    session.must(["strip", "--strip-debug", program])
    said, path = profile_by_run(session, [program], DEBUGINFOD_URLS=f"http://127.0.0.1:{free_port()}",
                                DEBUGINFOD_CACHE_PATH=str(session.folder / "cache"))
    session.equal("no server: one warning", len(re.findall("warning: DEBUGINFOD_URLS: no answer about ", said)), 1)
    session.check("no server: symbols", "keep_blocks" in pprof.read(path).functions())


# Programs that are not there any more, or are others

def test_deleted(session):
    program = build(session, "fleeting", C_SOURCE)
    output = session.new_output()
    outcome = session.run([session.tool, "run", "-o", output, "-r", "1", "--", program, "delete"])
    session.equal("deleted: status", outcome.status, 0)
    session.equal("deleted: it is gone", program.exists(), False)
    session.equal("deleted: one line says so", len(re.findall(
        "warning: 1 files that were loaded are not on disk", outcome.stderr.decode())), 1)
    (path,) = output.glob("*.pb.gz")
    is_good(session, path)
    # It comes back: the same build, and names come with it.
    session.must(["gcc", "-O2", "-g", f"{program}.c", "-o", program])
    session.must([session.tool, "symbolize", path])
    session.check("deleted, and back: lines", ("keep_blocks", "fleeting.c", marks(C_SOURCE)["keep"]) in places(path))


def test_replaced(session):
    program = build(session, "changed", C_SOURCE)
    _said, path = profile_by_run(session, [program], "--no-symbols")
    before = path.read_bytes()
    build(session, "changed", C_SOURCE.replace("keep_blocks", "something_else"))
    outcome = session.run([session.tool, "symbolize", path])
    session.equal("replaced: status", outcome.status, 0)
    session.equal("replaced: one line says so", len(re.findall(
        "warning: 1 files were replaced since they were loaded", outcome.stderr.decode())), 1)
    session.check("replaced: not used", "something_else" not in pprof.read(path).functions())
    session.check("replaced: other files are named", path.read_bytes() != before and
                  "__libc_start_main" in pprof.read(path).functions())


# heapmark symbolize

def without_names(profile):
    """What must not change: figures, addresses, order, types, comments."""
    rows = [([frame.address for frame in sample.frames], sample.figures) for sample in profile.samples]
    return [sorted({address for address in row}) for row, _figures in rows], [row[1] for row in rows], \
        profile.comments, profile.sample_types, profile.period


def test_symbolize(session):
    program = build_shapes(session)
    _said, bare = profile_by_run(session, [program], "--no-symbols")
    bare.chmod(0o640)
    plain = pprof.read(bare)
    session.check("--no-symbols: addresses only", all(re.fullmatch("0x[0-9a-f]+|\\[.*\\]", name) for name in plain.functions()))
    named = session.folder / "named.pb.gz"
    session.must([session.tool, "symbolize", "-o", named, bare])
    session.equal("-o: the profile stays", without_names(pprof.read(bare)), without_names(plain))
    session.equal("nothing but names is new", without_names(pprof.read(named)), without_names(plain))
    session.must([session.tool, "symbolize", bare])
    session.equal("in place: as with -o", bare.read_bytes(), named.read_bytes())
    session.equal("in place: the mode", bare.stat().st_mode & 0o777, 0o640)
    session.equal("in place: nothing is left beside it", len(list(bare.parent.iterdir())), 1)
    _said, at_once = profile_by_run(session, [program])
    session.equal("the same places as by run", places(bare), places(at_once))
    outcome = session.run([session.tool, "symbolize", bare])
    session.check("once more: it says that there is nothing to do or writes the same",
                  outcome.status == 0 and places(bare) == places(at_once), outcome.stderr)
    # Without the program, what was known stays.
    program.unlink()
    session.must([session.tool, "symbolize", bare])
    session.equal("without the program: names stay", places(bare), places(at_once))
    outcome = session.run([session.tool, "symbolize", program.parent / "missing.pb.gz"])
    session.equal("no such file: status", outcome.status, 2)
    bare.write_bytes(b"\x1f\x8b nonsense")
    outcome = session.run([session.tool, "symbolize", bare])
    session.equal("no profile: status", outcome.status, 2)
    session.equal("no profile: untouched", bare.read_bytes(), b"\x1f\x8b nonsense")


# Code that is made at run time

JIT_SCRIPT = """
function makeSquares(count) {
    const squares = [];
    for (let i = 0; i < count; i++)
        squares.push(Buffer.allocUnsafeSlow(2000));
    return squares;
}
let total = 0;
for (let i = 0; i < 50; i++)
    total += makeSquares(100).length;
console.log(total);
"""


def test_node(session):
    node = real.find("node")
    script = session.folder / "squares.js"
    script.write_text(JIT_SCRIPT)
    output = session.new_output()
    outcome = session.run([session.tool, "run", "-o", output, "-r", "16K", "--", node, "--perf-basic-prof", script])
    session.equal("node: status", outcome.status, 0)
    paths = sorted(output.glob("*.pb.gz"))
    session.equal("node: profiles", len(paths), 1)
    for path in paths:
        is_good(session, path)
        pid = path.name.split(".")[2]
        functions = pprof.read(path).functions()
        session.check("node: a function of the script", any("makeSquares" in name and "squares.js" in name for name in functions),
                      sorted(name for name in functions if "js" in name))
        Path(f"/tmp/perf-{pid}.map").unlink(missing_ok=True)


# Debug information that lies

def test_damaged(session):
    """Altered bytes in debug sections: names where possible, never more than one warning, never a failure."""
    program = build_shapes(session)
    _names, ranges = addresses.functions(program)
    wanted = addresses.choose(ranges, 200, 4)
    sections = [(int(match[2], 16), int(match[3], 16)) for match in re.finditer(
        r"\] (\.debug_\w+) +\w+ +\w+ (\w+) (\w+) ", session.must(["readelf", "-SW", program]))]
    session.check("debug sections are there", len(sections) >= 5, sections)
    damaged = session.folder / "damaged"
    original = program.read_bytes()
    profile = session.folder / "damaged.pb.gz"
    program.rename(damaged)
    for seed in range(40):
        draw = random.Random(seed)
        data = bytearray(original)
        for _ in range(draw.choice([1, 4, 16, 64, 256])):
            offset, size = draw.choice(sections)
            data[offset + draw.randrange(size)] = draw.choice([0, 0x7f, 0x80, 0xff, draw.randrange(256)])
        if seed % 10 == 9:
            data = data[:draw.randrange(len(data) // 2, len(data))]
        damaged.write_bytes(data)
        addresses.write(profile, damaged, wanted) if seed % 10 != 9 else None
        outcome = session.run([session.tool, "symbolize", profile])
        warnings = re.findall("warning.*", outcome.stderr.decode())
        session.equal(f"damaged, {seed}: {outcome.stderr!r}: status", outcome.status, 0)
        session.check(f"damaged, {seed}: one warning at most", len(warnings) <= 1, warnings)
        session.equal(f"damaged, {seed}: heapmark check", session.run([session.tool, "check", profile]).status, 0)
        session.check(f"damaged, {seed}: named by its symbols", "make_outer" in pprof.read(profile).functions() or
                      seed % 10 == 9)


def section_headers(data):
    """{name: (place of the header in the file, offset of the section)}"""
    start, = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    places = [start + size * index for index in range(count)]
    texts, = struct.unpack_from("<Q", data, places[names] + 24)
    headers = {}
    for place in places:
        begin = texts + struct.unpack_from("<I", data, place)[0]
        headers[data[begin:data.index(b"\0", begin)].decode()] = (place, *struct.unpack_from("<Q", data, place + 24))
    return headers


def test_lying_sizes(session):
    """Tables of 4 GiB: that are not there, and that are, in a file with a hole."""
    program = build_shapes(session)
    _names, ranges = addresses.functions(program)
    wanted = addresses.choose(ranges, 100, 5)
    original = program.read_bytes()
    lying = session.folder / "lying"
    profile = session.folder / "lying.pb.gz"
    program.rename(lying)
    headers = section_headers(original)
    for section in ".debug_info", ".debug_str", ".debug_line", ".strtab":
        place, offset = headers[section]
        addresses.write(profile, lying, wanted)
        for has_hole in (False, True):
            data = bytearray(original)
            # with a hole, the table begins where it did not, and its 4 GiB of nothing are there
            struct.pack_into("<QQ", data, place + 24, len(data) if has_hole else offset, 1 << 32)
            lying.write_bytes(data)
            if has_hole:
                os.truncate(lying, len(data) + (1 << 32))
            outcome = session.run([session.tool, "symbolize", "-o", session.folder / "out.pb.gz", profile])
            name = f"{section}, {'there' if has_hole else 'not there'}"
            session.equal(f"4 GiB in {name}: {outcome.stderr!r}: status", outcome.status, 0)
            session.check(f"4 GiB in {name}: one warning at most", outcome.stderr.count(b"warning") <= 1, outcome.stderr)
        lying.write_bytes(original)


class SlowServer(threading.Thread):
    """Knows no file, and says so only when it is told to."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.may_answer = threading.Event()

    def run(self):
        while True:
            client, _address = self.listener.accept()
            threading.Thread(target=self.answer, args=(client,), daemon=True).start()

    def answer(self, client):
        with client:
            client.recv(4096)
            self.may_answer.wait(real.PATIENCE_SECONDS)
            client.sendall(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def test_progress(session):
    """On a terminal it is said what is waited for; the line is gone in the end."""
    program = build(session, "waiting", C_SOURCE)
    session.must(["strip", program])
    addresses_of_program = session.folder / "waiting.pb.gz"
    server = SlowServer()
    server.start()
    _said, path = profile_by_run(session, [program], "--no-symbols")
    shutil.copy(path, addresses_of_program)
    ours, theirs = pty.openpty()
    process = subprocess.Popen([session.tool, "symbolize", addresses_of_program], stdin=subprocess.DEVNULL, stderr=theirs,
                               stdout=subprocess.DEVNULL, cwd=session.folder, start_new_session=True,
                               env=session.environment(DEBUGINFOD_URLS=f"http://127.0.0.1:{server.port}", TERM="vt100",
                                                       DEBUGINFOD_CACHE_PATH=str(session.folder / "cache")))
    session.servers.append(process)
    os.close(theirs)
    shown = b""
    while b"asking a debuginfod server for" not in shown:
        shown += os.read(ours, 4096)
    server.may_answer.set()
    try:
        while True:
            shown += os.read(ours, 4096)
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    session.equal("progress: status", session.end(process), 0)
    last = shown[shown.rindex(b"names: asking"):]
    session.check("progress: the line is taken away", b"\r\x1b[K" in last, last)
    session.check("progress: a file that the server does not know is no failure", b"warning" not in shown, shown)


real.main({name.removeprefix("test_"): test for name, test in list(globals().items()) if name.startswith("test_")})
