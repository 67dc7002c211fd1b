# SPDX-License-Identifier: Apache-2.0
"""Numbers of files: none of the program's is touched, none of the low ones is taken."""
from row import Row


CLOSING = ("sh", "-c", 'exec "$@" <&-', "sh")


ROWS = [
    Row("descriptors: numbers", "descriptors list"),
    Row("descriptors: numbers, no standard input", "descriptors list", wrapper=CLOSING),
    Row("descriptors: all closed and used again", "descriptors reuse"),
]
