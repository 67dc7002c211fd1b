// SPDX-License-Identifier: Apache-2.0
/*
 * The unwind rules: for one instruction address, where the caller's frame is.
 *
 * Rules are compiled (unwinder.h) from the call-frame information of the loaded objects, once for each
 * address that ever stood in a sampled stack, and kept in one table for the whole process.
 * [docs/design.md: "The stack walk"]
 *
 * Looking a rule up is lock-free: any thread, any signal handler.  Compiling one takes the lock; signals are
 * held off meanwhile (signals.h), so that no handler can leave by longjmp with the lock held.
 * Private memory only, nothing from the program's heap after hm_unwind_rules_init; keeps errno.
 *
 *
 * The lock, and when it is not waited for
 * ---------------------------------------
 * Holding it, a thread computes for some microseconds and waits for nobody.  One who finds it held waits for
 * it, except where that could be for ever.  He then goes without: his walk ends where it needs a new rule,
 * and is marked truncated.
 *
 *   held by                                   then
 *   another thread that compiles              wait, at most a second, once (a debugger may stop it)
 *   ourselves, in a signal handler            go without
 *   a thread that is inside fork()            wait, at most 0.1 s: fork may be waiting for a lock of our
 *                                             caller's, stdio's say
 *   a thread of another process, which a      go without, for good: what it was writing was
 *   child of _Fork or clone inherited         copied half done.  fork() itself never leaves this behind
 *
 * Behind a seccomp filter that does not let signals be held off (sandbox.h) nothing is compiled.  The lock is
 * still taken, to look at modules: a handler that comes meanwhile finds it held by itself and goes without,
 * and if it leaves by longjmp, everybody does from then on.
 */
#ifndef HM_PRELOAD_UNWIND_RULES_H
#define HM_PRELOAD_UNWIND_RULES_H

#include "preload/signals.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#ifndef __x86_64__
#error "the stack walk is written for x86-64: the shapes of rules below are those of its frames"
#endif
#if !defined(__GLIBC__) || !__GLIBC_PREREQ(2, 35)
#error "the stack walk needs _dl_find_object, which tells without a lock what an address belongs to: glibc 2.35"
#endif

struct hm_ledger_file;

enum hm_rule_kind {
	HM_RULE_NONE,      /* not compiled, or forgotten after dlclose */
	HM_RULE_STANDARD,  /* the caller's frame begins at a fixed distance from SP or FP */
	HM_RULE_REALIGNED, /* where it begins is written in the frame: the function aligned its stack */
	HM_RULE_SIGNAL,    /* the kernel's signal frame: PC, SP and FP are in the saved context */
	HM_RULE_OUTERMOST, /* has no caller: the entry of the process or of a thread */
	HM_RULE_COMPLEX,   /* has rules, but not of these shapes: steps take all registers */
	HM_RULE_UNKNOWN,   /* no call-frame information: follow the frame pointer */
};

/* clang-format off */
/*
 * A rule in one word, so that it can be read and replaced at once.  Offsets count stack words of 8 bytes; a frame
 * that does not fit is COMPLEX.  CFA is what call-frame information calls the caller's SP right after the
 * return; the return address lies just below it.
 *
 *	             STANDARD                               REALIGNED
 *	CFA          SP or FP + cfa_offset                  the word at FP + cfa_offset
 *	caller's PC  the word at CFA - 1                    the word at CFA - 1
 *	caller's FP  the word at CFA + fp_offset,           the word at FP + fp_offset
 *	             or as it is where fp_offset is 0
 */
union hm_rule {
	struct {
		uint64_t kind : 3;         /* enum hm_rule_kind */
		uint64_t cfa_is_on_fp : 1; /* STANDARD: counted from FP */
		int64_t fp_offset : 12;
		uint64_t module_index : 16; /* of the object around the instruction; 0: none, or the table is full */
		int64_t cfa_offset : 32;    /* uppermost, so that one shift unpacks what the walk waits for */
	};
	uint64_t word; /* 0: HM_RULE_NONE */
};
/* clang-format on */
static_assert(sizeof(union hm_rule) == 8, "one atomic word");

/*
 * HM_RULE_SIGNAL: when a handler has returned to the code that calls sigreturn, SP is at the kernel's
 * ucontext. The distances of the interrupted registers from there, in bytes.
 */
enum {
	HM_SIGNAL_FP_OFFSET = offsetof(ucontext_t, uc_mcontext.gregs[REG_RBP]),
	HM_SIGNAL_SP_OFFSET = offsetof(ucontext_t, uc_mcontext.gregs[REG_RSP]),
	HM_SIGNAL_PC_OFFSET = offsetof(ucontext_t, uc_mcontext.gregs[REG_RIP]),
};

/*
 * Where there is no call-frame information, FP may just as well hold a number.  It is believed if it points
 * outwards by no more than this: as libunwind has it, so that stacks are the same.
 */
enum { HM_GUESSED_FRAME_MAX = 0x4000 };

/*
 * Makes the table.  Once, while the process has one thread.  Where there is no memory for it, each rule is
 * compiled whenever it is needed.
 */
void hm_unwind_rules_init(void);

/*
 * The rule for the instruction at `pc`, compiled where it is new.  HM_RULE_NONE: it would have to be
 * compiled, and the lock is not to be had; or a seccomp filter forbids to (sandbox.h), and then the module,
 * where it was met before, is all that the rule tells.  A rule for which there is no room is compiled each
 * time (a million are kept).
 */
union hm_rule hm_unwind_rule_find(uintptr_t pc);

/* From now on `ledger` (borrowed; NULL: none) receives the modules that rules refer to, those already known
 * at once.
 */
void hm_unwind_rules_attach(struct hm_ledger_file *ledger);

/*
 * To be called around dlclose.  Which object goes is not known beforehand, and afterwards it is too late:
 * between the unmapping and dlclose's return, another thread may have loaded a plug-in to the same place, by
 * a handle at the same address, and be sampled in it.  So the rules in all objects that may ever go are
 * dropped before, and as long as a dlclose is under way, none of theirs is kept.  Objects that vanish in
 * another way are noticed when the first rule in their successor is compiled.
 */
void hm_unwind_rules_before_unload(void);
void hm_unwind_rules_after_unload(void);

/*
 * A number that changes when rules are dropped: while it is the same, what was found by a rule can be found
 * again by the same rule.  0: a dlclose is under way, and nothing found now will hold.  Lock-free.
 */
uint64_t hm_unwind_rules_epoch(void);

/*
 * For pthread_atfork, so that no thread is compiling while the process is copied.  To be registered
 * early: the lock is then taken last before the copy, and given back first after it.
 */
void hm_unwind_rules_before_fork(void);
void hm_unwind_rules_after_fork_parent(void);
void hm_unwind_rules_after_fork_child(void);

/*
 * The lock itself.  Signals are held off from lock to unlock.  Returns false, with nothing changed, where the
 * lock is not to be had; see above.
 */
bool hm_unwind_rules_lock(struct hm_signals_saved *ret_saved);
void hm_unwind_rules_unlock(const struct hm_signals_saved *saved);

/*
 * Calls function(argument) with the lock held, and on a stack of ours (own_stack.h): it may need more than a
 * coroutine has left.  Returns false, and calls nothing, where the lock is not to be had
 * or rules may not be compiled.
 */
bool hm_unwind_rules_run(void (*function)(void *argument), void *argument);

/* As hm_unwind_rule_find, while the lock is held and rules may be compiled. */
union hm_rule hm_unwind_rule_find_locked(uintptr_t pc);

#endif
