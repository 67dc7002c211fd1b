# SPDX-License-Identifier: Apache-2.0
"""Profiles that have nothing but addresses of one file, as a producer without symbols writes them."""
import gzip
import random
import re
import subprocess

BASE = 0x7f0000000000
PAGE = 4096
TEXTS = ["", "alloc_objects", "count", "alloc_space", "bytes", "inuse_objects", "inuse_space", "space"]


def varint(number):
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def number_field(field, number):
    return varint(field << 3) + varint(number)


def bytes_field(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def functions(binary, *options):
    """{address: {names}, ...} and [(address, size)] of the functions in a symbol table."""
    names, ranges = {}, []
    for line in output_of("nm", "-S", "--defined-only", *options, binary).splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2] in "tTwWi":
            names.setdefault(int(fields[0], 16), set()).add(fields[3].split("@")[0])
            ranges.append((int(fields[0], 16), int(fields[1], 16)))
    return names, sorted(set(ranges))


def choose(ranges, count, seed):
    """`count` addresses inside of these functions, ascending, the same ones each time."""
    draw = random.Random(seed)
    chosen = set()
    while len(chosen) < count:
        start, size = draw.choice(ranges)
        chosen.add(start + draw.randrange(max(size, 1)))
    return sorted(chosen)


def write(path, binary, addresses, base=BASE):
    """A profile with one sample at each address (as in the file) of `binary`."""
    offset, start, size = (int(text, 16) for text in re.search(
        r"LOAD +(0x\w+) (0x\w+) 0x\w+ 0x\w+ (0x\w+) R E", output_of("readelf", "-lW", binary)).groups())
    build_id = re.search(r"Build ID: (\w+)", output_of("readelf", "-nW", binary))
    texts = TEXTS + [str(binary), build_id[1] if build_id else ""]
    message = b"".join(bytes_field(1, number_field(1, kind) + number_field(2, unit))
                       for kind, unit in ((1, 2), (3, 4), (5, 2), (6, 4)))
    for index in range(len(addresses)):
        message += bytes_field(2, bytes_field(1, varint(index + 1)) + bytes_field(2, varint(1) * 4))
    first, end = base + start // PAGE * PAGE, base + -(-(start + size) // PAGE) * PAGE
    message += bytes_field(3, number_field(1, 1) + number_field(2, first) + number_field(3, end) +
                           number_field(4, offset // PAGE * PAGE) + number_field(5, len(TEXTS)) +
                           number_field(6, len(TEXTS) + 1))
    for index, address in enumerate(addresses):
        message += bytes_field(4, number_field(1, index + 1) + number_field(2, 1) + number_field(3, base + address))
    message += b"".join(bytes_field(6, text.encode()) for text in texts)
    message += number_field(9, 1) + bytes_field(11, number_field(1, 7) + number_field(2, 4)) + number_field(12, 1)
    message += number_field(14, 6)
    with open(path, "wb") as file:
        file.write(gzip.compress(message, mtime=0))
