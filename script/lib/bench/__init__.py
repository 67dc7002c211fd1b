# SPDX-License-Identifier: Apache-2.0
"""The parts of script/bench.

    columns    what is put in front of a program's allocator, and where its profile is
    measure    one run of a command, and the rounds
    rows       the loads; those with a server are in servers
    curves     how cost grows
    goals      what was promised, held against what was measured
    figures    medians, ratios, and how numbers are written
    page       the table on the terminal, docs/performance.md
    plot       its drawings
"""
