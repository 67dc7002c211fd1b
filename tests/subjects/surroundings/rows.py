# SPDX-License-Identifier: Apache-2.0
"""Places and limits in which a profile is not possible, or hard: the program is the same."""
import dataclasses
from pathlib import Path

import pprof
from checks import nothing, nothing_more
from row import SUPERVISED, Row


UNSHARE = ("unshare", "--mount", "--map-root-user", "sh", "-c")
CLOSING = ("sh", "-c", 'exec "$@" <&-', "sh")
INNER = {"HEAPMARK_DIR": "{output}/inner"}  # a folder of which the program may do away with
TOO_LONG = "/x" * 2100

# What is said at the end, where the figures are left in the ledger or are gone with it.
KEPT = r"cannot write \S+\.pb\.gz \({}\); the figures are in \S+\.ledger: heapmark dump "
GONE = r"cannot write \S+\.pb\.gz \({}\); the figures are lost, \S+\.ledger was removed"


def shell(script):
    return ("sh", "-c", script + ' && exec "$@"', "sh")


def with_mount(options):
    """HEAPMARK_DIR is a file system of its own, which goes with the program."""
    return UNSHARE + (f"mount -t tmpfs -o {options} none '{{output}}' && exec \"$@\"", "sh")


def with_inner_mount(mount):
    """The same for the folder in it; what is there at the end is kept."""
    return UNSHARE + (f"mkdir '{{output}}/inner' && mount {mount} none '{{output}}/inner' || exit; \"$@\"; status=$?; "
                      "cp -p '{output}'/inner/heapmark.* '{output}'; umount '{output}/inner'; "
                      "rmdir '{output}/inner'; exit $status", "sh")


MAKE_INNER = shell("mkdir '{output}/inner'")


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


def left_as_a_ledger(name, command, reason, environment=None, **rest):
    """The profile cannot be written, and the figures are in the ledger."""
    return Row(f"surroundings: {name}", command, environment or {}, status=3, said=(KEPT.format(reason),), ledgers=1,
               **{"profiles": 0} | rest)


def moved_ledger(case, run):
    """The folder is where the program has put it, with a ledger of all figures."""
    moved = dataclasses.replace(run, output=run.output.parent / "work" / "moved")
    case.check_files(moved, 0, 1)
    case.check_figures(moved)


def only_of_parent(case, run):
    """The child could make no ledger, and the parent's is complete."""
    truth = run.truth()
    case.equal("processes that tell the truth", 2, len(truth))
    (pid,) = (pid for pid, sites in truth.items() if sites["work_before"][0] != 0)
    (path,) = run.files()
    case.equal("pid of the ledger", pid, int(path.name.split(".")[2]))
    profile = run.profile(path)
    for site, figures in truth[pid].items():
        case.equal(f"figures of {site}", tuple(figures), tuple(profile.total(site, among=truth[pid])))


def own_file_kept(case, run):
    """What the program has opened as descriptor 2 is its own file."""
    case.equal("bytes of the program's file", "a record of the program's own\n" * 10,
               (run.output.parent / "work" / "data").read_text())


def both_files(case, run):
    """The profile is whole; its ledger could not be removed, and says the same."""
    truth, = run.truth().values()
    for profile in run.profiles():
        case.equal("losses", {}, profile.losses)
        for site, figures in truth.items():
            case.equal(f"figures of {site}", tuple(figures), tuple(profile.total(site, among=truth)))


def totals_after_full(case, run):
    """What found no room on the disk is under a name of its own: the sum stays right."""
    (truth,) = run.truth().values()
    profile = run.only_profile()
    total = sum((profile.total(name, among=truth) for name in (*truth, "[dropped]", "[overflow]")), pprof.Figures())
    expected = [sum(figures) for figures in zip(*truth.values())]
    case.equal("alloc_objects of all", expected[0], total.alloc_objects)
    case.equal("alloc_space of all", expected[1], total.alloc_space)
    lost = profile.losses.get("live", 0)
    case.expect(lost > 0, f"loss.live: expected some, found {profile.losses}")
    case.equal("alloc_objects of [dropped]", lost, profile.total("[dropped]").alloc_objects)
    case.expect(profile.losses.get("growth", 0) > 0, f"loss.growth: expected some, found {profile.losses}")
    case.expect(total.inuse_objects <= expected[2] <= total.inuse_objects + lost,
                f"in use: expected {expected[2]} of which {lost} may be missing, found {total.inuse_objects}")


def refused_remount(case):
    """
    A file that is open for writing keeps its file system writable: with the library the ledger is one.  The
    program is told so (EBUSY), and has its profile.
    """
    wrapper = with_inner_mount("-t tmpfs -o size=16m")
    plain = case.run("places remount", INNER, "", wrapper)
    case.equal("without the library", ["remounted read-only: done"], plain.lines())
    run = case.run("places remount", INNER, wrapper=wrapper)
    case.equal("with the library", ["remounted read-only: EBUSY"], run.lines())
    case.equal("exit status", 3, run.status)
    case.check_said(run, ())
    case.check_files(run, 1, 0)
    case.check_figures(run)


def a_planted_file(case, kind):
    """A name in HEAPMARK_DIR that looks like ours, and is not.  Removed before the files are looked at."""
    output = case.scratch / "planted"
    output.mkdir()
    script = {
        "symbolic link": 'ln -s "$1/target" "$1/heapmark.plain.$$.ledger"',
        "link to nowhere as a profile": 'ln -s /no/such "$1/heapmark.plain.$$.pb.gz"',
        "FIFO": 'mkfifo "$1/heapmark.x.$$.ledger"',
        "directory": 'mkdir "$1/heapmark.plain.$$.ledger"',
        "name without a pid": ': > "$1/heapmark.ledger"',
    }[kind]
    run = case.run("plain", {"HEAPMARK_DIR": str(output)},
                   wrapper=("timeout", "20", "sh", "-c", script + '; shift; exec "$@"', "sh", str(output)))
    case.equal("exit status", 3, run.status)
    case.check_said(run, ())
    ours = [path for path in output.iterdir() if path.is_file() and not path.is_symlink()
            and path.stat().st_size > 0]
    case.equal("profiles", 1, len(ours))
    case.expect(not (output / "target").exists(), "the link was followed")
    for path in output.iterdir():
        if path not in ours:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    whole = dataclasses.replace(run, output=output)
    case.check_files(whole, 1, 0)
    case.check_figures(whole)
    taken = kind in ("symbolic link", "link to nowhere as a profile", "directory")
    case.equal("number of the name", "-2" if taken else "", ours[0].name.split(".")[2].lstrip("0123456789"))


def detached(case):
    """The ledger goes with its file system; the profile is made from the descriptor, and where the path leads now."""
    run = case.run("places detach", INNER, wrapper=UNSHARE + (
        "mkdir '{output}/inner' && mount -t tmpfs none '{output}/inner' && exec \"$@\"", "sh"))
    case.equal("exit status", 3, run.status)
    case.check_said(run, ())
    beneath = dataclasses.replace(run, output=run.output / "inner")
    case.check_files(beneath, 1, 0)
    case.check_figures(beneath)


def planted_rows():
    for kind in ("symbolic link", "link to nowhere as a profile", "FIFO", "directory", "name without a pid"):
        yield Row(f"surroundings: a {kind} in the way", check=lambda case, kind=kind: a_planted_file(case, kind))


def odd_directory(name, directory):
    """A directory with a name of any bytes."""
    def check(case):
        output = Path(str(case.scratch / "odd") + directory)
        output.mkdir(parents=True)
        run = case.run("plain", {"HEAPMARK_DIR": str(output)})
        case.equal("exit status", 3, run.status)
        case.check_said(run, ())
        whole = dataclasses.replace(run, output=output)
        case.check_files(whole, 1, 0)
        case.check_figures(whole)
    return Row(f"surroundings: {name}", check=check)


def working_directory(case, run):
    work = dataclasses.replace(run, output=run.output.parent / "work")
    case.check_files(work, 1, 0)
    case.check_figures(work)


# Standard error that takes nothing: the write end of a pipe that nobody reads, full or broken.
FULL_PIPE = ("timeout", "20", "python3", "-c", """if True:
    import os, sys
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    os.dup2(writer, 2)
    os.execvp(sys.argv[1], sys.argv[1:])
""")
BROKEN_PIPE = ("python3", "-c", """if True:
    import os, signal, sys
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(reader)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
""")


def standard_error_rows():
    """There is something to say and nowhere to say it."""
    for name, wrapper in (("a full pipe", FULL_PIPE), ("a broken pipe", BROKEN_PIPE),
                          ("closed", ("sh", "-c", 'exec "$@" 2>&-', "sh")),
                          ("full", ("sh", "-c", 'exec "$@" 2>/dev/full', "sh"))):
        yield Row(f"surroundings: standard error is {name}", "plain", {"HEAPMARK_VERBOSE": "1"}, wrapper=wrapper,
                  status=3)
        yield without_profile(f"standard error is {name}, no such directory", (), {"HEAPMARK_DIR": "/no/such"},
                              wrapper=wrapper)
    yield without_profile("RLIMIT_FSIZE 0, standard error is a file", (),
                          wrapper=("sh", "-c", 'exec prlimit --fsize=0 "$@" 2>error', "sh"))
    yield Row("surroundings: standard error has become a file of the program's", "places stderr", INNER, status=3,
              wrapper=MAKE_INNER, profiles=0, check=own_file_kept)


def moving_rows():
    """The place is moved, or the process is, while it runs."""
    yield Row("surroundings: chdir, HEAPMARK_DIR is relative", "places chdir", {"HEAPMARK_DIR": "../output"}, status=3)
    yield left_as_a_ledger("chroot", "places chroot", "No such file or directory")
    yield Row("surroundings: the directory vanishes", "places remove", INNER, wrapper=MAKE_INNER, status=3,
              said=(GONE.format("No such file or directory"),), profiles=0, check=nothing)
    yield Row("surroundings: the directory is renamed", "places rename", INNER, wrapper=MAKE_INNER, status=3,
              said=(KEPT.format("No such file or directory"),), profiles=0, check=moved_ledger)
    yield Row("surroundings: the file system is detached", check=detached)
    yield Row("surroundings: the file system is to be remounted read-only", check=refused_remount)
    for filesystem in ("-t tmpfs -o size=1m", "-t tmpfs -o size=16m,usrquota,usrquota_block_hardlimit=1m"):
        reason = "Disk quota exceeded" if "quota" in filesystem else "No space left on device"
        yield left_as_a_ledger(f"the disk fills up later ({reason})", "places fill", reason, INNER,
                               wrapper=with_inner_mount(filesystem), check=totals_after_full)


def rights_rows():
    yield left_as_a_ledger("setuid to nobody", "places nobody", "Permission denied")
    yield Row("surroundings: setuid to nobody, a directory for all", "places nobody", status=3,
              wrapper=shell("chmod 1777 '{output}'"), ledgers=1, check=both_files)
    yield left_as_a_ledger("setuid to nobody, RLIMIT_NPROC 0", "places alone", "Permission denied")
    yield Row("surroundings: PR_SET_DUMPABLE 0", "places undumpable", status=3)
    yield Row("surroundings: no capabilities", "places drop", status=3)
    # The ledger's own descriptor is enough.
    yield Row("surroundings: every descriptor is used up", "places descriptors", status=3)
    yield Row("surroundings: every descriptor is used up, then fork", "places descriptors fork", status=3, profiles=2)
    for action, reason, name in (("chroot", "No such file or directory", "chroot, then fork"),
                                 ("nobody", "Permission denied", "setuid to nobody, then fork")):
        yield Row(f"surroundings: {name}", f"places {action} fork", status=3, profiles=0, ledgers=1,
                  said=(rf"cannot write to \S+ \({reason}\): places\[\d+\] runs without a profile",
                        KEPT.format(reason)), check=only_of_parent)
    for umask in ("0777", "0000"):
        yield Row(f"surroundings: umask {umask}", "plain", wrapper=shell(f"umask {umask}"), status=3)
        yield Row(f"surroundings: umask {umask}, a ledger", "plain", SUPERVISED, wrapper=shell(f"umask {umask}"),
                  status=3, profiles=0, ledgers=1)


def namespace_rows():
    yield Row("surroundings: /proc is empty", "plain", status=3,
              wrapper=UNSHARE + ('mount -t tmpfs none /proc && exec "$@"', "sh"))
    yield Row("surroundings: /sys is empty", "plain", status=3,
              wrapper=UNSHARE + ('mount -t tmpfs none /sys && exec "$@"', "sh"))
    yield Row("surroundings: a user namespace", "plain", status=3, wrapper=("unshare", "--user", "--map-root-user"))
    yield Row("surroundings: a user namespace without a user", "plain", status=3, profiles=None, compare=True,
              wrapper=("unshare", "--user"), check=nothing_more)
    yield Row("surroundings: pid 1 of a PID namespace", "plain", status=3,
              wrapper=("unshare", "--pid", "--fork", "--map-root-user", "--mount-proc"))
    yield Row("surroundings: a file system that allocates no blocks", "places nothing", INNER, status=3,
              wrapper=with_inner_mount("-t ramfs"))
    yield Row("surroundings: a file system that allocates no blocks, no descriptor", "places nothing", INNER, status=3,
              wrapper=with_inner_mount("-t ramfs") + ("prlimit", "--nofile=10"), check=nameless_totals)


def limit_rows():
    for descriptors in (4, 5, 10):
        yield Row(f"surroundings: RLIMIT_NOFILE {descriptors}", "plain", wrapper=("prlimit", f"--nofile={descriptors}"),
                  status=3, check=nameless_totals)
    yield Row("surroundings: RLIMIT_AS 256 MiB", "plain", wrapper=("prlimit", f"--as={256 << 20}"), status=3)
    yield Row("surroundings: RLIMIT_STACK 64 KiB", "plain", wrapper=("prlimit", "--stack=65536"), status=3)
    yield without_profile("RLIMIT_FSIZE 0", (r"cannot write to .* \(File too large\)",),
                          wrapper=("prlimit", "--fsize=0"))


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
    odd_directory("a directory with per cent signs", "100%d%s%n"),
    odd_directory("a directory with line feeds", "one\ntwo\n"),
    odd_directory("a directory of 3500 characters", "/" + "/".join(["d" * 249] * 14)),
    without_profile("no such directory, odd characters", (r"cannot write to /no/%s%n\?such ",),
                    {"HEAPMARK_DIR": "/no/%s%n\nsuch"}),
    Row("surroundings: HEAPMARK_DIR of 4200 characters", "plain", {"HEAPMARK_DIR": TOO_LONG}, status=3, profiles=0,
        said=(r"HEAPMARK_DIR: \"(/x){50}\" is not a path that is short enough; using the working directory",),
        check=working_directory),
    Row("surroundings: no standard input", "plain", wrapper=CLOSING, status=3),
    *planted_rows(),
    *standard_error_rows(),
    *moving_rows(),
    *rights_rows(),
    *namespace_rows(),
    *limit_rows(),
]
