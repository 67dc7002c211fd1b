// SPDX-License-Identifier: Apache-2.0
/*
 * What a seccomp filter says to a system call, found out by running the filter: classic BPF, the part of it
 * that seccomp(2) takes (kernel/seccomp.c, seccomp_check_filter).
 *
 * A filter is asked beforehand, so not all is known about the call: where an answer depends on a word that is
 * not known (a pointer, the instruction pointer), it is HM_BPF_FORBIDS.
 *
 * Pure computation: any thread, any signal handler.  A program is not trusted: it may be no filter at all,
 * and another thread may be writing to it.  Jumps lead forwards only, so it ends.
 */
#ifndef HM_PRELOAD_BPF_H
#define HM_PRELOAD_BPF_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HM_CALL_ARGUMENTS = 6 };

/* A system call as far as it is known. */
struct hm_system_call {
	int number;
	uint8_t known_arguments; /* bit n: arguments[n] is known; the others are not looked at */
	uint64_t arguments[HM_CALL_ARGUMENTS];
};

enum hm_bpf_verdict {
	HM_BPF_ALLOWS,  /* SECCOMP_RET_ALLOW, _LOG */
	HM_BPF_FAILS,   /* SECCOMP_RET_ERRNO: the call does nothing and returns an error */
	HM_BPF_FORBIDS, /* anything else: a signal, a tracer, a supervisor; or it cannot be known */
};

/* Asks the filter about an x86-64 system call.  The instructions are borrowed for the call, and readable. */
enum hm_bpf_verdict hm_bpf_ask(const struct sock_filter *program, size_t instruction_count,
			       const struct hm_system_call *call);

#endif
