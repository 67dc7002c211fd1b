# SPDX-License-Identifier: Apache-2.0
"""Makes as many objects of 600 bytes as it is told, small ones around them, and throws half of them away."""
import sys

count = int(sys.argv[1])
kept = [None] * 20000
for index in range(count):
    kept[index] = bytes(600)
names = {f"name {index}": [index, str(index)] for index in range(30000)}
for index in range(0, count, 2):
    kept[index] = None
print(count, len(names), sum(len(block) for block in kept if block))
print("done", file=sys.stderr)
sys.exit(3)
