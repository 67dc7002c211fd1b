// SPDX-License-Identifier: Apache-2.0
#include "proto/snapshot.h"

#include "proto/snapshot_stacks.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum {
	WINDOW_BYTES = 64 << 10,
	PAGE_BYTES = 4096,
	COMMAND_BYTES_MAX = WINDOW_BYTES, /* has to be copied in one piece */
	NS_PER_TICK = 1000000000 / HM_TICKS_PER_SECOND,
	/* A slot that keeps changing is looked at again so often, and so many slots in all. */
	SLOT_TRIES = 8,
	RETRIES_MAX = 4096,
};
static_assert((int64_t)NS_PER_TICK * HM_TICKS_PER_SECOND == 1000000000, "ticks are whole nanoseconds");

struct reading {
	struct hm_snapshot *snapshot;    /* borrowed */
	struct hm_window window;         /* over all tables but the second copy of a slot */
	struct hm_window recheck;        /* that second copy */
	struct hm_ledger_header *header; /* in a temporary arena: the last copy */
	struct hm_arena temporary;
	uint64_t
		text_budget_bytes; /* strings of a proper ledger do not overlap: together no longer than it */
	uint64_t reference_ticks;  /* from start_ticks to the moment the figures belong to */
	uint32_t retries;
	bool wants_live; /* the options of that name */
	bool wants_ages;
	struct hm_ages ages; /* in the temporary arena */
};

const char *hm_snapshot_fault_text(enum hm_snapshot_fault fault)
{
	switch (fault) {
	case HM_SNAPSHOT_UNREADABLE:
		return "cannot be read";
	case HM_SNAPSHOT_NOT_A_LEDGER:
		return "not a ledger: it does not begin with \"" HM_LEDGER_MAGIC "\"";
	case HM_SNAPSHOT_TOO_SHORT:
		return "not a whole ledger: it ends before the tables begin";
	case HM_SNAPSHOT_BYTE_ORDER:
		return "written on a machine with another byte order; read it there";
	case HM_SNAPSHOT_VERSION:
		return "written by another version of heapmark; read it with the heapmark that the program "
		       "ran with";
	case HM_SNAPSHOT_NOT_READY:
		return "nothing in it yet: the process has only just made it, or ended while doing so";
	case HM_SNAPSHOT_NO_MEMORY:
		return "not enough memory to read it";
	}
	return "cannot be read";
}

static const struct {
	const char *word;
	const char *text;
} losses[HM_LOSS_KINDS] = {
	[HM_LOSS_STACKS] = { "stacks", "samples without room for their stack; they are under [overflow]" },
	[HM_LOSS_LIVE] = { "live",
			   "samples without room among the live ones; they are under [dropped], as freed" },
	[HM_LOSS_TRUNCATED] = { "truncated",
				"samples whose outermost callers could not be found; see [truncated]" },
	[HM_LOSS_CUT] = { "cut", "samples with a stack deeper than the frames kept; see [cut]" },
	[HM_LOSS_MISSED_FREE] = { "missed_free",
				  "sampled blocks whose free was not seen until the address came again" },
	[HM_LOSS_MODULES] = { "modules", "frames whose file had no room in the table of modules; they are "
					 "under [anon]" },
	[HM_LOSS_GROWTH] = { "growth", "times the ledger could not grow (disk full, or a limit)" },
	[HM_LOSS_GAUGES] = { "gauges", "values of gauges that were not kept" },
	[HM_LOSS_MAPPINGS] = { "mappings",
			       "mappings, or parts of them, without room in the table of mappings" },
};

const char *hm_loss_text(enum hm_loss kind)
{
	return losses[kind].text;
}

const char *hm_loss_word(enum hm_loss kind)
{
	return losses[kind].word;
}

static int copy_header(struct reading *reading)
{
	hm_window_forget(&reading->window);
	const void *const copy = hm_window_view(&reading->window, 0, sizeof(*reading->header), 0);

	if (copy != NULL)
		memcpy(reading->header, copy, sizeof(*reading->header));
	if (reading->window.error != 0)
		return reading->window.error;
	return copy != NULL ? 0 : -EBADMSG;
}

static bool is_all_zero(const void *data, size_t size_bytes)
{
	const uint8_t *const bytes = data;

	/* The first is zero, and each equals the one before it. */
	return size_bytes == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size_bytes - 1) == 0);
}

/* Whether this is a ledger that can be read.  The state is seen before anything else is believed
 * [header.ready]. */
static int check_header(struct reading *reading, enum hm_snapshot_fault *ret_fault)
{
	const struct hm_ledger_header *const header = reading->header;
	const uint64_t length_bytes = reading->window.source->length_bytes;

	*ret_fault = HM_SNAPSHOT_NOT_A_LEDGER;
	if (length_bytes < sizeof(*header)) {
		const void *copy = hm_window_view(&reading->window, 0, length_bytes, 0);

		/* It grows by zeros, and its writer may be killed in the middle of the first ones. */
		if (copy != NULL && is_all_zero(copy, length_bytes)) {
			*ret_fault = HM_SNAPSHOT_NOT_READY;
			return -EAGAIN;
		}
		copy = hm_window_view(&reading->window, 0, sizeof(header->magic), 0);
		if (copy != NULL && memcmp(copy, HM_LEDGER_MAGIC, sizeof(header->magic)) == 0)
			*ret_fault = HM_SNAPSHOT_TOO_SHORT;
		return -EBADMSG;
	}
	const int error = copy_header(reading);
	if (error != 0) {
		*ret_fault = HM_SNAPSHOT_UNREADABLE;
		return error;
	}
	if (is_all_zero(header, sizeof(*header))) {
		*ret_fault = HM_SNAPSHOT_NOT_READY;
		return -EAGAIN;
	}
	if (memcmp(header->magic, HM_LEDGER_MAGIC, sizeof(header->magic)) != 0)
		return -EBADMSG;
	if (header->version == 0 || header->byte_order == 0) { /* they are written next */
		*ret_fault = HM_SNAPSHOT_NOT_READY;
		return -EAGAIN;
	}
	if (header->byte_order == __builtin_bswap32(HM_LEDGER_BYTE_ORDER)) {
		*ret_fault = HM_SNAPSHOT_BYTE_ORDER;
		return -EPROTO;
	}
	if (header->version != HM_LEDGER_VERSION || header->byte_order != HM_LEDGER_BYTE_ORDER) {
		*ret_fault = HM_SNAPSHOT_VERSION;
		return -EPROTO;
	}
	if (length_bytes < HM_LEDGER_ARENA_OFFSET) {
		*ret_fault = HM_SNAPSHOT_TOO_SHORT;
		return -EBADMSG;
	}
	/* relaxed, as every load from the header here: it is a copy of our own */
	const uint32_t state = atomic_load_explicit(&header->state, memory_order_relaxed);
	if (state != HM_LEDGER_RECORDING && state != HM_LEDGER_FINISHED) {
		*ret_fault = HM_SNAPSHOT_NOT_READY;
		return -EAGAIN;
	}
	/* Final only if it was so before the tables were copied. */
	reading->snapshot->finished = state == HM_LEDGER_FINISHED;
	return 0;
}

/* Text at a unit: any bytes up to the first NUL.  Empty where there is none, or it is too long. */
static const char *copy_string(struct reading *reading, uint32_t unit, size_t length_max)
{
	const uint64_t offset = (uint64_t)unit * HM_UNIT;
	uint32_t length_bytes;

	if (unit == 0)
		return "";
	const void *copy = offset < HM_LEDGER_ARENA_OFFSET
				   ? NULL
				   : hm_window_view(&reading->window, offset, sizeof(length_bytes), 512);
	if (copy == NULL) {
		reading->snapshot->skipped.strings++;
		return "";
	}
	memcpy(&length_bytes, copy, sizeof(length_bytes));
	copy = length_bytes > length_max || length_bytes > reading->text_budget_bytes
		       ? NULL
		       : hm_window_view(&reading->window, offset + sizeof(length_bytes), length_bytes, 0);
	if (copy == NULL) {
		reading->snapshot->skipped.strings++;
		return "";
	}
	reading->text_budget_bytes -= length_bytes;
	return hm_arena_copy_text(&reading->snapshot->arena, copy, strnlen(copy, length_bytes));
}

static void read_unrecorded(struct hm_snapshot *snapshot, const struct hm_ledger_header *header)
{
	const uint64_t asleep_bytes =
		atomic_load_explicit(&header->control_asleep_bytes, memory_order_relaxed);

	snapshot->slept = atomic_load_explicit(&header->intervals.slept, memory_order_relaxed) != 0;
	snapshot->woken_realtime_ns = atomic_load_explicit(&header->control_woken_ns, memory_order_relaxed);
	snapshot->inherited_bytes = header->inherited_bytes;
	if (snapshot->interval_bytes == 0 || (snapshot->slept && asleep_bytes == 0))
		snapshot->asleep_bytes = UINT64_MAX;
	else
		snapshot->asleep_bytes = snapshot->slept ? asleep_bytes : 0;
}

static int read_identity(struct reading *reading, const struct hm_snapshot_options *options)
{
	struct hm_snapshot *const snapshot = reading->snapshot;
	const struct hm_ledger_header *const header = reading->header;
	const uint64_t end_ns = atomic_load_explicit(&header->end_realtime_ns, memory_order_relaxed);
	uint64_t ticks = options->monotonic_ticks;

	snapshot->pid = header->pid;
	memcpy(snapshot->comm, header->comm, sizeof(snapshot->comm) - 1);
	snapshot->process_start_ticks = header->process_start_ticks;
	snapshot->start_realtime_ns = header->start_realtime_ns;
	snapshot->start_boottime_ns = header->start_boottime_ns;
	snapshot->run_id = header->run_id;
	snapshot->frames_kept_max = header->frames_kept_max;
	snapshot->ledger_bytes = reading->window.source->length_bytes;
	snapshot->cut_off =
		snapshot->ledger_bytes < atomic_load_explicit(&header->granted_bytes, memory_order_relaxed);
	snapshot->supervised = atomic_load_explicit(&header->control_supervised, memory_order_relaxed) == 1;
	snapshot->interval_bytes =
		atomic_load_explicit(&header->control_interval_bytes, memory_order_relaxed);
	snapshot->longest_interval_bytes =
		atomic_load_explicit(&header->intervals.longest_bytes, memory_order_relaxed);
	if (snapshot->longest_interval_bytes < snapshot->interval_bytes)
		snapshot->longest_interval_bytes = snapshot->interval_bytes; /* not noticed yet */
	read_unrecorded(snapshot, header);

	snapshot->realtime_ns = options->realtime_ns;
	if (snapshot->finished && end_ns != 0) {
		snapshot->realtime_ns = end_ns;
		ticks = 0;
	}
	if (snapshot->realtime_ns < header->start_realtime_ns)
		snapshot->realtime_ns = header->start_realtime_ns; /* not known, or the clock was set back */
	snapshot->peak_realtime_ns = atomic_load_explicit(&header->peak_realtime_ns, memory_order_relaxed);
	if (snapshot->peak_realtime_ns != 0 && snapshot->peak_realtime_ns < header->start_realtime_ns)
		snapshot->peak_realtime_ns = header->start_realtime_ns; /* by a coarser clock, or set back */
	reading->reference_ticks =
		ticks >= header->start_ticks && ticks != 0
			? ticks - header->start_ticks
			: (snapshot->realtime_ns - header->start_realtime_ns) / NS_PER_TICK;

	snapshot->executable = copy_string(reading, header->executable_unit, PATH_MAX);
	snapshot->command = copy_string(reading, header->command_unit, COMMAND_BYTES_MAX);
	if (reading->window.error != 0)
		return reading->window.error;
	return snapshot->executable != NULL && snapshot->command != NULL ? 0 : -ENOMEM;
}

/*
 * How many whole entries of a segment lie in the file: 0 where the segment is not there or its place makes no
 * sense.
 */
static uint64_t segment_entries(struct reading *reading, uint64_t offset, uint64_t count, size_t entry_bytes)
{
	const uint64_t length_bytes = reading->window.source->length_bytes;

	if (offset == 0)
		return 0;
	if (offset < HM_LEDGER_ARENA_OFFSET || offset % HM_UNIT != 0) {
		reading->snapshot->skipped.references++;
		return 0;
	}
	const uint64_t there = offset < length_bytes ? (length_bytes - offset) / entry_bytes : 0;
	if (there < count)
		reading->snapshot->skipped.late++;
	return there < count ? there : count;
}

static uint64_t live_segment_offset(const struct reading *reading, uint32_t index)
{
	return atomic_load_explicit(&reading->header->live_segments[index].offset, memory_order_relaxed);
}

/* Two copies made one after the other; the second counts, if it is equal to the first. */
static bool is_settled(const struct hm_ledger_live_bucket *first, const struct hm_ledger_live_bucket *second,
		       uint32_t slot)
{
	const struct hm_ledger_live_value *const value = &second->values[slot];

	return atomic_load_explicit(&first->addresses[slot], memory_order_relaxed) ==
		       atomic_load_explicit(&second->addresses[slot], memory_order_relaxed) &&
	       memcmp(&first->values[slot], value, sizeof(*value)) == 0 &&
	       atomic_load_explicit(&value->generation, memory_order_relaxed) % 2 == 0;
}

static bool copy_bucket(const struct hm_source *source, uint64_t offset,
			struct hm_ledger_live_bucket *ret_bucket)
{
	const bool whole =
		source->read(source, offset, ret_bucket, sizeof(*ret_bucket)) == (int64_t)sizeof(*ret_bucket);

	/* acquire: as in hm_window_forget, the next copy is made after this one */
	atomic_thread_fence(memory_order_acquire);
	return whole;
}

/* A slot's bucket anew, until two copies agree on the slot.  False where they never do. */
static bool copy_restless(struct reading *reading, uint64_t offset, uint32_t slot,
			  struct hm_ledger_live_bucket *ret_bucket)
{
	const struct hm_source *const source = reading->window.source;
	struct hm_ledger_live_bucket first;

	for (uint32_t i = 0; i < SLOT_TRIES && reading->retries < RETRIES_MAX; i++) {
		reading->retries++;
		if (!copy_bucket(source, offset, &first) || !copy_bucket(source, offset, ret_bucket))
			return false;
		if (is_settled(&first, ret_bucket, slot))
			return true;
	}
	return false;
}

/* Returns 0 or -ENOMEM. */
static int add_live(struct reading *reading, const struct hm_ledger_live_bucket *bucket, uint32_t slot)
{
	struct hm_snapshot *const snapshot = reading->snapshot;
	const struct hm_ledger_live_value *const value = &bucket->values[slot];
	const uint64_t address = atomic_load_explicit(&bucket->addresses[slot], memory_order_relaxed);
	const uint32_t weight_bits = atomic_load_explicit(&value->weight, memory_order_relaxed);
	const uint32_t birth = atomic_load_explicit(&value->birth_and_era, memory_order_relaxed);
	const uint64_t birth_ticks = hm_live_birth_ticks(birth);
	const uint64_t age_ticks =
		reading->reference_ticks > birth_ticks ? reading->reference_ticks - birth_ticks : 0;
	float weight;

	if (address == 0)
		return 0;
	memcpy(&weight, &weight_bits, sizeof(weight));
	if (weight_bits >= 0x7f800000 || weight < 1.0f) { /* on the bits first: see variance_of */
		snapshot->skipped.live++;
		return 0;
	}

	const struct hm_snapshot_live live = {
		.address = address & ~(HM_LIVE_REPORTED | HM_LIVE_MAPPED),
		.size_bytes = atomic_load_explicit(&value->size_bytes, memory_order_relaxed),
		.age_ns = age_ticks > UINT64_MAX / NS_PER_TICK ? UINT64_MAX : age_ticks * NS_PER_TICK,
		.stack_index = atomic_load_explicit(&value->stack_unit,
						    memory_order_relaxed), /* its unit, for now */
		.weight = weight,
		.reported = (address & HM_LIVE_REPORTED) != 0,
		.mapped = (address & HM_LIVE_MAPPED) != 0,
	};

	if (reading->wants_live)
		snapshot->live[snapshot->live_count++] = live;
	if (reading->wants_ages &&
	    !hm_ages_add(&reading->ages, live.stack_index, live.size_bytes, live.weight, live.age_ns))
		return -ENOMEM;
	return 0;
}

static int read_bucket(struct reading *reading, uint64_t offset, const struct hm_ledger_live_bucket *first,
		       const struct hm_ledger_live_bucket *second)
{
	int error = 0;

	for (uint32_t slot = 0; slot < HM_LIVE_BUCKET_SLOTS && error == 0; slot++) {
		struct hm_ledger_live_bucket anew;

		if (is_settled(first, second, slot))
			error = add_live(reading, second, slot);
		else if (copy_restless(reading, offset, slot, &anew))
			error = add_live(reading, &anew, slot);
		else
			reading->snapshot->skipped.live++;
	}
	return error;
}

static int read_live_buckets(struct reading *reading, uint64_t offset, uint64_t bucket_count)
{
	/* Most are empty: a larger piece saves few system calls, and takes pages. */
	enum { BUCKETS_AT_ONCE = WINDOW_BYTES / 4 / sizeof(struct hm_ledger_live_bucket) };

	for (uint64_t done = 0; done < bucket_count;) {
		const uint64_t rest = bucket_count - done;
		const size_t count = rest < BUCKETS_AT_ONCE ? (size_t)rest : BUCKETS_AT_ONCE;
		const size_t bytes = count * sizeof(struct hm_ledger_live_bucket);
		const uint64_t at = offset + done * sizeof(struct hm_ledger_live_bucket);

		hm_window_forget(&reading->window);
		const struct hm_ledger_live_bucket *const first =
			hm_window_view(&reading->window, at, bytes, 0);
		hm_window_forget(&reading->recheck);
		const struct hm_ledger_live_bucket *const second =
			hm_window_view(&reading->recheck, at, bytes, 0);
		if (first == NULL || second == NULL) {
			reading->snapshot->skipped.late++; /* cut meanwhile */
			break;
		}
		for (size_t i = 0; i < count; i++) {
			const int error =
				read_bucket(reading, at + i * sizeof(*first), &first[i], &second[i]);

			if (error != 0)
				return error;
		}
		done += count;
	}
	return reading->window.error != 0 ? reading->window.error : reading->recheck.error;
}

static int read_live(struct reading *reading)
{
	struct hm_snapshot *const snapshot = reading->snapshot;
	uint64_t counts[HM_SEGMENTS_MAX];
	uint64_t count_all = 0;
	/* Segments of a proper ledger do not overlap: together no longer than it. */
	const uint64_t count_max = snapshot->ledger_bytes / sizeof(struct hm_ledger_live_bucket);

	for (uint32_t i = 0; i < HM_SEGMENTS_MAX; i++) {
		counts[i] = segment_entries(reading, live_segment_offset(reading, i),
					    hm_live_segment_buckets(i), sizeof(struct hm_ledger_live_bucket));
		if (counts[i] > count_max - count_all) {
			snapshot->skipped.references++;
			counts[i] = count_max - count_all;
		}
		count_all += counts[i];
	}
	if (reading->wants_live) {
		snapshot->live = hm_arena_allocate_array(&snapshot->arena, count_all * HM_LIVE_BUCKET_SLOTS,
							 sizeof(*snapshot->live));
		if (snapshot->live == NULL)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < HM_SEGMENTS_MAX; i++) {
		const int error = read_live_buckets(reading, live_segment_offset(reading, i), counts[i]);

		if (error != 0)
			return error;
	}
	return 0;
}

/* Index of the stack at a unit, or stack_count. */
static uint32_t find_stack(const struct hm_snapshot *snapshot, uint32_t unit)
{
	uint32_t low = 0;
	uint32_t high = snapshot->stack_count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (snapshot->stacks[middle].unit < unit)
			low = middle + 1;
		else
			high = middle;
	}
	return low < snapshot->stack_count && snapshot->stacks[low].unit == unit ? low
										 : snapshot->stack_count;
}

/* Units of stacks become indexes; a sample of a stack that was not found is left out. */
static void link_live(struct hm_snapshot *snapshot)
{
	uint64_t kept = 0;

	for (uint64_t i = 0; i < snapshot->live_count; i++) {
		const uint32_t stack_index = find_stack(snapshot, snapshot->live[i].stack_index);

		if (stack_index == snapshot->stack_count) {
			snapshot->skipped.live++;
			continue;
		}
		snapshot->live[kept] = snapshot->live[i];
		snapshot->live[kept++].stack_index = stack_index;
	}
	snapshot->live_count = kept;
}

static bool is_module_sane(const struct hm_ledger_module *module)
{
	const uint64_t address_end = UINT64_C(1) << HM_FRAME_ADDRESS_BITS;
	const bool aligned = module->start_address % PAGE_BYTES == 0 &&
			     module->end_address % PAGE_BYTES == 0 && module->file_offset % PAGE_BYTES == 0;

	return aligned && module->start_address != 0 && module->start_address < module->end_address &&
	       module->end_address <= address_end && module->build_id_size <= HM_BUILD_ID_MAX;
}

/* `first` tells whether it is published, `second`, copied later, what it is. [module.publish] */
static int copy_module(struct reading *reading, const struct hm_ledger_module *first,
		       const struct hm_ledger_module *second, struct hm_snapshot_module *ret_module)
{
	enum { PUBLISHED = 2 };

	if (atomic_load_explicit(&first->state, memory_order_relaxed) != PUBLISHED ||
	    !is_module_sane(second)) {
		reading->snapshot->skipped.modules++;
		ret_module->path = "";
		return 0;
	}
	*ret_module = (struct hm_snapshot_module){
		.flags = second->flags,
		.build_id_size = second->build_id_size,
		.start_address = second->start_address,
		.end_address = second->end_address,
		.file_offset = second->file_offset,
		.load_bias = second->load_bias,
		.path = copy_string(reading, second->path_unit, PATH_MAX),
	};
	memcpy(ret_module->build_id, second->build_id, second->build_id_size);
	return ret_module->path != NULL ? 0 : -ENOMEM;
}

static int read_module_segment(struct reading *reading, uint64_t offset, uint32_t count)
{
	struct hm_snapshot *const snapshot = reading->snapshot;
	/* Paths are read through the window meanwhile: both copies of a piece are kept outside of it. */
	enum { MODULES_AT_ONCE = 32 };
	struct hm_ledger_module *const copies =
		hm_arena_allocate_array(&reading->temporary, 2 * MODULES_AT_ONCE, sizeof(*copies));

	if (copies == NULL)
		return -ENOMEM;
	for (uint32_t done = 0; done < count;) {
		const uint32_t piece = count - done < MODULES_AT_ONCE ? count - done : MODULES_AT_ONCE;

		for (uint32_t k = 0; k < 2; k++) {
			hm_window_forget(&reading->window);
			const void *const copy =
				hm_window_view(&reading->window, offset + done * sizeof(*copies),
					       piece * sizeof(*copies), 0);
			if (copy == NULL)
				break; /* cut meanwhile: the states stay zero */
			memcpy(copies + k * MODULES_AT_ONCE, copy, piece * sizeof(*copies));
		}
		hm_window_forget(&reading->window);
		for (uint32_t i = 0; i < piece; i++) {
			const int error = copy_module(reading, &copies[i], &copies[MODULES_AT_ONCE + i],
						      &snapshot->modules[snapshot->module_count++]);
			if (error != 0)
				return error;
		}
		if (reading->window.error != 0)
			return reading->window.error;
		memset(copies, 0, 2 * MODULES_AT_ONCE * sizeof(*copies));
		done += piece;
	}
	return 0;
}

/* Module i is entry i - 1 of the segments taken together. */
static int read_modules(struct reading *reading)
{
	struct hm_snapshot *const snapshot = reading->snapshot;
	uint32_t wanted = atomic_load_explicit(&reading->header->module_count, memory_order_relaxed);
	uint64_t count_all = 0;
	uint64_t counts[HM_SEGMENTS_MAX];

	if (wanted > HM_MODULES_MAX) {
		snapshot->skipped.references++;
		wanted = HM_MODULES_MAX;
	}
	for (uint32_t i = 0; i < HM_SEGMENTS_MAX; i++) {
		const uint64_t size = hm_module_segment_count(i);
		const uint64_t rest = wanted > count_all ? wanted - count_all : 0;
		const uint64_t offset = atomic_load_explicit(&reading->header->module_segments[i].offset,
							     memory_order_relaxed);

		counts[i] = rest == 0 ? 0
				      : segment_entries(reading, offset, rest < size ? rest : size,
							sizeof(struct hm_ledger_module));
		count_all += counts[i];
		if (counts[i] < size)
			wanted = (uint32_t)count_all; /* the numbers of what follows a gap would be wrong */
	}
	snapshot->modules = hm_arena_allocate_array(&snapshot->arena, count_all, sizeof(*snapshot->modules));
	if (snapshot->modules == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < HM_SEGMENTS_MAX && counts[i] != 0; i++) {
		const uint64_t offset = atomic_load_explicit(&reading->header->module_segments[i].offset,
							     memory_order_relaxed);
		const int error = read_module_segment(reading, offset, (uint32_t)counts[i]);

		if (error != 0)
			return error;
	}
	return 0;
}

static void read_own_ranges(struct reading *reading)
{
	struct hm_snapshot *const snapshot = reading->snapshot;
	const struct hm_ledger_header *const header = reading->header;

	for (size_t i = 0; i < HM_OWN_RANGES_MAX; i++) {
		const struct hm_snapshot_range range = {
			.start_address = atomic_load_explicit(&header->own_ranges[i].start_address,
							      memory_order_relaxed),
			.size_bytes =
				atomic_load_explicit(&header->own_ranges[i].size_bytes, memory_order_relaxed),
		};

		if (range.start_address != 0 && range.size_bytes != 0 &&
		    range.size_bytes <= UINT64_MAX - range.start_address)
			snapshot->own_ranges[snapshot->own_range_count++] = range;
	}
	snapshot->own_untold_bytes = atomic_load_explicit(&header->own_untold_bytes, memory_order_relaxed);
}

/* Names of the gauges that were published in an earlier copy are whole in this one. [gauge.publish] */
static int read_gauges(struct reading *reading)
{
	enum { PUBLISHED = 2 };
	struct hm_snapshot *const snapshot = reading->snapshot;
	bool published[HM_GAUGES_MAX];

	for (uint32_t i = 0; i < HM_GAUGES_MAX; i++)
		published[i] = atomic_load_explicit(&reading->header->gauges[i].state,
						    memory_order_relaxed) == PUBLISHED;
	const int error = copy_header(reading);
	if (error != 0)
		return error;
	snapshot->gauges =
		hm_arena_allocate_array(&snapshot->arena, HM_GAUGES_MAX, sizeof(*snapshot->gauges));
	if (snapshot->gauges == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < HM_GAUGES_MAX; i++) {
		const struct hm_ledger_gauge *const gauge = &reading->header->gauges[i];
		const uint64_t bits = atomic_load_explicit(&gauge->value, memory_order_relaxed);

		if (!published[i] || gauge->name[0] == '\0' || gauge->name[HM_GAUGE_NAME_MAX - 1] != '\0')
			continue;
		struct hm_snapshot_gauge *const copy = &snapshot->gauges[snapshot->gauge_count++];
		memcpy(copy->name, gauge->name, sizeof(copy->name));
		memcpy(&copy->value, &bits, sizeof(copy->value));
	}
	for (uint32_t i = 0; i < HM_LOSS_KINDS; i++)
		snapshot->losses[i] = atomic_load_explicit(&reading->header->losses[i], memory_order_relaxed);
	return 0;
}

/* The mark lags behind a heap that grows: where there is more in use now, now is the peak. */
static void compare_peak_with_now(struct hm_snapshot *snapshot)
{
	const struct hm_snapshot_totals totals = hm_snapshot_sum(snapshot);

	if (totals.inuse.bytes_fixed <= totals.peak.bytes_fixed)
		return;
	for (uint32_t i = 0; i < snapshot->stack_count; i++)
		snapshot->stacks[i].peak = snapshot->stacks[i].inuse;
	snapshot->peak_realtime_ns = snapshot->realtime_ns;
}

/* The steps of proto/snapshot.h, each behind the one before. */
static int read_tables(struct reading *reading, const struct hm_snapshot_options *options)
{
	struct hm_snapshot *const snapshot = reading->snapshot;
	int error = copy_header(reading);

	if (error == 0)
		error = read_identity(reading, options);
	if (error == 0 && (reading->wants_live || reading->wants_ages))
		error = read_live(reading);
	if (error == 0)
		error = hm_snapshot_read_stacks(snapshot, &reading->window, reading->header);
	if (error != 0)
		return error;
	compare_peak_with_now(snapshot);
	link_live(snapshot);
	if (reading->wants_ages)
		error = hm_ages_finish(&reading->ages, snapshot);

	if (error == 0)
		error = copy_header(reading);
	if (error == 0)
		error = read_modules(reading);
	if (error == 0)
		error = read_gauges(reading);
	if (error == 0)
		read_own_ranges(reading);
	return error;
}

static bool begin_reading(struct reading *reading, const struct hm_source *source)
{
	reading->header = hm_arena_allocate(&reading->temporary, sizeof(*reading->header));
	reading->window.source = source;
	reading->window.buffer = hm_arena_allocate(&reading->temporary, WINDOW_BYTES);
	reading->window.capacity_bytes = WINDOW_BYTES;
	reading->recheck.source = source;
	reading->recheck.buffer = hm_arena_allocate(&reading->temporary, WINDOW_BYTES);
	reading->recheck.capacity_bytes = WINDOW_BYTES;
	reading->text_budget_bytes = source->length_bytes;
	return reading->header != NULL && reading->window.buffer != NULL && reading->recheck.buffer != NULL;
}

static int take(struct reading *reading, const struct hm_source *source,
		const struct hm_snapshot_options *options, enum hm_snapshot_fault *ret_fault)
{
	if (!begin_reading(reading, source)) {
		*ret_fault = HM_SNAPSHOT_NO_MEMORY;
		return -ENOMEM;
	}
	int error = check_header(reading, ret_fault);
	if (error != 0)
		return error;
	error = read_tables(reading, options);
	if (error != 0)
		*ret_fault = error == -ENOMEM ? HM_SNAPSHOT_NO_MEMORY : HM_SNAPSHOT_UNREADABLE;
	return error;
}

int hm_snapshot_take(const struct hm_source *source, const struct hm_snapshot_options *options,
		     struct hm_snapshot *ret_snapshot, enum hm_snapshot_fault *ret_fault)
{
	struct hm_snapshot snapshot = { 0 };
	struct reading reading = {
		.snapshot = &snapshot,
		.wants_live = options->live_samples,
		.wants_ages = options->ages,
	};
	enum hm_snapshot_fault fault;

	hm_arena_init(&snapshot.arena, SIZE_MAX);
	hm_arena_init(&reading.temporary, SIZE_MAX);
	hm_ages_init(&reading.ages, &reading.temporary);
	const int error = take(&reading, source, options, &fault);
	hm_arena_done(&reading.temporary);
	if (error != 0) {
		hm_snapshot_done(&snapshot);
		if (ret_fault != NULL)
			*ret_fault = fault;
		return error;
	}
	*ret_snapshot = snapshot;
	return 0;
}

void hm_snapshot_done(struct hm_snapshot *snapshot)
{
	struct hm_arena arena = snapshot->arena;

	*snapshot = (struct hm_snapshot){ 0 };
	hm_arena_done(&arena);
}

void hm_snapshot_turn_to_peak(struct hm_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->stack_count; i++)
		snapshot->stacks[i].inuse = snapshot->stacks[i].peak;
	snapshot->live_count = 0;
	snapshot->age_count = 0;
	snapshot->at_peak = true;
}

static uint64_t add_saturated(uint64_t left, uint64_t right)
{
	uint64_t sum;

	return __builtin_add_overflow(left, right, &sum) ? UINT64_MAX : sum;
}

static void add_figures(struct hm_figures *sum, const struct hm_figures *more)
{
	sum->objects_fixed = add_saturated(sum->objects_fixed, more->objects_fixed);
	sum->bytes_fixed = add_saturated(sum->bytes_fixed, more->bytes_fixed);
	sum->objects_variance += more->objects_variance;
	sum->bytes_variance += more->bytes_variance;
}

struct hm_snapshot_totals hm_snapshot_sum(const struct hm_snapshot *snapshot)
{
	struct hm_snapshot_totals totals = { 0 };

	for (uint32_t i = 0; i < snapshot->stack_count; i++) {
		add_figures(&totals.alloc, &snapshot->stacks[i].alloc);
		add_figures(&totals.inuse, &snapshot->stacks[i].inuse);
		add_figures(&totals.peak, &snapshot->stacks[i].peak);
		totals.sample_count = add_saturated(totals.sample_count, snapshot->stacks[i].sample_count);
	}
	return totals;
}

struct hm_figures hm_snapshot_freed(const struct hm_snapshot_totals *totals)
{
	return (struct hm_figures){
		.objects_fixed = totals->alloc.objects_fixed - totals->inuse.objects_fixed,
		.bytes_fixed = totals->alloc.bytes_fixed - totals->inuse.bytes_fixed,
	};
}

const struct hm_snapshot_module *hm_snapshot_module_of(const struct hm_snapshot *snapshot, uint64_t frame)
{
	const uint32_t index = hm_frame_module(frame);
	const uint64_t address = hm_frame_address(frame);

	if (index == 0 || index > snapshot->module_count)
		return NULL;
	const struct hm_snapshot_module *const module = &snapshot->modules[index - 1];
	return address >= module->start_address && address < module->end_address ? module : NULL;
}
