# SPDX-License-Identifier: Apache-2.0
"""Handlers that come at any instant."""
from row import Row


def handlers(mode):
    # Nothing of what it does can be compared: a run without the library has other instants interrupted.
    return Row(f"handlers: {mode}", f"handlers {mode}", preload="{library} reentrant.so", compare=False)


ROWS = [
    handlers("nested"),
    handlers("jump"),
]
