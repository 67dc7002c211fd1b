# SPDX-License-Identifier: Apache-2.0
"""No two children of one process sample alike, however they came to be."""
from row import Row

CHILDREN = 16


def siblings(case, run):
    """
    At 32K, each of the 61 allocations of 32K is sampled with probability p = 1 - e^-1 = 0.63.  Two children make the
    same choice with probability (p^2 + (1-p)^2)^61 < 10^-16.  None of 16 takes its first allocation with
    probability (1-p)^16 = 10^-7; were a child to go the rest of its parent's distance first, which is longer than
    one allocation with this seed, none ever would.
    """
    choices, first_count = set(), 0
    for path in run.files():
        if f".{run.pid}." not in path.name:
            depths = sorted(sample.functions().count("descend") for sample in run.profile(path).samples)
            choices.add(tuple(depths))
            first_count += 1 in depths
    case.equal("different choices of samples", CHILDREN, len(choices))
    case.expect(first_count > 0, "no child has sampled its first allocation")


ROWS = [
    *(Row(f"siblings: {way}", f"siblings {way}", {"HEAPMARK_RATE": "32K", "HEAPMARK_SEED": "7"}, profiles=1,
          ledgers=CHILDREN, check=siblings)
      for way in ("fork", "_Fork", "system_call_fork", "system_call_clone")),
]
