# SPDX-License-Identifier: Apache-2.0
"""What the files are called, where they go, and what settings do."""
from checks import nothing
from row import NEVER, SUPERVISED, Row


def names(case):
    """heapmark.<comm>.<pid>: comm is the name under which the program was executed, made safe."""
    folder = case.scratch / "bin"
    folder.mkdir()
    for name, comm in (("we ird:näme", "we_ird_n__me"), ("a.b-c_1", "a.b-c_1"), ("x" * 100, "x" * 63)):
        link = folder / name
        link.symlink_to(case.program("plain"))
        run = case.run([str(link)])
        case.equal("files", [f"heapmark.{comm}.{run.pid}.pb.gz"], [path.name for path in run.files()])


def default_directory(case, run):
    case.equal("files", [f"heapmark.plain.{run.pid}.pb.gz"],
               [path.name for path in (run.output.parent / "work").iterdir()])


def kept_default_rate(case, run):
    case.equal("period", 512 * 1024, run.only_profile().period)


NONSENSE = (
    ("HEAPMARK_RATE", "lots", kept_default_rate), ("HEAPMARK_RATE", "", kept_default_rate),
    ("HEAPMARK_RATE", "-1", kept_default_rate), ("HEAPMARK_RATE", "64Q", kept_default_rate),
    ("HEAPMARK_RATE", "99999999999999999999", kept_default_rate),
    ("HEAPMARK_MAX", "1", None), ("HEAPMARK_MAX", "big", None), ("HEAPMARK_FRAMES", "0", None),
    ("HEAPMARK_FRAMES", "129", None), ("HEAPMARK_CHILDREN", "maybe", None), ("HEAPMARK_VERBOSE", "yes", None),
    ("HEAPMARK_SEED", "abc", None), ("HEAPMARK", "colour=blue", None), ("HEAPMARK", "rate", None),
    ("HEAPMARK", "max=none", None))

ROWS = [
    Row("files: names", check=names),
    Row("files: nothing was sampled", "plain", NEVER, status=3, profiles=0, check=nothing),
    Row("files: asleep", "plain", {"HEAPMARK_RATE": "0"}, status=3, profiles=0, check=nothing),
    Row("files: no HEAPMARK_DIR", "plain", {"HEAPMARK_DIR": None}, status=3, profiles=0, check=default_directory),
    Row("files: HEAPMARK=rate=1,dir=...", "plain",
        {"HEAPMARK": "rate=1,dir={output}", "HEAPMARK_RATE": None, "HEAPMARK_DIR": None}, status=3),
    Row("files: single variables win", "plain", {"HEAPMARK": "rate=1T,dir=/no/such,max=1T"} | {"HEAPMARK_MAX": "1M"},
        status=3),
    Row("files: HEAPMARK_VERBOSE=1", "plain", {"HEAPMARK_VERBOSE": "1"}, status=3,
        said=(r"heapmark: plain\[\d+\]: wrote .*/heapmark\.plain\.\d+\.pb\.gz",)),
    Row("files: left to a supervisor", "plain", SUPERVISED, status=3, profiles=0, ledgers=1),
    *(Row(f"nonsense: {variable}={value}", "plain", {variable: value}, status=3,
          said=(f"^heapmark: {variable}.*\"{value}\"|^heapmark: HEAPMARK_MAX: \"none\"",), check=check)
      for variable, value, check in NONSENSE),
]
