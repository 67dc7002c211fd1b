# SPDX-License-Identifier: Apache-2.0
"""Processes that come to be in various ways; each has a profile of its own."""
from row import Row


def only_parent(case, run):
    case.equal("files", [f"heapmark.family.{run.pid}.pb.gz"], [path.name for path in run.files()])
    case.equal("allocations of the parent", 52 if "vfork_exec" in run.command else 51,
               run.only_profile().total("allocate_in_parent").alloc_objects)


def names_that_are_taken(case):
    """What had the names keeps them, and its contents; the children's have the next number."""
    run = case.run("family names")
    case.equal("exit status", 0, run.status)
    taken = [path for path in run.output.iterdir() if path.read_bytes().startswith(b"/")]
    case.expect(len(taken) > 300, f"files that were there: expected hundreds, found {len(taken)}")
    for path in taken:
        case.equal(f"contents of {path.name}", str(path), path.read_text())
        path.unlink()
    children = sorted(path.name.split(f"{pid}", 1)[1] for pid in run.truth() for path in run.files(pid=pid)
                      if pid != run.pid)
    case.equal("names of the children", ["-3.ledger"] * 2 + ["-3.pb.gz"] * 2, children)
    case.check_files(run, 3, 2)
    case.check_figures(run)


def interrupted_once(case, run):
    """
    Nobody calls us in the child, which finishes in its parent's ledger what it was in the middle of: each round may
    be counted twice there.
    """
    (pid, sites), = run.truth().items()
    total = run.only_profile().total("in_loop")
    objects = sites["in_loop"][0]
    case.expect(objects <= total.alloc_objects <= objects + int(run.lines()[-1].split()[1]),
                f"allocations: expected {objects} and those interrupted, found {total.alloc_objects}")
    case.equal(f"allocations of the children in the profile of {pid}", 0,
               run.only_profile().total("in_child").alloc_objects)


ROWS = [
    *(Row(f"family: {mode}", f"family {mode}", profiles=profiles, ledgers=ledgers)
      for mode, profiles, ledgers in (
          ("fork", 2, 1), ("grandchild", 3, 0), ("bare_fork", 1, 2), ("vfork", 1, 0), ("vfork_exec", 2, 0),
          ("spawn", 2, 0), ("system", None, None), ("clone_vm", 1, 0), ("popen", None, None), ("daemon", 1, 2),
          ("atfork", 2, 1))),
    *(Row(f"family: {mode}, HEAPMARK_CHILDREN=0", f"family {mode}", {"HEAPMARK_CHILDREN": "0"}, check=only_parent)
      for mode in ("fork", "vfork_exec", "spawn", "system")),
    Row("family: names that are taken", check=names_that_are_taken),
    *(Row(f"family: {mode} inside an allocation", f"fork_inside {mode}", preload="{library} reentrant.so",
          compare=False, check=check)
      for mode, check in (("fork", None), ("_Fork", None), ("clone", interrupted_once))),
    Row("family: 2400 forks while threads allocate", "forks 2400 1", profiles=401, compare=False),
    Row("family: six threads fork while others allocate", "forks 120 6", profiles=121, compare=False),
]
