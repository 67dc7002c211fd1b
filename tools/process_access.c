// SPDX-License-Identifier: Apache-2.0
#include "tools/process_access.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t cap_sys_ptrace = UINT64_C(1) << 19; /* linux/capability.h */

enum { PROC_PATH_MAX = 64, USER_BYTES = 64 };

/* What the kernel looks at, from /proc/PID/status. */
struct credentials {
	unsigned int uids[3]; /* real, effective, saved */
	unsigned int gids[3];
	uint64_t permitted;
	uint64_t effective;
	pid_t tracer; /* 0: nobody traces it */
};

/* `process` is a number, or "self". */
static bool read_credentials(const char *process, struct credentials *ret_credentials)
{
	char path[PROC_PATH_MAX];
	char line[256];
	struct credentials found = { .tracer = 0 };

	(void)snprintf(path, sizeof(path), "/proc/%s/status", process);
	FILE *const stream = fopen(path, "re");

	if (stream == NULL)
		return false;
	while (fgets(line, sizeof(line), stream) != NULL) {
		(void)sscanf(line, "Uid: %u %u %u", &found.uids[0], &found.uids[1], &found.uids[2]);
		(void)sscanf(line, "Gid: %u %u %u", &found.gids[0], &found.gids[1], &found.gids[2]);
		(void)sscanf(line, "CapPrm: %" SCNx64, &found.permitted);
		(void)sscanf(line, "CapEff: %" SCNx64, &found.effective);
		(void)sscanf(line, "TracerPid: %d", &found.tracer);
	}
	(void)fclose(stream);
	*ret_credentials = found;
	return true;
}

/* "www-data (33)" */
static const char *name_of(uid_t uid, char text[USER_BYTES])
{
	const struct passwd *const entry = getpwuid(uid);

	if (entry != NULL)
		(void)snprintf(text, USER_BYTES, "%.40s (%u)", entry->pw_name, uid);
	else
		(void)snprintf(text, USER_BYTES, "user %u", uid);
	return text;
}

/* 0: there is no such restriction. */
static int ptrace_scope(void)
{
	int scope = 0;
	FILE *const stream = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");

	if (stream == NULL)
		return 0;
	if (fscanf(stream, "%d", &scope) != 1)
		scope = 0;
	(void)fclose(stream);
	return scope;
}

static void say(struct hm_refusal *refusal, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct hm_refusal *refusal, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(refusal->reason, sizeof(refusal->reason), format, arguments);
	va_end(arguments);
}

/* All three have to be ours. */
static bool all_are(const unsigned int ids[3], unsigned int id)
{
	return ids[0] == id && ids[1] == id && ids[2] == id;
}

/* The files of one that does not want to be looked at belong to root: proc(5). */
static bool is_dumpable(pid_t pid, const struct credentials *process)
{
	char path[PROC_PATH_MAX];
	struct stat status;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	return process->uids[1] == 0 || stat(path, &status) != 0 || status.st_uid == process->uids[1];
}

/*
 * Where the right to look at a process is asked for, and nothing else: for its mappings alone the kernel
 * takes CAP_PERFMON too.
 */
static bool is_closed(pid_t pid)
{
	char path[PROC_PATH_MAX];
	char target[2];

	(void)snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	return readlink(path, target, sizeof(target)) < 0 && (errno == EACCES || errno == EPERM);
}

/* What restricts tracing beside all that restricts reading.  False: nothing does. */
static bool explain_trace(const struct credentials *process, bool is_capable, struct hm_refusal *refusal)
{
	const int scope = ptrace_scope();

	if (process->tracer != 0) {
		say(refusal, "process %d traces it, and there can be one tracer only", (int)process->tracer);
		refusal->remedy = HM_REMEDY_UNKNOWN;
	} else if (scope >= 3) {
		say(refusal, "kernel.yama.ptrace_scope is %d: nobody may trace until the next boot", scope);
		refusal->remedy = HM_REMEDY_UNKNOWN;
	} else if (scope == 2 && !is_capable) {
		say(refusal, "kernel.yama.ptrace_scope is 2: who has not CAP_SYS_PTRACE may not trace");
	} else if (scope == 1 && !is_capable) {
		say(refusal,
		    "kernel.yama.ptrace_scope is 1: who has not CAP_SYS_PTRACE may trace his children "
		    "only");
	} else {
		return false;
	}
	return true;
}

static void explain_read(pid_t pid, const struct credentials *process, const struct credentials *own,
			 struct hm_refusal *refusal)
{
	char owner[USER_BYTES];
	char self[USER_BYTES];
	const bool is_capable = (own->effective & cap_sys_ptrace) != 0;
	const char *const lacks =
		refusal->remedy == HM_REMEDY_CAPABILITY ? ", without the capability CAP_SYS_PTRACE" : "";

	if (!is_capable && !all_are(process->uids, own->uids[1])) {
		refusal->is_other = true;
		say(refusal, "a process of another user: it runs as %s, and this as %s%s",
		    name_of(process->uids[1], owner), name_of(own->uids[1], self), lacks);
	} else if (!is_capable && !all_are(process->gids, own->gids[1])) {
		say(refusal, "it runs with group %u, and this with %u%s", process->gids[1], own->gids[1],
		    lacks);
	} else if (!is_capable && !is_dumpable(pid, process)) {
		say(refusal,
		    "it does not let itself be looked at, since it has changed its user, has capabilities of "
		    "its file, or asked for that (PR_SET_DUMPABLE)%s",
		    lacks);
	} else if (!is_capable && (process->permitted & ~own->effective) != 0) {
		say(refusal, "it has capabilities that this has not%s", lacks);
	} else {
		say(refusal, "the kernel refuses it: a security module, or another user namespace");
		refusal->remedy = HM_REMEDY_UNKNOWN;
	}
}

void hm_process_explain_refusal(pid_t pid, enum hm_access access, struct hm_refusal *ret_refusal)
{
	char number[16];
	struct credentials process;
	struct credentials own;
	struct hm_refusal refusal = { .remedy = HM_REMEDY_UNKNOWN };

	(void)snprintf(number, sizeof(number), "%d", (int)pid);
	if (!read_credentials(number, &process) || !read_credentials("self", &own)) {
		say(&refusal, "it has ended");
		*ret_refusal = refusal;
		return;
	}
	refusal.owner = process.uids[1];
	refusal.remedy = own.uids[1] == 0 ? HM_REMEDY_CAPABILITY : HM_REMEDY_ROOT;
	if (access == HM_ACCESS_READ && !is_closed(pid))
		say(&refusal,
		    "the process can be looked at, but the file is another user's, or was deleted and "
		    "can be reached by root only");
	else if (access == HM_ACCESS_READ || is_closed(pid) ||
		 !explain_trace(&process, (own.effective & cap_sys_ptrace) != 0, &refusal))
		explain_read(pid, &process, &own, &refusal);
	*ret_refusal = refusal;
}

bool hm_process_is_hidden(pid_t pid)
{
	char path[PROC_PATH_MAX];

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	FILE *const stream = fopen(path, "re");

	if (stream == NULL)
		return errno == EACCES || errno == EPERM;
	errno = 0;

	const bool is_refused = fgetc(stream) == EOF && (errno == EACCES || errno == EPERM);

	(void)fclose(stream);
	return is_refused;
}
