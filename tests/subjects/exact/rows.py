# SPDX-License-Identifier: Apache-2.0
"""Every figure of the whole family, over every allocator."""
from row import Row, over_allocators, over_every_allocator


ROWS = [
    *over_every_allocator("exact: C", "exact"),
    *over_every_allocator("exact: C++", "exact_cxx"),
    *over_allocators("exact: threads", "exchange"),
    Row("exact: NULL", "null"),
    # What one thread frees is given to another at once.
    Row("exact: threads, one arena", "exchange",
        {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"}),
]
