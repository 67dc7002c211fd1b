# SPDX-License-Identifier: Apache-2.0
"""The file libheapmark.so itself."""
import re
import subprocess

from row import Row


def output_of(*words):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def exports(case):
    """The library shows the names of exports.map, and no other."""
    text = re.sub(r"#.*", "", case.build.exports.read_text())
    wanted = set(re.findall(r"(\w+);", text.split("global:")[1].split("local:")[0]))
    found = {line.split()[-1].split("@")[0] for line in
             output_of("nm", "-D", "--defined-only", case.build.library).splitlines()}
    case.expect(len(wanted) > 30, f"{case.build.exports}: expected more than 30 names, found {len(wanted)}")
    case.equal("names that are missing", set(), wanted - found)
    case.equal("names too many", set(), found - wanted)


def needed(case):
    """libc alone, which includes the loader."""
    libraries = set(re.findall(r"\(NEEDED\).*\[(.*)\]", output_of("readelf", "-dW", case.build.library)))
    case.expect("libc.so.6" in libraries, f"NEEDED: expected libc.so.6, found {libraries}")
    case.equal("NEEDED beside libc", set(), libraries - {"libc.so.6", "ld-linux-x86-64.so.2"})


def thread_local_size(case):
    """One cache line a thread."""
    headers = output_of("readelf", "-lW", case.build.library)
    sizes = re.findall(r"^\s*TLS\s+\S+\s+\S+\s+\S+\s+\S+\s+(0x[0-9a-f]+)", headers, re.MULTILINE)
    case.equal("PT_TLS segments", 1, len(sizes))
    case.expect(all(int(size, 16) <= 64 for size in sizes), f"PT_TLS: expected at most 64 bytes, found {sizes}")


ROWS = [
    Row("library: exported names", check=exports),
    Row("library: what it needs", check=needed),
    Row("library: thread-local storage", check=thread_local_size),
]
