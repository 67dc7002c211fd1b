// SPDX-License-Identifier: Apache-2.0
/*
 * Why the memory is high: the first cause that holds.
 *
 * "Large" is a part of what is resident that is the largest of all, a third of it or more, and at least 8
 * MiB: at most two others can then be of its size, and less is nobody's trouble.  Where it is not known what
 * is resident (a ledger without its process), all that is known is taken for everything.
 *
 *	leak           Old live objects grow.  Places that hold 8 MiB and a tenth of what is resident or more
 *	               (of what is live, where that is not known), each of which
 *	               - has live objects from every quarter of the time since recording began, half of an
 *	                 even share or more in each: what is freed in time, or was built once, leaves quarters
 *	                 empty (of a profile: from every band of its ages that takes a tenth of the time or
 *	                 more).  Or, where it surely grows between the two looks and has freed less than half
 *	                 of what it holds, from every quarter of the time since its oldest was allocated, 4 s
 *	                 ago or more: it began late (of a queue that has run for long all that is there is
 *	                 young, too, and by chance it grows in one of 44 looks; but it has freed a lot);
 *	               - holds a twentieth of what is live, and 16 samples or more: then a quarter with half of
 *	                 its share is no accident of sampling.  All places that do not are judged together, as
 *	                 if they were one;
 *	               - did not free, between the two looks, of what was there at the first, half or more of
 *	                 what it got then and kept or, where that is more, grows by in that time on average: a
 *	                 queue or a cache that replaces what it holds, one for one, does, and so does what is
 *	                 replaced by another place;
 *	               - has ever freed less than half of what it holds, or surely grows, or its ages are surely
 *	                 not those of what is replaced (below);
 *	               - takes the process with it: where the place has freed a tenth of what it holds, or half
 *	                 as much as it holds is memory that was not recorded, what is resident has to grow
 *	                 between the looks by half of what the place grows by on average.  For a cache that has
 *	                 just become full, or refills what it drops from time to time, grows as a leak does as
 *	                 far as samples can tell, and so does one whose old blocks nobody recorded.  Not asked of
 *	                 places that grow by less than 256 KiB meanwhile: the kernel counts in steps;
 *	               and recording began 4 s ago or more: all ages look alike in a program that starts.
 *	retention      The live heap is large, and places that keep 40 % or more of all they ever allocated
 *	               hold half of it: structures that were built and stay.  One that doubles when it is full
 *	               has allocated twice of what it holds; 40 leaves room for sampling.  A place that would
 *	               free all it holds within a minute, at the pace of the second between the looks, is
 *	               passed over: what it holds does not stay.
 *	churn          Eight times of what is live was allocated, or more; and now (on average, without a
 *	               process) so much is allocated that all that is live is replaced every 10 s or sooner, at
 *	               16 MiB/s or more: below that, allocating takes less than a hundredth of a processor.
 *	               Of a process that was killed it is known only that it lived until its last sample; then
 *	               only where that came 4 s after recording began, or later.  What had no room in the ledger
 *	               counts as little as its frees, which are not known.
 *	fragmentation  What the allocator keeps is large.
 *	unknown        What was not recorded is large (memory_split.h): it may be live or free.
 *	mmap           Other anonymous memory is large, even if all that was not recorded were part of it.
 *	threads        Thread stacks are large.
 *	healthy        None of these.
 *
 * Surely
 * ------
 * It surely grows, where the growth G between the looks is half of the average or more, and twice its
 * standard deviation (sites.c): of what keeps its size, one in 44 seems to.
 *
 * What is replaced, at random or oldest first, and has freed x times of what it holds in the time T: at a
 * hazard that is the same for all of it, h, it frees h times what it holds in a second, so x <= h T, and of
 * what it holds exp(-h b) <= exp(-x b/T) is older than b.  Where older ones are freed first, less.  Of a leak,
 * 1 - b/T is, which is more where x > 1 and b small.  So the ages are surely not those of what is replaced,
 * where for some boundary b between bands the part that is older is more than exp(-x b/T) by 5 % and by twice
 * its standard deviation.  With n samples that has the variance p (1 - p)/n, and exp(-x b/T) =: q the variance
 * (q x b/T)^2/n, for the n in x.
 * A place that keeps a cache and frees other blocks at once has not one hazard, and may seem to outlive what is
 * replaced; of a process the look tells.
 */
#ifndef HM_TOOLS_DIAGNOSIS_H
#define HM_TOOLS_DIAGNOSIS_H

#include "tools/memory_split.h"
#include "tools/sites.h"

#include <stdbool.h>
#include <stdint.h>

enum hm_verdict {
	HM_VERDICT_LEAK,
	HM_VERDICT_RETENTION,
	HM_VERDICT_CHURN,
	HM_VERDICT_FRAGMENTATION,
	HM_VERDICT_UNKNOWN,
	HM_VERDICT_MMAP,
	HM_VERDICT_THREADS,
	HM_VERDICT_HEALTHY,
};

/* "leak".  Static text. */
const char *hm_verdict_text(enum hm_verdict verdict);

enum { HM_RECORDED_SECONDS_LEAST = 4 }; /* before which no leak is told, and of what was killed no churn */

struct hm_evidence {
	const struct hm_sites *sites;        /* borrowed */
	const struct hm_memory_split *split; /* borrowed; NULL: not known */
	uint64_t resident_bytes;             /* without a split; 0: not known */
	double look_seconds;                 /* between the two looks; 0: there was one */
	double resident_growth_bytes;        /* of the process, between them: measured, not estimated */
	bool end_is_open; /* it is known how long recording has lasted at least, and no more */
};

struct hm_diagnosis {
	enum hm_verdict verdict;
	const struct hm_site *site; /* the place that weighs most, of leak, retention, churn; else NULL */
	double bytes;               /* what the cause holds; of churn: bytes a second */
	double bytes_per_second;    /* of a leak: by how much it grows, on average since it began */
	bool is_late;               /* of a leak: that was not when recording began */
	size_t site_count;          /* places that leak, or retain */
};

/* "Large", as above. */
bool hm_memory_is_large(const struct hm_memory_split *split, enum hm_memory_part part);

struct hm_diagnosis hm_diagnose(const struct hm_evidence *evidence);

#endif
