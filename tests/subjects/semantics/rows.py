# SPDX-License-Identifier: Apache-2.0
"""What each function returns, sets and keeps, side by side with and without the library."""
from checks import nothing_more
from row import NEVER, over_every_allocator


ROWS = [
    *over_every_allocator("semantics: C, sampled", "semantics", check=nothing_more),
    *over_every_allocator("semantics: C, not sampled", "semantics", environment=NEVER, profiles=0, check=nothing_more),
    *over_every_allocator("semantics: C++, sampled", "semantics_cxx", check=nothing_more),
    *over_every_allocator("semantics: C++, not sampled", "semantics_cxx", environment=NEVER, profiles=0,
                          check=nothing_more),
    *over_every_allocator("semantics: operators replaced", "replaced"),
    *over_every_allocator("semantics: memory is scarce", "scarce"),
    # Some GiB are allocated in all: with a seed by which none of them is hit, one time in a few hundred it would be.
    *over_every_allocator("semantics: memory is scarce, not sampled", "scarce",
                          environment=NEVER | {"HEAPMARK_SEED": "1"}, profiles=0, check=nothing_more),
]
