# SPDX-License-Identifier: Apache-2.0
"""A process that forks workers, kills one and starts another program; each makes objects of 600 bytes."""
import multiprocessing
import os
import subprocess
import sys
import threading


def make(count):
    made = [None] * 10000
    for index in range(count):
        made[index] = bytes(600)
    return made


def make_and_wait(count, ready):
    made = make(count)
    ready.set()
    threading.Event().wait()
    return made


def main():
    context = multiprocessing.get_context("fork")
    for count in 4000, 7000:
        worker = context.Process(target=make, args=(count,))
        worker.start()
        worker.join()
        print(worker.exitcode)

    ready = context.Event()
    stuck = context.Process(target=make_and_wait, args=(9000, ready))
    stuck.start()
    ready.wait()
    stuck.kill()
    stuck.join()
    print(stuck.exitcode)

    with context.Pool(2) as pool:
        print(sum(map(len, pool.map(make, [1000] * 8))))

    objects = os.path.join(os.path.dirname(__file__), "objects.py")
    print(subprocess.run([sys.executable, objects, "3000"], capture_output=True, check=False))


main()
