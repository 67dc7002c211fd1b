// SPDX-License-Identifier: Apache-2.0
/*
 * Why the kernel does not let us look at a process, as far as that can be told from outside.
 *
 * It lets a user look at processes of his own, if they have not more privileges than he; and whoever has
 * CAP_SYS_PTRACE at all, which root in a container need not have (ptrace(2), "Ptrace access mode checking").
 */
#ifndef HM_TOOLS_PROCESS_ACCESS_H
#define HM_TOOLS_PROCESS_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

enum hm_access {
	HM_ACCESS_READ,  /* its memory, files and mappings in /proc */
	HM_ACCESS_TRACE, /* the same, and its threads' registers: ptrace(2) */
};

enum { HM_REFUSAL_BYTES = 320 };

/* What would help. */
enum hm_remedy {
	HM_REMEDY_ROOT,       /* to be root */
	HM_REMEDY_CAPABILITY, /* we are root, and have not CAP_SYS_PTRACE */
	HM_REMEDY_UNKNOWN,    /* neither */
};

struct hm_refusal {
	char reason[HM_REFUSAL_BYTES]; /* "a process of another user: ..."; no full stop */
	enum hm_remedy remedy;
	bool is_other; /* the process is another user's: of `owner` */
	uid_t owner;
};

/* Of a process that was refused to us just now; where it has ended since, the reason says so. */
void hm_process_explain_refusal(pid_t pid, enum hm_access access, struct hm_refusal *ret_refusal);

/*
 * Whether there is such a process and its mappings are refused to us, so that nobody can tell what it has
 * mapped.
 */
bool hm_process_is_hidden(pid_t pid);

#endif
