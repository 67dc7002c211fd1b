# SPDX-License-Identifier: Apache-2.0
"""All the ways in which a program can be linked, changed afterwards, and started."""
import dataclasses
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pprof
from case import TIMEOUT_SECONDS, clean_environment
from checks import nothing, nothing_more
from row import Row

VARIANTS = re.findall(r"^  '(\w+)': \[(?:true|false),", (Path(__file__).parent / "meson.build").read_text(),
                      re.MULTILINE)
LOADER = "/lib64/ld-linux-x86-64.so.2"
SECTION_BYTES = 64

# Fields of the ELF header.
SECTION_TABLE_OFFSET, SECTION_COUNT = 0x28, 0x3c


def copy_of(case, name):
    """A copy of a program that may be altered, beside the library that it needs."""
    folder = case.scratch / "programs"
    folder.mkdir(exist_ok=True)
    shutil.copy(case.program("liblinked_library.so"), folder)
    return Path(shutil.copy(case.program(name), folder))


def function_starts(path):
    """{address: name} of the functions of a program."""
    text = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
    return {int(address, 16): name for address, name in re.findall(r"^(\w+) [tT] (\w+)$", text, re.MULTILINE)}


def with_names(profile, starts):
    """The profile with "program+0x1234" replaced by the name of the function that starts there."""
    def name_frame(frame):
        start = re.fullmatch(r"linked-\w+\+0x([0-9a-f]+)", frame.function)
        return dataclasses.replace(frame, function=starts.get(int(start[1], 16), "?")) if start else frame

    return dataclasses.replace(profile, samples=[
        dataclasses.replace(sample, frames=tuple(map(name_frame, sample.frames))) for sample in profile.samples])


def check_by_starts(unaltered):
    """The figures, by functions that are named by their starts only."""
    def check(case, run):
        profile = with_names(run.only_profile(), function_starts(case.program(unaltered)))
        (sites,) = run.truth().values()
        for site, figures in sites.items():
            case.equal(f"figures of {site}", tuple(figures), tuple(profile.total(site, among=sites)))
        case.equal("losses", {}, profile.losses)
    return check


def stripped(case, name, arguments):
    program = copy_of(case, name)
    subprocess.run(["strip", *arguments, program], check=True)
    Row(name, [str(program)], check=check_by_starts(name)).run(case)


def without_sections(case, name):
    """As sstrip leaves it: no section table at all."""
    program = copy_of(case, name)
    data = bytearray(program.read_bytes())
    struct.pack_into("<Q", data, SECTION_TABLE_OFFSET, 0)
    struct.pack_into("<HH", data, SECTION_COUNT, 0, 0)
    program.write_bytes(data)
    Row(name, [str(program)], check=check_by_starts(name)).run(case)


def many_sections(case, name):
    """More than the header's field holds: the number is in the first section."""
    wanted_count = 70000
    program = copy_of(case, name)
    data = bytearray(program.read_bytes())
    table, = struct.unpack_from("<Q", data, SECTION_TABLE_OFFSET)
    count, names_index = struct.unpack_from("<HH", data, SECTION_COUNT)
    sections = data[table:table + count * SECTION_BYTES].ljust(wanted_count * SECTION_BYTES, b"\0")
    struct.pack_into("<QI", sections, 0x20, wanted_count, names_index)  # sh_size, sh_link
    data += bytes(-len(data) % 8)
    struct.pack_into("<Q", data, SECTION_TABLE_OFFSET, len(data))
    struct.pack_into("<HH", data, SECTION_COUNT, 0, 0xffff)
    program.write_bytes(data + sections)
    Row(name, [str(program)]).run(case)


def by_loader(case, name):
    """ld.so ./program: for the kernel, the loader is the program."""
    Row(name, [LOADER, str(case.program(name))]).run(case)


def from_memory(case, name):
    """fexecve of a file that has no name anywhere."""
    program = case.program(name)
    Row(name, [str(case.program("launch")), str(program)], {"LD_LIBRARY_PATH": str(program.parent)}).run(case)


def changed(case, name, change):
    """The program's file is another, or gone, by the time that the profile is written."""
    program = copy_of(case, name)
    folder = case.scratch / "output"
    folder.mkdir()
    go = case.scratch / "go"
    process = subprocess.Popen(
        [program, "wait", go], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=clean_environment() | {"LD_PRELOAD": str(case.build.library), "HEAPMARK_DIR": str(folder),
                                   "HEAPMARK_RATE": "1"})
    case.equal("first line", "ready\n", process.stdout.readline())
    change(program)
    go.touch()
    stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    case.equal("exit status and standard error", (0, ""), (process.returncode, stderr))
    (path,) = folder.glob("*.pb.gz")
    profile = pprof.read(path)
    for line in stdout.splitlines():
        if line.startswith("truth "):
            _, _, site, *figures = line.split()
            case.equal(f"figures of {site}", tuple(map(int, figures)), tuple(profile.total(site)))


def replace(by):
    """As a package manager does it: another file under the same name."""
    def change(program):
        other = program.with_name("other")
        shutil.copy(by, other)
        os.rename(other, program)
    return change


ROWS = [
    *(Row(f"link: {variant.replace('_', ' ')}", f"linked-{variant}") for variant in VARIANTS),
    Row("link: a library at the address in its file", "linked-library_prelinked"),
    Row("link: the program wraps malloc", "wrapper"),
    Row("link: the program has a malloc of its own", "own_malloc", profiles=None, check=nothing_more),
    *(Row(f"link: -{how}", f"unreachable-{how}", profiles=0, check=nothing) for how in ("static", "static-pie")),
    *(Row(f"link: {kind}, stripped", check=lambda case, name=f"linked-{kind}": stripped(case, name, []))
      for kind in ("pie", "fixed")),
    *(Row(f"link: {kind}, no section table", check=lambda case, name=f"linked-{kind}": without_sections(case, name))
      for kind in ("pie", "fixed", "fixed_one_segment")),
    Row("link: 70,000 sections", check=lambda case: many_sections(case, "linked-pie")),
    *(Row(f"link: {kind}, started by the loader", check=lambda case, name=f"linked-{kind}": by_loader(case, name))
      for kind in ("pie", "fixed")),
    *(Row(f"link: {kind}, from memory", check=lambda case, name=f"linked-{kind}": from_memory(case, name))
      for kind in ("pie", "fixed")),
    *(Row(f"link: {kind}, removed while it runs",
          check=lambda case, name=f"linked-{kind}": changed(case, name, os.unlink)) for kind in ("pie", "fixed")),
    *(Row(f"link: {kind}, replaced while it runs",
          check=lambda case, name=f"linked-{kind}": changed(case, name, replace(case.program("own_malloc"))))
      for kind in ("pie", "fixed")),
]
