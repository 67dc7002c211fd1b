// SPDX-License-Identifier: Apache-2.0
#include "tools/serve_targets.h"

#include "tools/cli.h"
#include "tools/input.h"
#include "tools/ledger.h"
#include "tools/library.h"
#include "tools/process.h"
#include "tools/process_access.h"
#include "tools/process_usage.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names of ledgers in a directory, in alphabetical order. */
struct names {
	char **texts; /* owned, and each */
	size_t count;
};

static bool ends_with(const char *text, const char *suffix)
{
	const size_t text_length = strlen(text);
	const size_t suffix_length = strlen(suffix);

	return text_length >= suffix_length && strcmp(text + text_length - suffix_length, suffix) == 0;
}

static const char *base_name(const char *path)
{
	const char *const slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static int say(char *ret_reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int say(char *ret_reason, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(ret_reason, HM_TARGET_REASON_BYTES, format, arguments);
	va_end(arguments);
	return error;
}

int hm_targets_init(struct hm_targets *ret_targets, const char *argument)
{
	struct hm_targets targets = { .kind = HM_TARGETS_DIRECTORY, .descriptor = -1 };
	struct hm_input input;
	struct stat status;
	uint64_t number = 0;

	if (snprintf(targets.argument, sizeof(targets.argument), "%s", argument) >=
	    (int)sizeof(targets.argument))
		return -ENAMETOOLONG;
	if (!hm_parse_count(argument, &number) && stat(argument, &status) == 0 && S_ISDIR(status.st_mode)) {
		DIR *const stream = opendir(argument);

		if (stream == NULL)
			return -errno;
		(void)closedir(stream);
	} else {
		const int error = hm_input_open(argument, &input);

		if (error != 0)
			return error;
		if (input.kind != HM_INPUT_LEDGER) {
			hm_input_close(&input);
			return -EMEDIUMTYPE;
		}
		targets.kind = input.is_process ? HM_TARGETS_PROCESS : HM_TARGETS_LEDGER;
		targets.descriptor = input.descriptor; /* taken over */
		targets.pid = input.is_process ? input.pid : 0;
		targets.start_ticks = input.is_process ? hm_process_start_ticks(input.pid) : 0;
		strcpy(targets.path, input.path);
	}
	(void)pthread_mutex_init(&targets.lock, NULL);
	*ret_targets = targets;
	return 0;
}

void hm_targets_done(struct hm_targets *targets)
{
	if (targets->descriptor >= 0)
		(void)close(targets->descriptor);
	(void)pthread_mutex_destroy(&targets->lock);
}

void hm_target_close(struct hm_target *target)
{
	if (target->descriptor >= 0)
		(void)close(target->descriptor);
	target->descriptor = -1;
}

/* Fills in what the ledger says about its process.  False where it is none. */
static bool describe(struct hm_target *target, struct hm_ledger_identity *ret_identity)
{
	uint64_t start_ns = 0;

	if (!hm_ledger_identify(target->descriptor, ret_identity))
		return false;
	if (pread(target->descriptor, target->comm, sizeof(target->comm),
		  offsetof(struct hm_ledger_header, comm)) != (ssize_t)sizeof(target->comm) ||
	    pread(target->descriptor, &start_ns, sizeof(start_ns),
		  offsetof(struct hm_ledger_header, start_realtime_ns)) != (ssize_t)sizeof(start_ns))
		return false;
	target->comm[sizeof(target->comm) - 1] = '\0';
	hm_make_printable(target->comm);
	target->run_start_ns = start_ns;
	return true;
}

/* "heapmark.COMM.PID-2.ledger": what the name of a ledger says, where it cannot be opened.  0: nothing. */
static pid_t pid_in_name(const char *name, char comm[HM_COMM_MAX])
{
	static const char prefix[] = "heapmark.";
	const size_t length = strlen(name) - strlen(HM_LEDGER_SUFFIX);
	size_t at = length;

	comm[0] = '\0';
	while (at > 0 && name[at - 1] != '.')
		at--;
	if (at <= strlen(prefix) || strncmp(name, prefix, strlen(prefix)) != 0 ||
	    !isdigit((unsigned char)name[at]))
		return 0;
	(void)snprintf(comm, HM_COMM_MAX, "%.*s", (int)(at - 1 - strlen(prefix)), name + strlen(prefix));
	hm_make_printable(comm);
	return atoi(name + at);
}

/* ---- one process ---------------------------------------------------------------------------------- */

/* Takes over the ledger that the process writes now, which is another one after an exec. */
static bool refresh_process(struct hm_targets *targets)
{
	struct hm_process_ledger ledger;

	if (targets->start_ticks == 0 || hm_process_start_ticks(targets->pid) != targets->start_ticks ||
	    hm_process_open_ledger(targets->pid, &ledger) != 0)
		return false;
	(void)close(targets->descriptor);
	targets->descriptor = ledger.descriptor;
	strcpy(targets->path, ledger.path);
	return true;
}

static pid_t writer_of(const struct hm_target *target, const struct hm_ledger_identity *identity,
		       const struct hm_process_list *list)
{
	struct stat status;

	if (fstat(target->descriptor, &status) != 0)
		return 0;
	return hm_process_of_ledger(list, identity->pid, base_name(target->path), status.st_ino);
}

/* What is known of the process of a ledger that no process is seen to write to. */
static void look_for_remains(struct hm_target *target, const struct hm_ledger_identity *identity)
{
	const uint64_t start_ticks = identity->process_start_ticks;

	target->is_hidden = identity->state != HM_LEDGER_FINISHED && hm_process_is_hidden(identity->pid);
	target->is_replaced = !target->is_hidden && start_ticks != 0 &&
			      hm_process_start_ticks(identity->pid) == start_ticks;
}

/* `inner` (borrowed) knows the processes of other namespaces. */
static void look_for_writer(struct hm_target *target, const struct hm_ledger_identity *identity,
			    const struct hm_process_list *inner)
{
	const pid_t writer = writer_of(target, identity, inner);

	target->pid = writer != 0 ? writer : identity->pid;
	target->is_running = writer != 0;
	target->is_hidden = false;
	target->is_replaced = false;
	if (!target->is_running)
		look_for_remains(target, identity);
}

void hm_target_look_again(struct hm_target *target)
{
	struct hm_ledger_identity identity;
	struct hm_process_list inner;

	if (!hm_ledger_identify(target->descriptor, &identity)) {
		target->is_running = false; /* somebody has written to it */
		return;
	}
	hm_process_list_init(&inner);
	look_for_writer(target, &identity, &inner);
	hm_process_list_done(&inner);
}

const char *hm_target_fate(const struct hm_target *target)
{
	if (target->is_hidden)
		return "cannot be looked at: these are the figures of its ledger";
	if (target->is_replaced)
		return "executes another program now: these are the last figures of this one's ledger";
	return "has ended: these are the last figures of its ledger";
}

static bool is_deleted(int descriptor)
{
	struct stat status;

	return fstat(descriptor, &status) == 0 && status.st_nlink == 0;
}

static int open_held(struct hm_targets *targets, struct hm_target *target, char *ret_reason)
{
	struct hm_ledger_identity identity;
	struct hm_process_list inner;

	(void)pthread_mutex_lock(&targets->lock);
	if (targets->kind == HM_TARGETS_PROCESS)
		target->is_running = refresh_process(targets);
	target->descriptor = fcntl(targets->descriptor, F_DUPFD_CLOEXEC, 0);
	strcpy(target->path, targets->path);
	(void)pthread_mutex_unlock(&targets->lock);
	if (target->descriptor < 0)
		return say(ret_reason, -errno, "%s: %s", target->path, strerror(errno));
	if (!describe(target, &identity)) {
		hm_target_close(target);
		return say(ret_reason, -EBADMSG, "%s: not a ledger any more: somebody has written to it",
			   target->path);
	}
	if (targets->kind == HM_TARGETS_PROCESS) {
		target->pid = targets->pid;
		if (!target->is_running)
			look_for_remains(target, &identity);
		return 0;
	}

	hm_process_list_init(&inner);
	look_for_writer(target, &identity, &inner);
	hm_process_list_done(&inner);
	if (target->is_running || target->is_hidden || !is_deleted(target->descriptor))
		return 0;
	hm_target_close(target);
	return say(ret_reason, -ESTALE, "%s: was deleted, and process %d, which wrote it, has ended",
		   target->path, (int)identity.pid);
}

/* ---- a directory ---------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	char *const *const left = a;
	char *const *const right = b;

	return strcmp(*left, *right);
}

static void names_done(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->texts[i]);
	free(names->texts);
	*names = (struct names){ 0 };
}

static int names_init(struct names *ret_names, const char *directory)
{
	const struct dirent *entry = NULL;
	DIR *const stream = opendir(directory);
	size_t room = 0;

	*ret_names = (struct names){ 0 };
	if (stream == NULL)
		return -errno;
	while ((entry = readdir(stream)) != NULL) {
		if (!ends_with(entry->d_name, HM_LEDGER_SUFFIX))
			continue;
		if (ret_names->count == room) {
			room = room != 0 ? 2 * room : 64;
			ret_names->texts = reallocarray(ret_names->texts, room, sizeof(char *));
			if (ret_names->texts == NULL)
				abort();
		}
		ret_names->texts[ret_names->count] = strdup(entry->d_name);
		if (ret_names->texts[ret_names->count++] == NULL)
			abort();
	}
	(void)closedir(stream);
	if (ret_names->count > 0)
		qsort(ret_names->texts, ret_names->count, sizeof(char *), compare_names);
	return 0;
}

/* Opens a ledger of the directory.  `inner` (borrowed) knows the processes of other namespaces. */
static void open_name(const struct hm_targets *targets, const char *name, const struct hm_process_list *inner,
		      struct hm_target *ret_target)
{
	struct hm_ledger_identity identity;
	struct hm_target target = { .descriptor = -1 };
	struct stat status;

	target.pid = pid_in_name(name, target.comm);
	if (snprintf(target.path, sizeof(target.path), "%s%s%s", targets->argument,
		     ends_with(targets->argument, "/") ? "" : "/", name) >= (int)sizeof(target.path))
		target.error = -ENAMETOOLONG;
	else
		target.descriptor =
			open(target.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	if (target.error == 0 && target.descriptor < 0)
		target.error = -errno;
	if (target.descriptor >= 0 && (fstat(target.descriptor, &status) != 0 || !S_ISREG(status.st_mode) ||
				       !describe(&target, &identity))) {
		hm_target_close(&target);
		target.error = -EBADMSG;
	}
	if (target.descriptor >= 0)
		look_for_writer(&target, &identity, inner);
	*ret_target = target;
}

/* Of several that fit, the one that runs, then the one that was started last. */
static bool is_better(const struct hm_target *candidate, const struct hm_target *than)
{
	if ((candidate->error == 0) != (than->error == 0))
		return candidate->error == 0;
	if (candidate->is_running != than->is_running)
		return candidate->is_running;
	return candidate->run_start_ns > than->run_start_ns;
}

static int explain_unreadable(const struct hm_target *target, char *ret_reason)
{
	if (target->error == -EACCES || target->error == -EPERM)
		return say(ret_reason, -EACCES,
			   "%s: the ledger of a process of another user, which this server may not read; "
			   "run heapmark serve as that user, or as root",
			   target->path);
	if (target->error == -EBADMSG)
		return say(ret_reason, -EBADMSG,
			   "%s: not a ledger of this version of heapmark; try: heapmark check %s",
			   target->path, target->path);
	if (target->error == -ENOENT)
		return say(ret_reason, -ENOENT, "%s: was deleted just now", target->path);
	return say(ret_reason, target->error, "%s: %s", target->path, strerror(-target->error));
}

/* The number was asked for and no ledger has it: what is there under this number? */
static int explain_absent(const struct hm_targets *targets, pid_t pid, char *ret_reason)
{
	struct hm_process_ledger ledger;
	struct hm_refusal refusal;
	const int error = hm_process_open_ledger(pid, &ledger);
	bool is_gone = false;

	switch (error) {
	case 0:
		is_gone = is_deleted(ledger.descriptor);
		(void)close(ledger.descriptor);
		if (is_gone)
			return say(
				ret_reason, -ESTALE,
				"%s: was deleted while process %d writes to it; it can still be had by the "
				"process: heapmark serve %d",
				ledger.path, (int)pid, (int)pid);
		return say(ret_reason, -ENOENT,
			   "process %d has its ledger elsewhere: %s; this server serves %s", (int)pid,
			   ledger.path, targets->argument);
	case -ESRCH:
		return say(ret_reason, -ENOENT,
			   "no process %d, and no ledger of it in %s; a process that came to its normal end "
			   "has left a profile, heapmark.NAME.%d.pb.gz",
			   (int)pid, targets->argument, (int)pid);
	case -EACCES:
	case -EPERM:
		hm_process_explain_refusal(pid, HM_ACCESS_READ, &refusal);
		return say(ret_reason, -EACCES,
			   "process %d has no ledger in %s; where it has one cannot be told: %s", (int)pid,
			   targets->argument, refusal.reason);
	case -ENOENT:
		return say(ret_reason, -ENOENT,
			   "process %d runs without %s, which cannot be loaded later; start it with: "
			   "heapmark run -o %s COMMAND...",
			   (int)pid, HM_LIBRARY_NAME, targets->argument);
	default:
		return say(ret_reason, -ENOENT,
			   "process %d has %s loaded but no ledger: nothing was sampled in it", (int)pid,
			   HM_LIBRARY_NAME);
	}
}

static int explain_several(const struct hm_targets *targets, const struct hm_target *one,
			   const struct hm_target *other, char *ret_reason)
{
	if (one->pid == other->pid) /* what it was before an exec, or before its number was used again */
		return say(ret_reason, -EMLINK,
			   "process %d has several ledgers in %s: choose one with ?ledger=NAME, as "
			   "ledger=%s or ledger=%s, or the last with ?pid=%d",
			   (int)one->pid, targets->argument, base_name(one->path), base_name(other->path),
			   (int)one->pid);
	return say(ret_reason, -EMLINK,
		   "several processes have their ledger in %s: choose one with ?pid=N, as pid=%d (%s) or "
		   "pid=%d (%s); / lists them",
		   targets->argument, (int)one->pid, one->comm, (int)other->pid, other->comm);
}

static bool is_wanted(const struct hm_target_choice *choice, const struct hm_target *target, const char *name)
{
	char comm[HM_COMM_MAX];

	if (choice->ledger != NULL && strcmp(choice->ledger, name) != 0)
		return false;
	/* The number in the name is the process's own, which differs here for one in a namespace. */
	return choice->pid == 0 || target->pid == choice->pid ||
	       (!target->is_running && pid_in_name(name, comm) == choice->pid);
}

/* What was found so far. */
struct search {
	struct hm_target best;   /* open, where it can be */
	struct hm_target second; /* closed: only what it is called counts */
	size_t found_count;
	size_t readable_count;
};

/* Takes the target over. */
static void consider(struct search *search, struct hm_target *target)
{
	struct hm_target loser = *target;

	search->readable_count += target->error == 0;
	if (search->found_count++ == 0) {
		search->best = *target;
		return;
	}
	if (is_better(target, &search->best)) {
		loser = search->best;
		search->best = *target;
	}
	hm_target_close(&loser);
	if (search->found_count == 2 || is_better(&loser, &search->second))
		search->second = loser;
}

static int search_directory(const struct hm_targets *targets, const struct hm_target_choice *choice,
			    struct search *ret_search)
{
	struct hm_process_list inner;
	struct names names;
	const int error = names_init(&names, targets->argument);

	*ret_search = (struct search){ .best.descriptor = -1, .second.descriptor = -1 };
	if (error != 0)
		return error;
	hm_process_list_init(&inner);
	for (size_t i = 0; i < names.count; i++) {
		struct hm_target target;

		if (choice->ledger != NULL && strcmp(choice->ledger, names.texts[i]) != 0)
			continue;
		open_name(targets, names.texts[i], &inner, &target);
		if (is_wanted(choice, &target, names.texts[i]))
			consider(ret_search, &target);
		else
			hm_target_close(&target);
	}
	hm_process_list_done(&inner);
	names_done(&names);
	return 0;
}

static int explain_none(const struct hm_targets *targets, const struct hm_target_choice *choice,
			char *ret_reason)
{
	if (choice->ledger != NULL)
		return say(ret_reason, -ENOENT, "no ledger %s in %s", choice->ledger, targets->argument);
	if (choice->pid != 0)
		return explain_absent(targets, choice->pid, ret_reason);
	return say(ret_reason, -ENOENT,
		   "no process has its ledger in %s yet; start one with: heapmark run -o %s COMMAND...",
		   targets->argument, targets->argument);
}

/* Whether the process has its ledger in the directory now: it came there since this was read. */
static bool has_come(const struct hm_targets *targets, pid_t pid)
{
	struct hm_process_ledger ledger;
	struct stat own;
	struct stat here;
	char path[PATH_MAX];

	if (pid == 0 || hm_process_open_ledger(pid, &ledger) != 0)
		return false;
	const bool is_known = fstat(ledger.descriptor, &own) == 0;

	(void)close(ledger.descriptor);
	return is_known &&
	       snprintf(path, sizeof(path), "%s/%s", targets->argument, base_name(ledger.path)) <
		       (int)sizeof(path) &&
	       stat(path, &here) == 0 && here.st_dev == own.st_dev && here.st_ino == own.st_ino;
}

static int open_among(const struct hm_targets *targets, const struct hm_target_choice *choice,
		      struct hm_target *ret_target, char *ret_reason)
{
	const bool is_open_choice = choice->pid == 0 && choice->ledger == NULL;
	struct search search;
	int error = search_directory(targets, choice, &search);

	if (error == 0 && search.found_count == 0 && has_come(targets, choice->pid))
		error = search_directory(targets, choice, &search);
	if (error != 0)
		return say(ret_reason, error, "%s: %s", targets->argument, strerror(-error));
	if (search.found_count == 0)
		return explain_none(targets, choice, ret_reason);
	if (is_open_choice && search.readable_count > 1 &&
	    search.second.is_running == search.best.is_running) {
		hm_target_close(&search.best);
		return explain_several(targets, &search.best, &search.second, ret_reason);
	}
	if (search.best.descriptor < 0)
		return explain_unreadable(&search.best, ret_reason);
	*ret_target = search.best;
	return 0;
}

int hm_targets_open(struct hm_targets *targets, const struct hm_target_choice *choice,
		    struct hm_target *ret_target, char ret_reason[HM_TARGET_REASON_BYTES])
{
	struct hm_target target = { .descriptor = -1 };

	if (targets->kind == HM_TARGETS_DIRECTORY)
		return open_among(targets, choice, ret_target, ret_reason);

	const int error = open_held(targets, &target, ret_reason);

	if (error != 0)
		return error;
	if ((choice->pid != 0 && choice->pid != target.pid) ||
	    (choice->ledger != NULL && strcmp(choice->ledger, base_name(target.path)) != 0)) {
		hm_target_close(&target);
		return say(ret_reason, -ENOENT,
			   "this server serves process %d (%s) alone; for more: heapmark serve DIR",
			   (int)target.pid, target.comm);
	}
	*ret_target = target;
	return 0;
}

int hm_targets_visit(struct hm_targets *targets, void (*visit)(void *context, const struct hm_target *target),
		     void *context, char ret_reason[HM_TARGET_REASON_BYTES])
{
	struct hm_target target = { .descriptor = -1 };
	struct hm_process_list inner;
	struct names names;

	if (targets->kind != HM_TARGETS_DIRECTORY) {
		const int error = open_held(targets, &target, ret_reason);

		if (error == 0)
			visit(context, &target);
		hm_target_close(&target);
		return error;
	}

	const int error = names_init(&names, targets->argument);

	if (error != 0)
		return say(ret_reason, error, "%s: %s", targets->argument, strerror(-error));
	hm_process_list_init(&inner);
	for (size_t i = 0; i < names.count; i++) {
		open_name(targets, names.texts[i], &inner, &target);
		if (target.error != -ENOENT) /* gone since the directory was read */
			visit(context, &target);
		hm_target_close(&target);
	}
	hm_process_list_done(&inner);
	names_done(&names);
	return 0;
}
