// SPDX-License-Identifier: Apache-2.0
#include "proto/ages.h"

#include "proto/snapshot.h"
#include "proto/sort.h"

#include <errno.h>
#include <string.h>

enum { SUMS_FIRST = 256 };

static const uint64_t ns_per_second = 1000000000;

const uint32_t hm_age_seconds[HM_AGE_COUNT] = { 0, 1, 10, 60, 600, 3600, 86400 };

uint32_t hm_age_of(uint64_t age_ns)
{
	uint32_t age = HM_AGE_COUNT - 1;

	while (age_ns / ns_per_second < hm_age_seconds[age])
		age--;
	return age;
}

void hm_ages_init(struct hm_ages *ages, struct hm_arena *arena)
{
	*ages = (struct hm_ages){ .arena = arena };
}

/* The slot of a stack and an age, or the empty one where they belong.  Half of all slots are empty. */
static uint32_t *find_slot(const struct hm_ages *ages, uint32_t unit, uint32_t age)
{
	const uint32_t mask = 2 * ages->capacity - 1;
	/* Multiplied by 2^64 / golden ratio, the high bits of the product depend on all of the key. */
	uint32_t slot = (uint32_t)(((uint64_t)unit << 3 | age) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;

	while (ages->slots[slot] != 0) {
		const struct hm_age_sum *const sum = &ages->sums[ages->slots[slot] - 1];

		if (sum->stack_index == unit && sum->age == age)
			break;
		slot = (slot + 1) & mask;
	}
	return &ages->slots[slot];
}

static bool grow(struct hm_ages *ages)
{
	const uint32_t capacity = ages->capacity == 0 ? SUMS_FIRST : 2 * ages->capacity;
	struct hm_age_sum *const sums = hm_arena_allocate_array(ages->arena, capacity, sizeof(*sums));
	uint32_t *const slots = hm_arena_allocate_array(ages->arena, 2 * (size_t)capacity, sizeof(*slots));

	if (sums == NULL || slots == NULL)
		return false;
	if (ages->count > 0)
		memcpy(sums, ages->sums, ages->count * sizeof(*sums));
	ages->sums = sums;
	ages->slots = slots;
	ages->capacity = capacity;
	for (uint32_t i = 0; i < ages->count; i++)
		*find_slot(ages, sums[i].stack_index, sums[i].age) = i + 1;
	return true;
}

static uint64_t add_saturated(uint64_t left, uint64_t right)
{
	uint64_t sum;

	return __builtin_add_overflow(left, right, &sum) ? UINT64_MAX : sum;
}

bool hm_ages_add(struct hm_ages *ages, uint32_t stack_unit, uint64_t size_bytes, float weight,
		 uint64_t age_ns)
{
	const uint32_t age = hm_age_of(age_ns);
	const double seconds = (double)age_ns / (double)ns_per_second;
	const double size = (double)size_bytes;
	const double w = weight;
	const double variance = size * size * w * (w - 1.0);

	if (ages->count == ages->capacity && !grow(ages))
		return false;

	uint32_t *const slot = find_slot(ages, stack_unit, age);

	if (*slot == 0) {
		ages->sums[ages->count] = (struct hm_age_sum){ .stack_index = stack_unit, .age = age };
		*slot = ++ages->count;
	}

	struct hm_age_sum *const sum = &ages->sums[*slot - 1];

	sum->objects_fixed = add_saturated(sum->objects_fixed, hm_sample_objects_fixed(weight));
	sum->bytes_fixed = add_saturated(sum->bytes_fixed, hm_sample_bytes_fixed(size_bytes, weight));
	sum->byte_seconds += size * w * seconds;
	sum->variance += variance;
	sum->variance_seconds += variance * seconds;
	sum->variance_seconds2 += variance * seconds * seconds;
	return true;
}

static int compare_sums(const void *left, const void *right, const void *context)
{
	const struct hm_age_sum *const l = left;
	const struct hm_age_sum *const r = right;

	(void)context;
	if (l->stack_index != r->stack_index)
		return l->stack_index < r->stack_index ? -1 : 1;
	return (l->age > r->age) - (l->age < r->age);
}

static void scale(struct hm_age_sum *sum, double factor)
{
	sum->byte_seconds *= factor;
	sum->variance *= factor;
	sum->variance_seconds *= factor;
	sum->variance_seconds2 *= factor;
}

static uint64_t take_away(uint64_t *amount, uint64_t most)
{
	const uint64_t taken = *amount < most ? *amount : most;

	*amount -= taken;
	return taken;
}

/* Cuts the sums of one stack down to what its counters have in use, the youngest first. */
static void trim(struct hm_age_sum *sums, uint32_t count, const struct hm_figures *inuse)
{
	uint64_t objects = 0;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		objects = add_saturated(objects, sums[i].objects_fixed);
		bytes = add_saturated(bytes, sums[i].bytes_fixed);
	}

	uint64_t objects_excess = objects > inuse->objects_fixed ? objects - inuse->objects_fixed : 0;
	uint64_t bytes_excess = bytes > inuse->bytes_fixed ? bytes - inuse->bytes_fixed : 0;

	for (uint32_t i = 0; i < count; i++) {
		const uint64_t bytes_before = sums[i].bytes_fixed;

		objects_excess -= take_away(&sums[i].objects_fixed, objects_excess);
		bytes_excess -= take_away(&sums[i].bytes_fixed, bytes_excess);
		if (sums[i].bytes_fixed != bytes_before)
			scale(&sums[i], (double)sums[i].bytes_fixed / (double)bytes_before);
	}
}

/* Units become indexes; both ascend, so the sums of a stack stay together. */
static uint32_t link_sums(const struct hm_age_sum *sums, uint32_t count, const struct hm_snapshot *snapshot,
			  struct hm_age_sum *ret_sums)
{
	uint32_t kept = 0;
	uint32_t stack_index = 0;

	for (uint32_t i = 0; i < count; i++) {
		while (stack_index < snapshot->stack_count &&
		       snapshot->stacks[stack_index].unit < sums[i].stack_index)
			stack_index++;
		if (stack_index == snapshot->stack_count ||
		    snapshot->stacks[stack_index].unit != sums[i].stack_index)
			continue;
		ret_sums[kept] = sums[i];
		ret_sums[kept++].stack_index = stack_index;
	}
	return kept;
}

int hm_ages_finish(struct hm_ages *ages, struct hm_snapshot *snapshot)
{
	struct hm_age_sum *const scratch =
		hm_arena_allocate_array(ages->arena, ages->count, sizeof(*scratch));
	struct hm_age_sum *const linked =
		hm_arena_allocate_array(&snapshot->arena, ages->count, sizeof(*linked));

	if (scratch == NULL || linked == NULL)
		return -ENOMEM;
	hm_sort(ages->sums, scratch, ages->count, sizeof(*scratch), compare_sums, NULL);

	const uint32_t count = link_sums(ages->sums, ages->count, snapshot, linked);
	uint32_t kept = 0;

	for (uint32_t first = 0, end = 0; first < count; first = end) {
		while (end < count && linked[end].stack_index == linked[first].stack_index)
			end++;
		trim(&linked[first], end - first, &snapshot->stacks[linked[first].stack_index].inuse);
	}
	for (uint32_t i = 0; i < count; i++)
		if ((linked[i].objects_fixed | linked[i].bytes_fixed) != 0)
			linked[kept++] = linked[i];
	snapshot->ages = linked;
	snapshot->age_count = kept;
	return 0;
}

const struct hm_age_sum *hm_ages_of_stack(const struct hm_snapshot *snapshot, uint32_t stack_index,
					  uint32_t *ret_count)
{
	uint32_t low = 0;
	uint32_t high = snapshot->age_count;
	uint32_t end;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (snapshot->ages[middle].stack_index < stack_index)
			low = middle + 1;
		else
			high = middle;
	}
	end = low;
	while (end < snapshot->age_count && snapshot->ages[end].stack_index == stack_index)
		end++;
	*ret_count = end - low;
	return end > low ? &snapshot->ages[low] : NULL;
}

static bool has_values(const struct hm_part *part)
{
	return (part->alloc_objects | part->alloc_bytes | part->inuse_objects | part->inuse_bytes) != 0;
}

uint32_t hm_ages_split(const struct hm_snapshot *snapshot, uint32_t stack_index,
		       struct hm_part ret_parts[HM_PARTS_MAX])
{
	const struct hm_snapshot_stack *const stack = &snapshot->stacks[stack_index];
	struct hm_part gone = {
		.age = HM_AGE_NONE,
		.alloc_objects = hm_objects_round(stack->alloc.objects_fixed),
		.alloc_bytes = hm_bytes_round(stack->alloc.bytes_fixed),
		.inuse_objects = hm_objects_round(stack->inuse.objects_fixed),
		.inuse_bytes = hm_bytes_round(stack->inuse.bytes_fixed),
	};
	uint64_t objects_fixed = 0;
	uint64_t bytes_fixed = 0;
	uint32_t sum_count = 0;
	const struct hm_age_sum *const sums = hm_ages_of_stack(snapshot, stack_index, &sum_count);
	uint32_t count = 1;

	for (uint32_t i = 0; i < sum_count; i++) {
		const int64_t objects_before = hm_objects_round(objects_fixed);
		const int64_t bytes_before = hm_bytes_round(bytes_fixed);
		struct hm_part *const part = &ret_parts[count];

		objects_fixed += sums[i].objects_fixed;
		bytes_fixed += sums[i].bytes_fixed;
		part->age = sums[i].age;
		part->inuse_objects = hm_objects_round(objects_fixed) - objects_before;
		part->inuse_bytes = hm_bytes_round(bytes_fixed) - bytes_before;
		part->alloc_objects = part->inuse_objects;
		part->alloc_bytes = part->inuse_bytes;
		gone.inuse_objects -= part->inuse_objects;
		gone.inuse_bytes -= part->inuse_bytes;
		gone.alloc_objects -= part->alloc_objects;
		gone.alloc_bytes -= part->alloc_bytes;
		count += has_values(part);
	}
	/* What a mapping has lost of its ends belongs to the object that is still there. */
	if (count > 1 && gone.alloc_objects == 0 && gone.inuse_objects == 0 && gone.inuse_bytes == 0) {
		ret_parts[1].alloc_bytes += gone.alloc_bytes;
		gone.alloc_bytes = 0;
	}
	ret_parts[0] = gone;
	if (has_values(&gone))
		return count;
	memmove(ret_parts, ret_parts + 1, (count - 1) * sizeof(*ret_parts));
	return count - 1;
}
