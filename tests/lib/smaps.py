# SPDX-License-Identifier: Apache-2.0
"""Reads /proc/PID/smaps: what lies where in a process, and how much of it is resident."""
import re
from typing import NamedTuple

HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)")
RESIDENT = re.compile(r"Rss: +(\d+) kB")


class Mapping(NamedTuple):
    name: str  # a path, "[heap]", "[anon:NAME]", or "" of anonymous memory
    size_bytes: int
    resident_bytes: int


def parse(text):
    """The mappings, in the order of their addresses."""
    mappings = []
    for line in text.splitlines():
        if head := HEAD.fullmatch(line):
            mappings.append(Mapping(head[4], int(head[2], 16) - int(head[1], 16), 0))
        elif resident := RESIDENT.fullmatch(line):
            mappings[-1] = mappings[-1]._replace(resident_bytes=int(resident[1]) * 1024)
    return mappings
