# SPDX-License-Identifier: Apache-2.0
"""Processes that come to be in various ways; each has a profile of its own."""
from row import Row


def only_parent(case, run):
    case.equal("files", [f"heapmark.family.{run.pid}.pb.gz"], [path.name for path in run.files()])
    case.equal("allocations of the parent", 52 if "vfork_exec" in run.command else 51,
               run.only_profile().total("allocate_in_parent").alloc_objects)


def siblings(case, run):
    """No two children sample alike: at 64K, 61 allocations of 32K, each sampled with probability 0.39."""
    parent = run.pid
    seen = {}
    for path in run.files("pb.gz"):
        if f".{parent}." not in path.name:
            seen[path.name] = sorted(len(sample.frames) for sample in run.profile(path).samples)
    case.equal("children with a profile", 8, len(seen))
    case.equal("different choices of samples", 8, len({tuple(depths) for depths in seen.values()}))


ROWS = [
    *(Row(f"family: {mode}", f"family {mode}", profiles=profiles, ledgers=ledgers)
      for mode, profiles, ledgers in (
          ("fork", 2, 1), ("grandchild", 3, 0), ("bare_fork", 1, 2), ("vfork", 1, 0), ("vfork_exec", 2, 0),
          ("spawn", 2, 0), ("system", None, None))),
    *(Row(f"family: {mode}, HEAPMARK_CHILDREN=0", f"family {mode}", {"HEAPMARK_CHILDREN": "0"}, check=only_parent)
      for mode in ("fork", "vfork_exec", "spawn", "system")),
    Row("family: 500 forks while threads allocate", "forks 500", profiles=451, ledgers=50, compare=False),
    Row("family: siblings", "siblings", {"HEAPMARK_RATE": "64K"}, profiles=9, check=siblings),
]
