// SPDX-License-Identifier: Apache-2.0
#include "preload/sampler.h"

#include "preload/float.h"
#include "proto/ledger.h"

#include <string.h>

/*
 * How far a thread goes before it looks at the control word again: a sleeping one wakes within this, and one
 * that drew a long distance notices a shorter interval.
 */
static const int64_t CHECKPOINT_BYTES = HM_CHECKPOINT_BYTES;

void hm_sampler_seed(struct hm_sampler *sampler, uint64_t seed)
{
	sampler->random_state = seed;
	sampler->countdown_bytes = 0;
	sampler->interval_bytes = 0;
	sampler->is_point = false;
}

/* SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014). */
static uint64_t draw_bits(struct hm_sampler *sampler)
{
	uint64_t z = sampler->random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/*
 * An exponential distance, rounded down: points are hit by whole bytes, and n + 1 > floor(d) exactly when
 * n + 1 > d.  u is uniform in (0, 1] with 53 bits, so the longest distance is 53 ln 2 = 36.7 intervals.
 */
static int64_t draw_distance(struct hm_sampler *sampler, uint64_t interval_bytes)
{
	enum { UNIFORM_BITS = 53 };

	if (interval_bytes == 1)
		return 0;

	const double u = (double)((draw_bits(sampler) >> (64 - UNIFORM_BITS)) + 1) * 0x1p-53;

	return (int64_t)(-hm_float_ln(u) * (double)interval_bytes);
}

static void set_countdown(struct hm_sampler *sampler, int64_t distance_bytes)
{
	sampler->is_point = distance_bytes <= CHECKPOINT_BYTES;
	sampler->countdown_bytes = sampler->is_point ? distance_bytes : CHECKPOINT_BYTES;
}

/* A distance from here, by the interval that is now in force. */
static void begin_anew(struct hm_sampler *sampler, uint64_t interval_bytes)
{
	sampler->interval_bytes = interval_bytes;
	if (interval_bytes != 0) {
		set_countdown(sampler, draw_distance(sampler, interval_bytes));
	} else {
		sampler->is_point = false; /* asleep */
		sampler->countdown_bytes = CHECKPOINT_BYTES;
	}
}

static float weight_of(size_t size_bytes, uint64_t interval_bytes)
{
	if (interval_bytes == 1)
		return 1.0F;
	return (float)(1.0 / hm_float_one_minus_exp(((double)size_bytes + 1.0) / (double)interval_bytes));
}

/*
 * At a checkpoint: draws there, and looks at the bytes of the allocation that lie behind it.  True where a
 * point is among them; else the countdown is set.
 *
 * An allocation that began before the checkpoint belongs to the interval that was in force there, all of it:
 * half of it under another one would be neither's weight.  What a tool has changed applies to the next.
 */
static bool look_behind_checkpoint(struct hm_sampler *sampler, int64_t covered_bytes, uint64_t interval_bytes)
{
	const int64_t before_bytes = sampler->countdown_bytes + covered_bytes; /* as before the fast path */
	const int64_t behind_bytes = covered_bytes - before_bytes;

	if (before_bytes <= 0)
		sampler->interval_bytes = interval_bytes;
	if (sampler->interval_bytes == 0) {
		begin_anew(sampler, interval_bytes);
		return false;
	}

	const int64_t distance_bytes = draw_distance(sampler, sampler->interval_bytes);

	if (behind_bytes > distance_bytes)
		return true;
	if (sampler->interval_bytes == interval_bytes)
		set_countdown(sampler, distance_bytes - behind_bytes);
	else
		begin_anew(sampler, interval_bytes);
	return false;
}

static bool decide(struct hm_sampler *sampler, size_t size_bytes, uint64_t interval_bytes, float *ret_weight)
{
	if (!sampler->is_point &&
	    !look_behind_checkpoint(sampler, hm_sampler_covered_bytes(size_bytes), interval_bytes))
		return false;
	*ret_weight = weight_of(size_bytes, sampler->interval_bytes);

	/* What this allocation has left behind its first point does not matter: the next draw starts after
	 * it. */
	begin_anew(sampler, interval_bytes);
	return true;
}

/* Every allocation, as before: nothing to be drawn, and no use for the floating-point unit. */
static bool is_exact(const struct hm_sampler *sampler, uint64_t interval_bytes)
{
	return interval_bytes == 1 && sampler->interval_bytes == 1 && sampler->is_point;
}

bool hm_sampler_decide(struct hm_sampler *sampler, size_t size_bytes, uint64_t interval_bytes,
		       float *ret_weight)
{
	if (is_exact(sampler, interval_bytes)) {
		static const float one = 1.0F;

		memcpy(ret_weight, &one, sizeof(one));
		set_countdown(sampler, 0);
		return true;
	}

	const uint32_t saved = hm_float_enter();
	const bool sampled = decide(sampler, size_bytes, interval_bytes, ret_weight);

	hm_float_leave(saved);
	return sampled;
}

float hm_sampler_weight(size_t size_bytes, uint64_t interval_bytes)
{
	const uint32_t saved = hm_float_enter();
	const float weight = weight_of(size_bytes, interval_bytes);

	hm_float_leave(saved);
	return weight;
}
