# SPDX-License-Identifier: Apache-2.0
"""Reads profiles: gzip, protobuf and the messages of profile.proto, with nothing but the standard library.

    profile = pprof.read("heapmark.x.1.pb.gz")
    profile.total()                     Figures of everything
    profile.total("parse")              Figures of all stacks in which a function has this name
    profile.total("parse", among=names) ... and none of these names further in
    profile.losses                      {"stacks": 12}
"""
import gzip
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

TYPES = ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]


class Figures(NamedTuple):
    alloc_objects: int = 0
    alloc_space: int = 0
    inuse_objects: int = 0
    inuse_space: int = 0

    def __add__(self, other):
        return Figures(*map(sum, zip(self, other)))


@dataclass(frozen=True)
class Frame:
    function: str
    address: int
    mapping: str
    system_name: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Sample:
    frames: tuple  # innermost first
    figures: Figures
    labels: tuple = ()  # (key, text or number)

    def functions(self):
        return [frame.function for frame in self.frames]

    def innermost(self, names):
        """The first of these functions in the stack; None: it has none."""
        return next((frame.function for frame in self.frames if frame.function in names), None)


@dataclass
class Profile:
    sample_types: list = field(default_factory=list)
    samples: list = field(default_factory=list)
    mappings: list = field(default_factory=list)  # file names
    comments: list = field(default_factory=list)
    period: int = 0

    def total(self, function=None, among=()):
        """
        The sum over the stacks that contain a function of this name, and further in no other of the names in
        `among`; over all where no name is given.
        """
        names = {function, *among}
        return sum((sample.figures for sample in self.samples
                    if function is None or sample.innermost(names) == function), Figures())

    def labelled(self, key, value, function=None):
        """The sum over the stacks with this label, and with this function in them where one is named."""
        return sum((sample.figures for sample in self.samples if (key, value) in sample.labels
                    and (function is None or function in sample.functions())), Figures())

    def functions(self):
        return {function for sample in self.samples for function in sample.functions()}

    @property
    def notes(self):
        """The comments made for machines: "#heapmark.rate=1" is {"rate": "1"}."""
        return dict(re.fullmatch(r"#heapmark\.([^=]+)=(.*)", comment, re.DOTALL).groups()
                    for comment in self.comments if comment.startswith("#heapmark."))

    @property
    def losses(self):
        return {key.removeprefix("loss."): int(value) for key, value in self.notes.items() if key.startswith("loss.")}


def read_varint(data, offset):
    value = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, offset


def read_fields(data):
    """Yields (field number, value): an int, or bytes."""
    offset = 0
    while offset < len(data):
        key, offset = read_varint(data, offset)
        wire_type = key & 7
        if wire_type == 0:
            value, offset = read_varint(data, offset)
        else:
            size = {1: 8, 5: 4}.get(wire_type)
            if wire_type == 2:
                size, offset = read_varint(data, offset)
            if size is None or offset + size > len(data):
                raise ValueError(f"field {key >> 3} at {offset} is cut off or of an unknown kind ({wire_type})")
            value, offset = data[offset:offset + size], offset + size
        yield key >> 3, value


def read_numbers(value):
    """A repeated number: one, or many in a row."""
    if isinstance(value, int):
        return [value]
    numbers, offset = [], 0
    while offset < len(value):
        number, offset = read_varint(value, offset)
        numbers.append(number)
    return numbers


def signed(number):
    return number - (1 << 64) if number >> 63 else number


def one_each(data):
    """A message whose fields come once."""
    return dict(read_fields(data))


def read_sample(data):
    locations, values, labels = [], [], []
    for number, value in read_fields(data):
        if number == 1:
            locations += read_numbers(value)
        elif number == 2:
            values += map(signed, read_numbers(value))
        elif number == 3:
            labels.append(one_each(value))
    return locations, values, labels


def read_location(data):
    """Returns (id, mapping id, address, [(function id, line)])."""
    plain = one_each(data)
    lines = [(line.get(1, 0), line.get(2, 0))
             for line in (one_each(value) for number, value in read_fields(data) if number == 4)]
    return plain[1], plain.get(2, 0), plain.get(3, 0), lines


def parse(data):
    """A profile from the bytes of its message."""
    repeated = {number: [] for number in (1, 2, 3, 4, 5, 6, 13)}
    plain = {}
    for number, value in read_fields(data):
        if number == 13:
            repeated[number] += read_numbers(value)
        elif number in repeated:
            repeated[number].append(value)
        else:
            plain[number] = value

    strings = [value.decode() for value in repeated[6]]
    types = [strings[one_each(value)[1]] for value in repeated[1]]
    mapping_names = {entry[1]: strings[entry.get(5, 0)] for entry in map(one_each, repeated[3])}
    functions = {entry[1]: [strings[entry.get(field, 0)] for field in (2, 3, 4)]
                 for entry in map(one_each, repeated[5])}
    frames = {}
    for identity, mapping, address, lines in map(read_location, repeated[4]):
        frames[identity] = tuple(Frame(functions[function][0], address, mapping_names.get(mapping, ""),
                                       *functions[function][1:], line)
                                 for function, line in lines)
        if not lines:
            frames[identity] = (Frame(f"0x{address:x}", address, mapping_names.get(mapping, "")),)

    samples = []
    for locations, values, labels in map(read_sample, repeated[2]):
        of_type = dict(zip(types, values, strict=True))
        samples.append(Sample(tuple(frame for location in locations for frame in frames[location]),
                              Figures(*(of_type[name] for name in TYPES)),
                              tuple((strings[label[1]], strings[label[2]] if 2 in label else label.get(3, 0))
                                    for label in labels)))
    return Profile(types, samples, list(mapping_names.values()), [strings[index] for index in repeated[13]],
                   signed(plain.get(12, 0)))


def read(path):
    return parse(gzip.decompress(Path(path).read_bytes()))
