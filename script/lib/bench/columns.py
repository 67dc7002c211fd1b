# SPDX-License-Identifier: Apache-2.0
"""The columns: what is put in front of a program's allocator, and what its profiles are."""
import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
JEMALLOC = LIBRARIES / "libjemalloc.so.2"
TCMALLOC = LIBRARIES / "libtcmalloc.so.4"  # not libtcmalloc_minimal, which has no profiler

# Seconds that a reader may take to open a profile.
READER_SECONDS_MAX = 60

# Of the profiles of a run, so many are opened: a load of many processes leaves hundreds alike.
READ_MAX = 5

PLAIN, SHIM, DORMANT, DEFAULT, AT_64K, EXACT = (
    "plain", "forwarding", "heapmark dormant", "heapmark 512K", "heapmark 64K", "heapmark rate 1")
HEAPTRACK, DHAT = "heaptrack", "valgrind dhat"
TCMALLOC_PLAIN, TCMALLOC_SAMPLING, TCMALLOC_ALL = "tcmalloc", "tcmalloc sampling", "gperftools HEAPPROFILE"
JEMALLOC_PLAIN, JEMALLOC_SAMPLING = "jemalloc", "jemalloc prof"


@dataclasses.dataclass
class Column:
    """In settings and prefix, {output} stands for the folder of the run's profiles."""
    name: str
    settings: dict = dataclasses.field(default_factory=dict)
    prefix: tuple = ()
    baseline: str = PLAIN  # the same allocator, not profiled
    pattern: str = ""  # of the names of its profiles in {output}; "": it writes none
    reader: tuple = ()  # a command that opens a profile, whose path follows
    share: float = 1.0  # of the rounds of a loop: where each takes long, fewer will do
    rounds_max: int = 99
    loads: str = ""  # rows to which the column is confined, as a regular expression
    missing: str = ""  # why it cannot be measured here

    def takes(self, row_name):
        return re.search(self.loads, row_name) is not None


def preload(library, **settings):
    return {"LD_PRELOAD": str(library), **settings}


def heapmark(name, library, tool, rate, **more):
    settings = preload(library, HEAPMARK_RATE=rate, HEAPMARK_DIR="{output}")
    return Column(name, settings, pattern="*.pb.gz", reader=(str(tool), "check", "-q"), **more)


def allocator(name, library, package):
    missing = "" if library.exists() else f"the package {package} is not installed"
    return Column(name, preload(library), baseline=name, missing=missing)


def tcmalloc_columns():
    plain = allocator(TCMALLOC_PLAIN, TCMALLOC, "libgoogle-perftools4")
    reader = ("google-pprof", "--text", "/bin/true") if shutil.which("google-pprof") else ()
    same = {"baseline": plain.name, "missing": plain.missing}
    return [plain,
            # Its samples stay in the process, which has to ask for them.
            Column(TCMALLOC_SAMPLING, {**plain.settings, "TCMALLOC_SAMPLE_PARAMETER": str(512 * 1024)}, **same),
            Column(TCMALLOC_ALL, {**plain.settings, "HEAPPROFILE": "{output}/profile"}, pattern="profile*.heap",
                   reader=reader, share=1 / 200, rounds_max=1, **same)]


def jemalloc_can_profile():
    """A jemalloc that was built without --enable-prof says that it knows no such setting."""
    tried = subprocess.run(["env", f"LD_PRELOAD={JEMALLOC}", "MALLOC_CONF=prof:true,prof_active:false", "/bin/true"],
                           capture_output=True, check=False)
    return b"Invalid conf" not in tried.stderr


def jemalloc_columns():
    plain = allocator(JEMALLOC_PLAIN, JEMALLOC, "libjemalloc2")
    reader = ("jeprof", "--text", "/bin/true") if shutil.which("jeprof") else ()
    missing = plain.missing or ("" if jemalloc_can_profile() else "this jemalloc was built without its profiler")
    configuration = "prof:true,lg_prof_sample:19,prof_final:true,prof_prefix:{output}/profile"
    return [plain, Column(JEMALLOC_SAMPLING, {**plain.settings, "MALLOC_CONF": configuration}, baseline=plain.name,
                          pattern="profile*.heap", reader=reader, missing=missing)]


def program_column(name, program, prefix, **more):
    missing = "" if shutil.which(program) else f"the package {program} is not installed"
    return Column(name, {}, prefix, missing=missing, **more)


def all_columns(library, shim, tool, extra):
    """library, shim and tool: paths; extra: [(name, path)] of other libraries."""
    return [
        Column(PLAIN),
        Column(SHIM, preload(shim)),
        heapmark(DORMANT, library, tool, "0"),
        heapmark(DEFAULT, library, tool, "512K"),
        heapmark(AT_64K, library, tool, "64K", loads="thread"),
        *jemalloc_columns(),
        *tcmalloc_columns()[:2],
        heapmark(EXACT, library, tool, "1", share=1 / 4),
        program_column(HEAPTRACK, "heaptrack", ("heaptrack", "-o", "{output}/profile.%p"), pattern="profile*",
                       reader=("heaptrack_print", "-f"), share=1 / 4, rounds_max=3),
        tcmalloc_columns()[2],
        program_column(DHAT, "valgrind", ("valgrind", "--tool=dhat", "--dhat-out-file={output}/profile.%p"),
                       pattern="profile*", share=1 / 200, rounds_max=1, loads="^window"),
        *(Column(name, preload(path)) for name, path in extra),
    ]


def read_all(column, files):
    """Opens some of the profiles as their reader does; returns what is wrong with them, or ""."""
    for path in files[:READ_MAX]:
        try:
            done = subprocess.run([*column.reader, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  timeout=READER_SECONDS_MAX, check=False)
        except subprocess.TimeoutExpired:
            return f"{column.reader[0]} took more than {READER_SECONDS_MAX} s"
        if done.returncode != 0:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            return f"{column.reader[0]}: status {done.returncode} {''.join(last)}"
    return ""
