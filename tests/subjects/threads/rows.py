# SPDX-License-Identifier: Apache-2.0
"""What POSIX promises to threads of functions that allocate."""
from row import Row

ROWS = [
    Row("threads: cancellation waits until malloc is done", "cancelled", profiles=2),
]
