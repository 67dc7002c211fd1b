# SPDX-License-Identifier: Apache-2.0
"""Writes small profiles made for a test, with nothing but the standard library.

    pprof_write.write("x.pb.gz", [(["leaf", "main"], (alloc_objects, alloc_space, inuse_objects, inuse_space))])

A frame is a name, or a list of names: a location with inlined functions, innermost first.  Behind the values may
stand labels: {"thread": "main", "age": (60, "seconds")}.
"""
import gzip
from pathlib import Path

TYPES = [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")]
START = 0x400000


def varint(number):
    number &= (1 << 64) - 1
    data = bytearray()
    while number > 0x7f:
        data.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes(data + bytes([number]))


def number_field(number, value):
    return varint(number << 3) + varint(value)


def bytes_field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(**fields):
    """fields: _1=..., _2=...: numbers as varints, bytes as they are; a list for a repeated field."""
    data = b""
    for name, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            number = int(name[1:])
            data += bytes_field(number, value) if isinstance(value, bytes) else number_field(number, value)
    return data


class Strings:
    def __init__(self):
        self.texts = [b""]

    def index(self, text):
        text = text if isinstance(text, bytes) else text.encode()
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)


def label(strings, key, value):
    """A label that is a text, or a number with its unit."""
    if isinstance(value, str):
        return message(_1=strings.index(key), _2=strings.index(value))
    return message(_1=strings.index(key), _3=value[0], _4=strings.index(value[1]))


def encode(stacks, drop_frames="", comments=(), file="/usr/bin/made", period=1):
    """The bytes of the message."""
    strings = Strings()
    frames = []  # distinct, in order: location i + 1
    functions = []
    for stack, *_values in stacks:
        for frame in stack:
            names = tuple([frame] if isinstance(frame, (str, bytes)) else frame)
            if names not in frames:
                frames.append(names)
                functions += [name for name in names if name not in functions]

    def location(frame):
        return frames.index(tuple([frame] if isinstance(frame, (str, bytes)) else frame)) + 1

    data = b"".join(bytes_field(1, message(_1=strings.index(kind), _2=strings.index(unit))) for kind, unit in TYPES)
    for stack, values, *labels in stacks:
        data += bytes_field(2, message(_1=[location(frame) for frame in stack], _2=list(values),
                                       _3=[label(strings, *item) for item in (labels[0] if labels else {}).items()]))
    size = (len(frames) // 0x1000 + 2) * 0x1000
    inlined = any(len(names) > 1 for names in frames)
    data += bytes_field(3, message(_1=1, _2=START, _3=START + size, _5=strings.index(file), _7=1, _10=int(inlined)))
    for index, names in enumerate(frames):
        lines = [message(_1=functions.index(name) + 1) for name in names]
        data += bytes_field(4, message(_1=index + 1, _2=1, _3=START + index + 1, _4=lines))
    for index, name in enumerate(functions):
        data += bytes_field(5, message(_1=index + 1, _2=strings.index(name), _3=strings.index(name)))
    rest = message(_7=strings.index(drop_frames), _9=1_700_000_000_000_000_000,
                   _11=message(_1=strings.index("space"), _2=strings.index("bytes")), _12=period,
                   _13=[strings.index(comment) for comment in comments], _14=strings.index("inuse_space"))
    return data + b"".join(bytes_field(6, text) for text in strings.texts) + rest


def write(path, stacks, **more):
    Path(path).write_bytes(gzip.compress(encode(stacks, **more)))
