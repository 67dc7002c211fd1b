# SPDX-License-Identifier: Apache-2.0
"""Estimates, held against theory."""
import math
import statistics

from row import Row


# Normal distribution: beyond 4 standard deviations lie 6 values of 100,000.
SIGMAS = 4
SEEDS = range(1, 60, 2)  # the lowest bit of a seed is not used


def same_samples(case):
    """HEAPMARK_SEED: a thread's samples depend on the seed alone."""
    profiles = [case.run("statistics 65536", {"HEAPMARK_RATE": "64K", "HEAPMARK_SEED": seed}).only_profile()
                for seed in ("1", "1", "3")]
    figures = [{site: profile.total(site) for site in profile.functions() if site.startswith("mix_of_")}
               for profile in profiles]
    case.equal("mixes", 5, len(figures[0]))
    case.equal("figures with the same seed", figures[0], figures[1])
    case.expect(figures[0] != figures[2], f"figures with another seed: expected others, found {figures[2]}")


def z_scores(run):
    """{(site, figure): how many standard deviations the estimate is off}"""
    profile, scores = run.only_profile(), {}
    for line in run.lines():
        _, site, objects, size_bytes, objects_variance, bytes_variance = line.split()
        total = profile.total(site)
        for name, found, expected, variance in (
                ("alloc_objects", total.alloc_objects, int(objects), float(objects_variance)),
                ("alloc_space", total.alloc_space, int(size_bytes), float(bytes_variance))):
            scores[site, name] = (found - expected) / math.sqrt(variance)
    return scores


def unbiased(case, rate_bytes, preload="{library}"):
    """
    The estimates of 30 seeds, each mix of sizes for itself, as theory has them: none off by more than 4 standard
    deviations, nor their mean by more than 4 of its own.  The spread of all mixes together: the mean of 150 squares
    of standard normal numbers has the standard deviation sqrt(2 / 150).
    """
    series = {}
    for seed in SEEDS:
        run = case.run(f"statistics {rate_bytes}", {"HEAPMARK_RATE": str(rate_bytes), "HEAPMARK_SEED": str(seed)},
                       preload)
        for key, score in z_scores(run).items():
            series.setdefault(key, []).append(score)
            case.expect(abs(score) <= SIGMAS, f"{key}, seed {seed}: expected within {SIGMAS} standard deviations, "
                                              f"found {score:+.2f}")
    case.equal("mixes and figures", 10, len(series))
    for key, scores in series.items():
        mean, bound = statistics.fmean(scores), SIGMAS / math.sqrt(len(scores))
        case.expect(abs(mean) <= bound, f"mean of {key}: expected within {bound:.2f} standard deviations, "
                                        f"found {mean:+.2f}")
    for figure in ("alloc_objects", "alloc_space"):
        squares = [score * score for (_, name), scores in series.items() if name == figure for score in scores]
        bound = SIGMAS * math.sqrt(2 / len(squares))
        spread = statistics.fmean(squares)
        case.expect(abs(spread - 1) <= bound, f"variance of {figure}: expected 1 +- {bound:.2f} of what theory says, "
                                              f"found {spread:.2f}")


def unbiased_64k(case):
    unbiased(case, 64 * 1024)


def unbiased_512k(case):
    unbiased(case, 512 * 1024)


def unbiased_inside(case):
    """An allocator that calls its own exported functions: what it calls is no allocation of the program."""
    unbiased(case, 64 * 1024, "{library} reentrant.so")


def short_threads(case):
    """The only allocation of each of 100,000 threads is sampled as often as any other."""
    count, size_bytes, rate_bytes = 100_000, 4096, 64 * 1024
    run = case.run(f"short_threads {count} {size_bytes}", {"HEAPMARK_RATE": "64K", "HEAPMARK_SEED": "1"})
    p = 1 - math.exp(-(size_bytes + 1) / rate_bytes)
    deviation = math.sqrt(count * (1 - p) / p)
    found = run.only_profile().total("allocate_once")
    score = (found.alloc_objects - count) / deviation
    case.expect(abs(score) <= SIGMAS, f"alloc_objects: expected {count} +- {SIGMAS * deviation:.0f}, found "
                                      f"{found.alloc_objects}")
    case.expect(abs(found.alloc_space / size_bytes - found.alloc_objects) <= 1,
                f"alloc_space: expected {found.alloc_objects} times {size_bytes}, found {found.alloc_space}")


def floating_modes(case):
    """Traps and rounding of the program: no SIGFPE, and the same figures."""
    figures = {}
    for mode in ("plain", "traps", "upward", "zero"):
        run = case.run(f"floating {mode}", {"HEAPMARK_RATE": "64K", "HEAPMARK_SEED": "7"})
        case.equal(f"exit status ({mode})", 0, run.status)
        case.equal(f"output ({mode})", ["exceptions raised: 0", "rounding: as set"], run.lines())
        case.check_said(run, ())
        profile = run.only_profile()
        figures[mode] = [profile.total(site) for site in ("floating_small", "floating_large")]
        case.expect(all(total.alloc_objects > 0 for total in figures[mode]), f"a site has no sample ({mode})")
        case.equal(f"figures ({mode})", figures["plain"], figures[mode])


ROWS = [
    Row("statistics: the same samples every time", check=same_samples),
    Row("statistics: 64K", check=unbiased_64k),
    Row("statistics: 512K", check=unbiased_512k),
    Row("statistics: 64K, over an allocator that calls itself", check=unbiased_inside),
    Row("statistics: first allocations of threads", check=short_threads),
    Row("floating point: traps and rounding", check=floating_modes),
]
