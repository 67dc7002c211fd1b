// SPDX-License-Identifier: Apache-2.0
#include "tools/serve.h"

#include "tools/cli.h"
#include "tools/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { GET = HM_HTTP_GET | HM_HTTP_HEAD };

/* The first that fits.  What reads names or makes profiles is for the long worker, and only that. */
const struct hm_http_route hm_serve_routes[] = {
	{ "/", GET, HM_HTTP_QUICK, hm_serve_processes },
	{ "/metrics", GET, HM_HTTP_QUICK, hm_serve_metrics },
	{ "/debug/vars", GET, HM_HTTP_QUICK, hm_serve_vars },
	{ "/debug/pprof/", GET, HM_HTTP_QUICK, hm_serve_index },
	{ "/debug/pprof/heap", GET, HM_HTTP_LONG, hm_serve_heap },
	{ "/debug/pprof/allocs", GET, HM_HTTP_LONG, hm_serve_allocs },
	{ "/debug/pprof/delta_heap", GET, HM_HTTP_LONG, hm_serve_delta_heap },
	{ "/debug/pprof/symbol", GET | HM_HTTP_POST, HM_HTTP_LONG, hm_serve_symbol },
	{ "/debug/pprof/cmdline", GET, HM_HTTP_QUICK, hm_serve_cmdline },
	{ "/debug/pprof/threads", GET, HM_HTTP_LONG, hm_serve_threads },
	{ "/debug/pprof/*", GET, HM_HTTP_QUICK, hm_serve_no_profile },
	{ .path = NULL },
};

static unsigned int status_of(int error)
{
	switch (error) {
	case -ENOENT:
	case -ESTALE:
		return 404;
	case -EACCES:
		return 403;
	case -EMLINK:
		return 400;
	default:
		return 503;
	}
}

bool hm_serve_open(struct hm_serve *serve, struct hm_http_job *job, struct hm_target *ret_target)
{
	enum { NUMBER_BYTES = 24 };
	struct hm_target_choice choice = { .pid = 0 };
	char number[NUMBER_BYTES];
	char name[NAME_MAX + 1];
	char reason[HM_TARGET_REASON_BYTES];
	uint64_t pid = 0;
	const enum hm_query has_pid = hm_query_find(job->request.query, "pid", number, sizeof(number));
	const enum hm_query has_ledger = hm_query_find(job->request.query, "ledger", name, sizeof(name));

	if (has_pid == HM_QUERY_BAD || has_ledger == HM_QUERY_BAD ||
	    (has_pid == HM_QUERY_FOUND && (!hm_parse_count(number, &pid) || pid == 0 || pid > INT32_MAX))) {
		hm_http_say(&job->answer, 400, "%s",
			    has_ledger == HM_QUERY_BAD
				    ? "invalid value for \"ledger\" - must be a file name"
				    : "invalid value for \"pid\" - must be a positive integer");
		return false;
	}
	choice.pid = (pid_t)pid;
	choice.ledger = has_ledger == HM_QUERY_FOUND ? name : NULL;

	const int error = hm_targets_open(&serve->targets, &choice, ret_target, reason);

	if (error == 0)
		return true;
	hm_http_say(&job->answer, status_of(error), "%s", reason);
	return false;
}

bool hm_serve_snapshot(struct hm_http_job *job, const struct hm_target *target,
		       struct hm_snapshot *ret_snapshot)
{
	enum hm_snapshot_fault fault = HM_SNAPSHOT_UNREADABLE;
	const int error = hm_ledger_snapshot(target->descriptor, target->is_running, 0, ret_snapshot, &fault);

	if (error == 0)
		return true;
	hm_http_say(&job->answer, 503, "%s: %s%s", target->path,
		    fault == HM_SNAPSHOT_UNREADABLE ? strerror(-error) : hm_snapshot_fault_text(fault),
		    fault == HM_SNAPSHOT_NOT_READY ? "; try again" : "");
	return false;
}

int64_t hm_serve_number(const struct hm_http_job *job, const char *key, bool *ret_is_given)
{
	char text[32];
	char *end = NULL;
	const enum hm_query found = hm_query_find(job->request.query, key, text, sizeof(text));

	/* as in Go, "seconds=" is as good as none */
	*ret_is_given = found == HM_QUERY_BAD || (found == HM_QUERY_FOUND && text[0] != '\0');
	if (found != HM_QUERY_FOUND || strspn(text, "+-0123456789") != strlen(text))
		return 0;
	errno = 0;
	const long long number = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' ? number : 0;
}
