# SPDX-License-Identifier: Apache-2.0
"""Stacks that are deep, small, foreign or broken."""
from checks import cut_to
from row import Row

ROWS = [
    Row("stacks: a recursion of 100,000", "deep 100000", check=cut_to(128)),
]
