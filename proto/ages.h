// SPDX-License-Identifier: Apache-2.0
/*
 * How old what is live is: the live samples of a ledger, added up by stack and by a handful of ages; and the
 * figures of a stack taken apart by them, as a profile shows them.
 *
 * A sum for each stack and age, not a list of samples: a program that ends with ten million live objects may
 * have a thousand stacks, and the exit writer's memory goes with the stacks.
 *
 *
 * How a stack is taken apart
 * --------------------------
 * Every object that was ever allocated under it belongs to one part:
 *
 *	gone               no label; all that was freed
 *	live, of age a     label a: seconds, the lower bound of the age: 0, 1, 10, 60, 600, 3600, 86400
 *
 * so alloc_* of a live part equals its inuse_*, the parts of all four values add up to those of the stack to
 * the unit (they are differences of rounded running sums), and in each part inuse <= alloc.
 *
 * The counters of the stack rule.  A sample that was freed between the copy of the live table and that of the
 * counters is still among the ages: what is too much is taken from the youngest.  One that came in between is
 * not among them yet: it is in use without a label.
 */
#ifndef HM_PROTO_AGES_H
#define HM_PROTO_AGES_H

#include "proto/arena.h"

#include <stdbool.h>
#include <stdint.h>

struct hm_snapshot;

enum {
	HM_AGE_COUNT = 7,
	HM_AGE_NONE = HM_AGE_COUNT, /* of a part: not live, or of unknown age */
	HM_PARTS_MAX = HM_AGE_COUNT + 1,
};

/* How profiles name it: a number with a unit. */
#define HM_AGE_LABEL "age"
#define HM_AGE_UNIT  "seconds"

/* Lower bounds, ascending from 0. */
extern const uint32_t hm_age_seconds[HM_AGE_COUNT];

/* Which of the ages it is. */
uint32_t hm_age_of(uint64_t age_ns);

/* Live samples of one stack and one age. */
struct hm_age_sum {
	uint32_t stack_index;
	uint32_t age;           /* index into hm_age_seconds */
	uint64_t objects_fixed; /* as the stack's counters; not both zero */
	uint64_t bytes_fixed;
	double byte_seconds; /* each byte's age */
	/*
	 * The variance of the bytes; and the same sum with the age, and its square, as a further factor: what
	 * the variance of a mean age is made of (docs/accuracy.md).
	 */
	double variance;
	double variance_seconds;
	double variance_seconds2;
};

/* The sums while the live table is being read, when only the units of stacks are known. */
struct hm_ages {
	struct hm_arena *arena;  /* borrowed: temporary */
	struct hm_age_sum *sums; /* stack_index is a unit, for now */
	uint32_t *slots;         /* hash table: index + 1; 0: empty; twice `capacity` */
	uint32_t count;
	uint32_t capacity;
};

void hm_ages_init(struct hm_ages *ages, struct hm_arena *arena);

/* Adds a live sample.  False where there is no memory. */
bool hm_ages_add(struct hm_ages *ages, uint32_t stack_unit, uint64_t size_bytes, float weight,
		 uint64_t age_ns);

/*
 * Gives the snapshot, whose stacks are complete, its sums, in its own arena.  Those of unknown stacks are
 * left out.  Returns 0 or -ENOMEM.
 */
int hm_ages_finish(struct hm_ages *ages, struct hm_snapshot *snapshot);

/* The sums of one stack, by ascending age; NULL where there are none. */
const struct hm_age_sum *hm_ages_of_stack(const struct hm_snapshot *snapshot, uint32_t stack_index,
					  uint32_t *ret_count);

/* A stack's part, in whole numbers. */
struct hm_part {
	uint32_t age; /* HM_AGE_NONE first, then ascending */
	int64_t alloc_objects;
	int64_t alloc_bytes;
	int64_t inuse_objects;
	int64_t inuse_bytes;
};

/* Takes a stack apart; returns how many parts have any value other than zero. */
uint32_t hm_ages_split(const struct hm_snapshot *snapshot, uint32_t stack_index,
		       struct hm_part ret_parts[HM_PARTS_MAX]);

#endif
