// SPDX-License-Identifier: Apache-2.0
/*
 * What `heapmark serve` answers: the table of its paths, and what the answers share.
 *
 * Errors of a path below /debug/pprof/ are text that go tool pprof prints.  The status is
 *	400   the request makes no sense, or does not say which process
 *	403   the ledger is somebody else's, or the Host is not one of ours
 *	404   no such path, process or ledger
 *	503   not now: the ledger is just being made, or damaged; too much is under way; the server ends
 */
#ifndef HM_TOOLS_SERVE_H
#define HM_TOOLS_SERVE_H

#include "proto/snapshot.h"
#include "tools/allocator_figures.h"
#include "tools/http_server.h"
#include "tools/memory_sink.h"
#include "tools/serve_targets.h"
#include "tools/symbols.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* The profile that the last /debug/pprof/delta_heap of a process was up to. */
struct hm_serve_baseline {
	dev_t device; /* these three tell which ledger, even where a file has taken the place of another */
	ino_t inode;
	uint64_t run_start_ns;
	time_t used_seconds; /* CLOCK_MONOTONIC */
	struct hm_bytes profile;
};

struct hm_serve {
	struct hm_targets targets;       /* any thread */
	struct hm_allocators allocators; /* any thread */

	/* Of the long worker alone. */
	struct hm_symbols symbols;
	struct hm_serve_baseline *baselines; /* owned */
	size_t baseline_count;
	size_t baseline_bytes; /* of all their profiles */

	/* relaxed: statistics; profiles that were given, and that could not be */
	_Atomic uint64_t dump_count;
	_Atomic uint64_t dump_failed_count;
	_Atomic uint64_t pending_count; /* differences of which the seconds go by now */
};

extern const struct hm_http_route hm_serve_routes[];

/* Opens the process that the request means.  False: the answer says why not. */
bool hm_serve_open(struct hm_serve *serve, struct hm_http_job *job, struct hm_target *ret_target);

/* Copies its ledger.  False: the answer says why not. */
bool hm_serve_snapshot(struct hm_http_job *job, const struct hm_target *target,
		       struct hm_snapshot *ret_snapshot);

/*
 * The value of a number in the query, as Go reads it: what is no number is 0.  Where a key is there at all,
 * *ret_is_given is true.
 */
int64_t hm_serve_number(const struct hm_http_job *job, const char *key, bool *ret_is_given);

/* The routes' work, by file. */
uint64_t hm_serve_heap(void *context, struct hm_http_job *job); /* serve_profiles.c */
uint64_t hm_serve_allocs(void *context, struct hm_http_job *job);
uint64_t hm_serve_delta_heap(void *context, struct hm_http_job *job);
void hm_serve_baselines_done(struct hm_serve *serve);
uint64_t hm_serve_symbol(void *context, struct hm_http_job *job);  /* serve_symbol.c */
uint64_t hm_serve_cmdline(void *context, struct hm_http_job *job); /* serve_pages.c */
uint64_t hm_serve_threads(void *context, struct hm_http_job *job);
uint64_t hm_serve_index(void *context, struct hm_http_job *job);
uint64_t hm_serve_processes(void *context, struct hm_http_job *job);
uint64_t hm_serve_no_profile(void *context, struct hm_http_job *job);
uint64_t hm_serve_vars(void *context, struct hm_http_job *job);    /* serve_vars.c */
uint64_t hm_serve_metrics(void *context, struct hm_http_job *job); /* serve_metrics.c */

#endif
