# SPDX-License-Identifier: Apache-2.0
"""started.py METHOD: two workers, one that is killed and a pool, made in one of multiprocessing's ways.

Each makes objects of 600 bytes, and it is said how many: "PID made COUNT".
"""
import multiprocessing
import os
import sys
import time


def say(pid, count):
    os.write(1, f"{pid} made {count}\n".encode())


def make(count):
    made = [None] * 10000
    for index in range(count):
        made[index] = bytes(600)
    return made


def work(count):
    make(count)
    say(os.getpid(), count)


def work_and_wait(count, ready):
    kept = make(count)
    say(os.getpid(), count)
    ready.set()
    while kept:
        time.sleep(1)


def work_in_pool(count):
    make(count)
    return os.getpid()


def main():
    context = multiprocessing.get_context(sys.argv[1])
    for count in 4000, 7000:
        worker = context.Process(target=work, args=(count,))
        worker.start()
        worker.join()
        print(worker.exitcode, flush=True)

    ready = context.Event()
    stuck = context.Process(target=work_and_wait, args=(9000, ready))
    stuck.start()
    ready.wait()
    stuck.kill()
    stuck.join()
    print(stuck.exitcode, flush=True)

    with context.Pool(2) as pool:
        pids = pool.map(work_in_pool, [1000] * 8, chunksize=1)
        pool.close()  # so that the workers come to their own ends
        pool.join()
    for pid in sorted(set(pids)):
        say(pid, 1000 * pids.count(pid))


if __name__ == "__main__":
    main()
