// SPDX-License-Identifier: Apache-2.0
/*
 * The table
 * ---------
 * Open addressing, linear probes, any number of readers, one writer at a time.  A slot goes through
 *
 *	        insert               forget                   another address is inserted
 *	(0, -) --------> (pc, rule) --------> (pc, NONE) ------------> (TAKEN, -) --------> (pc', rule')
 *	                     ^                    |
 *	                     +--------------------+  the same address is inserted again
 *
 * and is never (0, -) again, so that probes do not end early.  A full table is replaced by one four times as
 * large, without the forgotten; the old one is left where it is, because readers may be in it.
 *
 *   label            stores with release             reads with acquire
 *   [table.publish]  publish_larger: table           hm_unwind_rule_find: the slots
 *   [rule.publish]   put: slot.pc                    hm_unwind_rule_find: the rule that belongs to it
 *   [rule.replace]   put: slot.rule                  hm_unwind_rule_find: the same pc is there still
 *   [rules.epoch]    begin_epoch: epoch              hm_unwind_rules_epoch: what was dropped before
 *
 * A reader that finds a slot with its pc, reads the rule, and finds the pc there still, has the rule of that
 * pc: had it read the rule of another, [rule.replace] would have shown it TAKEN or the other pc.
 */
#include "preload/unwind_rules.h"

#include "preload/brief_wait.h"
#include "preload/cc.h"
#include "preload/memory.h"
#include "preload/modules.h"
#include "preload/own_stack.h"
#include "preload/process.h"
#include "preload/sandbox.h"
#include "preload/thread.h"
#include "preload/unwinder.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

enum {
	SLOTS_FIRST_LOG2 = 12, /* 64 KiB */
	SLOTS_LAST_LOG2 = 20,  /* 16 MiB */
	SLOTS_GROWTH_LOG2 = 2,
	PC_TAKEN = 1, /* no instruction is there */
};

struct slot {
	_Atomic uint64_t pc; /* 0: empty */
	_Atomic uint64_t rule;
};

struct table {
	uint32_t slots_log2;
	uint32_t used;        /* slots that are not empty; the writer's own */
	uint64_t reserved[7]; /* slots are four to a cache line, none across two */
	struct slot slots[];
};
static_assert(offsetof(struct table, slots) == 64, "slots begin a cache line of their own");

static struct table *_Atomic table; /* owned */

/*
 * Who holds the lock: process and thread in one word; 0: nobody.
 *
 *	63         32 31   30        0
 *	[    pid     ][ F ][ thread  ]     F: held across fork
 *
 * A thread is known by the place of its storage in units of its size, which takes no system call to find out.
 * Two threads would have to be 2^37 bytes apart to be taken for one, and go without then.
 */
static _Atomic uint64_t lock_owner;
static _Atomic uint64_t lock_owner_given_up; /* the last one that was waited for in vain */
static _Atomic uint32_t lock_waiters;

enum { OWNER_PID_SHIFT = 32 };
static const uint64_t owner_forks = UINT64_C(1) << 31;

static uint64_t owner_self(void)
{
	const uint64_t thread = (uintptr_t)&hm_thread / sizeof(hm_thread);

	return (uint64_t)hm_process_own_pid() << OWNER_PID_SHIFT | (thread & (owner_forks - 1));
}

static bool owner_is_of_this_process(uint64_t owner)
{
	return owner >> OWNER_PID_SHIFT == hm_process_own_pid();
}

/* See the table at the head of unwind_rules.h. */
static bool is_worth_waiting(uint64_t owner, uint64_t self)
{
	if (!owner_is_of_this_process(owner) || (owner & ~owner_forks) == (self & ~owner_forks))
		return false;
	/* relaxed: another second of waiting at worst */
	if (owner == atomic_load_explicit(&lock_owner_given_up, memory_order_relaxed))
		return false;
	return true;
}

static bool acquire(uint64_t self)
{
	/* Of a millisecond at most.  A fork takes as long as its page tables are large; it may also be
	 * waiting for something that the caller of this very malloc holds (a lock of the C library's). */
	enum { WAITS_MAX = 1000, WAITS_FOR_FORK_MAX = 100 };
	uint64_t owner = 0;

	for (int waits = 0; waits < ((owner & owner_forks) != 0 ? WAITS_FOR_FORK_MAX : WAITS_MAX); waits++) {
		owner = 0;
		/* acquire: pairs with release(); sees all that its last holder did */
		if (atomic_compare_exchange_strong_explicit(&lock_owner, &owner, self, memory_order_acquire,
							    memory_order_relaxed))
			return true;
		if (!is_worth_waiting(owner, self))
			return false;
		hm_brief_wait(&lock_owner, (uint32_t)owner,
			      &lock_waiters); /* the half with the thread in it */
	}
	/* relaxed: see is_worth_waiting.  The next fork of that thread is another story. */
	if ((owner & owner_forks) == 0)
		atomic_store_explicit(&lock_owner_given_up, owner, memory_order_relaxed);
	return false;
}

static void release(void)
{
	/* relaxed: a hint; if it was we who were given up on, we have come back */
	atomic_store_explicit(&lock_owner_given_up, 0, memory_order_relaxed);
	/* release: pairs with acquire() */
	atomic_store_explicit(&lock_owner, 0, memory_order_release);
	hm_brief_wake(&lock_owner, &lock_waiters);
}

bool hm_unwind_rules_lock(struct hm_signals_saved *ret_saved)
{
	const int saved_errno = errno;
	struct hm_signals_saved saved;

	hm_signals_block(&saved);

	const bool is_ours = acquire(owner_self());

	if (is_ours)
		*ret_saved = saved;
	else
		hm_signals_restore(&saved);
	errno = saved_errno;
	return is_ours;
}

void hm_unwind_rules_unlock(const struct hm_signals_saved *saved)
{
	const int saved_errno = errno;

	release();
	hm_signals_restore(saved);
	errno = saved_errno;
}

static uint32_t slot_count(const struct table *of)
{
	return UINT32_C(1) << of->slots_log2;
}

/* The golden ratio spreads neighbours; the high bits of the product depend on all of the pc. */
static uint32_t first_slot(const struct table *of, uint64_t pc)
{
	return (uint32_t)(pc * UINT64_C(0x9e3779b97f4a7c15) >> (64 - of->slots_log2));
}

static uint32_t next_slot(const struct table *of, uint32_t index)
{
	return (index + 1) & (slot_count(of) - 1);
}

static struct table *make_table(uint32_t slots_log2)
{
	struct table *const made = hm_memory_map(sizeof(*made) + (sizeof(struct slot) << slots_log2));

	if (made != NULL)
		made->slots_log2 = slots_log2;
	return made;
}

static struct slot *empty_slot(struct table *in, uint64_t pc)
{
	uint32_t index = first_slot(in, pc);

	/* relaxed, here and in the writer's other loads: only the writer changes slots */
	while (atomic_load_explicit(&in->slots[index].pc, memory_order_relaxed) != 0)
		index = next_slot(in, index);
	return &in->slots[index];
}

/* Where to put a rule: the slot that has this pc, else a forgotten one on the way to it, else the empty one.
 */
static struct slot *slot_for(struct table *in, uint64_t pc)
{
	struct slot *forgotten = NULL;

	for (uint32_t index = first_slot(in, pc);; index = next_slot(in, index)) {
		struct slot *const slot = &in->slots[index];
		const uint64_t slot_pc = atomic_load_explicit(&slot->pc, memory_order_relaxed);

		if (slot_pc == pc)
			return slot;
		if (slot_pc == 0)
			return forgotten != NULL ? forgotten : slot;
		if (forgotten == NULL && atomic_load_explicit(&slot->rule, memory_order_relaxed) == 0)
			forgotten = slot;
	}
}

static void put(struct slot *slot, uint64_t pc, union hm_rule rule)
{
	const uint64_t slot_pc = atomic_load_explicit(&slot->pc, memory_order_relaxed);

	if (slot_pc != 0 && slot_pc != pc)
		/* relaxed: ordered before the rule by [rule.replace] */
		atomic_store_explicit(&slot->pc, PC_TAKEN, memory_order_relaxed);
	/* release [rule.replace] */
	atomic_store_explicit(&slot->rule, rule.word, memory_order_release);
	/* release [rule.publish] */
	atomic_store_explicit(&slot->pc, pc, memory_order_release);
}

/* Past 5/8, linear probing looks at more than four slots for a miss, on average (Knuth 6.4). */
static bool is_full(const struct table *of)
{
	return of->used >= slot_count(of) / 8 * 5;
}

/* Replaces the table by a larger one, or leaves it where there is no larger one. */
static void publish_larger(void)
{
	struct table *const old = atomic_load_explicit(&table, memory_order_relaxed);

	if (old->slots_log2 >= SLOTS_LAST_LOG2)
		return;

	struct table *const larger = make_table(old->slots_log2 + SLOTS_GROWTH_LOG2);

	if (larger == NULL)
		return;
	for (uint32_t index = 0; index < slot_count(old); index++) {
		const uint64_t pc = atomic_load_explicit(&old->slots[index].pc, memory_order_relaxed);
		const uint64_t rule = atomic_load_explicit(&old->slots[index].rule, memory_order_relaxed);

		if (rule == 0)
			continue;
		put(empty_slot(larger, pc), pc, (union hm_rule){ .word = rule });
		larger->used++;
	}
	/* release [table.publish] */
	atomic_store_explicit(&table, larger, memory_order_release);
}

static void insert(uint64_t pc, union hm_rule rule)
{
	struct table *current = atomic_load_explicit(&table, memory_order_relaxed);

	if (current == NULL)
		return;
	if (is_full(current)) {
		publish_larger();
		current = atomic_load_explicit(&table, memory_order_relaxed);
	}

	struct slot *const slot = slot_for(current, pc);

	if (atomic_load_explicit(&slot->pc, memory_order_relaxed) == 0) {
		if (is_full(current))
			return; /* not kept: compiled again the next time */
		current->used++;
	}
	put(slot, pc, rule);
}

/* Under the lock, both. */
static uint32_t unload_count;  /* calls of dlclose that are under way */
static bool has_passing_rules; /* in objects that may be unloaded */
static uint64_t last_epoch = 1;

static _Atomic uint64_t epoch = 1; /* hm_unwind_rules_epoch */

uint64_t hm_unwind_rules_epoch(void)
{
	/* acquire [rules.epoch]: rules that were dropped before it are not found any more */
	return atomic_load_explicit(&epoch, memory_order_acquire);
}

/* After rules were dropped, or when it is known whether some will be. */
static void begin_epoch(void)
{
	/* release [rules.epoch] */
	atomic_store_explicit(&epoch, unload_count == 0 ? ++last_epoch : 0, memory_order_release);
}

static void forget(uintptr_t start, uintptr_t end)
{
	struct table *const current = atomic_load_explicit(&table, memory_order_relaxed);

	hm_unwinder_forget();
	if (current == NULL)
		return;
	for (uint32_t index = 0; index < slot_count(current); index++) {
		struct slot *const slot = &current->slots[index];
		const uint64_t pc = atomic_load_explicit(&slot->pc, memory_order_relaxed);

		if (pc >= start && pc < end)
			/* relaxed: whoever reads the old rule a moment longer is not in that object */
			atomic_store_explicit(&slot->rule, 0, memory_order_relaxed);
	}
	begin_epoch();
}

/* Returns HM_RULE_NONE where it is not in the table. */
static union hm_rule look_up(uintptr_t pc)
{
	static const union hm_rule none = { .kind = HM_RULE_NONE };
	/* acquire [table.publish] */
	const struct table *const current = atomic_load_explicit(&table, memory_order_acquire);

	if (HM_UNLIKELY(current == NULL))
		return none;
	for (uint32_t index = first_slot(current, pc);; index = next_slot(current, index)) {
		const struct slot *const slot = &current->slots[index];
		/* acquire [rule.publish] */
		const uint64_t slot_pc = atomic_load_explicit(&slot->pc, memory_order_acquire);

		if (HM_LIKELY(slot_pc == pc)) {
			union hm_rule rule;

			/* acquire [rule.replace] */
			rule.word = atomic_load_explicit(&slot->rule, memory_order_acquire);
			/* relaxed: compared only; the load above keeps it behind */
			if (HM_LIKELY(atomic_load_explicit(&slot->pc, memory_order_relaxed) == pc))
				return rule;
			return none;
		}
		if (slot_pc == 0)
			return none;
	}
}

static bool is_in_object(uintptr_t pc)
{
	struct dl_find_object object;

	return _dl_find_object((void *)pc, &object) == 0;
}

/* Code in no object was made at run time.  It comes and goes, so nothing is kept; the loader is quick to ask.
 */
static const union hm_rule rule_in_no_object = { .kind = HM_RULE_UNKNOWN };

union hm_rule hm_unwind_rule_find_locked(uintptr_t pc)
{
	union hm_rule rule = look_up(pc);

	if (rule.kind != HM_RULE_NONE)
		return rule;
	if (!is_in_object(pc))
		return rule_in_no_object;

	const struct hm_module_found found = hm_module_find(pc);

	if (found.stale_start != found.stale_end)
		forget(found.stale_start, found.stale_end);
	rule = hm_unwinder_compile(pc);
	rule.module_index = found.module_index & UINT16_MAX;
	if (unload_count == 0 || hm_module_is_permanent(found.module_index)) {
		insert(pc, rule);
		has_passing_rules = has_passing_rules || !hm_module_is_permanent(found.module_index);
	}
	return rule;
}

bool hm_unwind_rules_run(void (*function)(void *argument), void *argument)
{
	/* Of whoever holds the lock.  An expression takes 2 KiB of it. */
	static _Alignas(16) uint8_t stack[16 * 1024];
	struct hm_signals_saved saved;

	if (!hm_may(HM_MAY_COMPILE) || !hm_unwind_rules_lock(&saved))
		return false;
	/* While an object goes, another may come to its place. */
	if (unload_count != 0)
		hm_unwinder_forget();
	hm_own_stack_call_on(stack, sizeof(stack), function, argument);
	hm_unwind_rules_unlock(&saved);
	return true;
}

struct request {
	uintptr_t pc;
	union hm_rule rule;
};

static void answer(void *argument)
{
	struct request *const request = argument;

	request->rule = hm_unwind_rule_find_locked(request->pc);
}

/* What can be told without the call-frame information.  Little stack is needed, so this is done on the
 * caller's. */
static union hm_rule find_module_alone(uintptr_t pc)
{
	union hm_rule rule = { .kind = HM_RULE_NONE };
	struct hm_signals_saved saved;

	if (hm_unwind_rules_lock(&saved)) {
		rule.module_index = hm_module_find_known(pc) & UINT16_MAX;
		hm_unwind_rules_unlock(&saved);
	}
	return rule;
}

HM_COLD static union hm_rule compile(uintptr_t pc)
{
	struct request request = { .pc = pc, .rule = { .kind = HM_RULE_NONE } };

	if (!is_in_object(pc))
		return rule_in_no_object;
	if (!hm_may(HM_MAY_COMPILE))
		return find_module_alone(pc);
	(void)hm_unwind_rules_run(answer, &request);
	return request.rule;
}

union hm_rule hm_unwind_rule_find(uintptr_t pc)
{
	const union hm_rule rule = look_up(pc);

	return HM_LIKELY(rule.kind != HM_RULE_NONE) ? rule : compile(pc);
}

void hm_unwind_rules_init(void)
{
	struct table *const first = make_table(SLOTS_FIRST_LOG2);

	if (first == NULL)
		return;
	hm_memory_name(first, sizeof(*first) + (sizeof(struct slot) << SLOTS_FIRST_LOG2));
	/* release [table.publish] */
	atomic_store_explicit(&table, first, memory_order_release);
}

void hm_unwind_rules_attach(struct hm_ledger_file *ledger)
{
	struct hm_signals_saved saved;

	if (hm_unwind_rules_lock(&saved)) {
		hm_modules_attach(ledger);
		hm_unwind_rules_unlock(&saved);
	} else if (!owner_is_of_this_process(atomic_load_explicit(&lock_owner, memory_order_relaxed))) {
		/* Nobody will ever hold it again in this process, so nothing changes under our hands.
		 * relaxed: the holder was left behind in another process. */
		hm_modules_attach(ledger);
	}
}

/* Drops what was compiled in objects that may go. */
static void forget_passing(void)
{
	struct table *const current = atomic_load_explicit(&table, memory_order_relaxed);

	hm_modules_doubt();
	hm_unwinder_forget();
	if (current == NULL || !has_passing_rules)
		return;
	for (uint32_t index = 0; index < slot_count(current); index++) {
		struct slot *const slot = &current->slots[index];
		/* relaxed: only the writer changes slots */
		const union hm_rule rule = { .word = atomic_load_explicit(&slot->rule,
									  memory_order_relaxed) };

		if (rule.kind != HM_RULE_NONE && !hm_module_is_permanent(rule.module_index))
			/* relaxed: who is in an object that is loaded after this has seen it, by the loader's
			 * lock */
			atomic_store_explicit(&slot->rule, 0, memory_order_relaxed);
	}
	has_passing_rules = false;
}

void hm_unwind_rules_before_unload(void)
{
	struct hm_signals_saved saved;

	if (!hm_unwind_rules_lock(&saved))
		return;
	unload_count++;
	forget_passing();
	begin_epoch();
	hm_unwind_rules_unlock(&saved);
}

void hm_unwind_rules_after_unload(void)
{
	struct hm_signals_saved saved;

	if (!hm_unwind_rules_lock(&saved))
		return;
	if (unload_count > 0) /* it is 0 in a child that a destructor has forked */
		unload_count--;
	forget_passing();
	begin_epoch();
	hm_unwind_rules_unlock(&saved);
}

void hm_unwind_rules_before_fork(void)
{
	const int saved_errno = errno;

	(void)acquire(owner_self() | owner_forks);
	errno = saved_errno;
}

void hm_unwind_rules_after_fork_parent(void)
{
	const int saved_errno = errno;

	/* relaxed: only the thread that is the owner finds itself there */
	if (atomic_load_explicit(&lock_owner, memory_order_relaxed) == (owner_self() | owner_forks))
		release();
	errno = saved_errno;
}

void hm_unwind_rules_after_fork_child(void)
{
	/* Whoever in the parent holds it across a fork is not compiling, this thread's past or another.
	 * relaxed: this is the only thread. */
	if ((atomic_load_explicit(&lock_owner, memory_order_relaxed) & owner_forks) != 0)
		atomic_store_explicit(&lock_owner, 0, memory_order_relaxed);
	atomic_store_explicit(&lock_waiters, 0, memory_order_relaxed);
	unload_count = 0; /* of threads that stayed behind */
	begin_epoch();
}
