# SPDX-License-Identifier: Apache-2.0
"""Places and limits in which a profile is not possible, or hard: the program is the same."""
from checks import nothing
from row import Row


MOUNT = ("unshare", "--mount", "--map-root-user", "sh", "-c")
CLOSING = ("sh", "-c", 'exec "$@" <&-', "sh")


def with_mount(options):
    """HEAPMARK_DIR is a file system of its own, which goes with the program."""
    return MOUNT + (f"mount -t tmpfs -o {options} none '{{output}}' && exec \"$@\"", "sh")


def nameless_totals(case, run):
    """Where no file can be opened for names, the figures are there all the same."""
    (truth,) = run.truth().values()
    expected = [sum(figures) for figures in zip(*truth.values())]
    total = run.only_profile().total()
    case.expect(all(found >= wanted for wanted, found in zip(expected, total)),
                f"all figures: expected at least {expected}, found {list(total)}")


def without_profile(name, said, environment=None, command="plain", status=3, **rest):
    return Row(f"surroundings: {name}", command, environment or {}, status=status, said=said, profiles=0,
               check=nothing, **rest)


ROWS = [
    without_profile("no such directory", (r"cannot write to /no/such \(No such file or directory\)",),
                    {"HEAPMARK_DIR": "/no/such"}),
    without_profile("a file for a directory", (r"cannot write to .*libheapmark\.so.* \(Not a directory\)",),
                    {"HEAPMARK_DIR": "{library}"}),
    without_profile("a file system that is read-only", (r"cannot write to .* \(Read-only file system\)",),
                    wrapper=with_mount("ro")),
    without_profile("a full disk", (r"cannot write to .* \(No space left on device\)",),
                    wrapper=with_mount("size=64k")),
    without_profile("a disk that fills up", (r"cannot write .*\.pb\.gz \(No space left on device\)",),
                    command="many_live 100000", status=0, wrapper=with_mount("size=256k")),
    without_profile("RLIMIT_FSIZE 0", (r"cannot write to .* \(File too large\)",), wrapper=("prlimit", "--fsize=0")),
    Row("surroundings: RLIMIT_NOFILE 4", "plain", wrapper=("prlimit", "--nofile=4"), status=3, check=nameless_totals),
    Row("surroundings: RLIMIT_AS 256 MiB", "plain", wrapper=("prlimit", f"--as={256 << 20}"), status=3),
    Row("surroundings: no standard input", "plain", wrapper=CLOSING, status=3),
]
