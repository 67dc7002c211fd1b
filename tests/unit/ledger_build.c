// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ledger_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void fail(const char *what)
{
	fprintf(stderr, "ledger_build: %s\n", what);
	abort();
}

struct hm_ledger_header *ledger_build_header(const struct ledger_build *build)
{
	return (struct hm_ledger_header *)build->bytes;
}

static void *at_unit(const struct ledger_build *build, uint32_t unit)
{
	return build->bytes + (uint64_t)unit * HM_UNIT;
}

struct hm_ledger_stack *ledger_build_stack_at(const struct ledger_build *build, uint32_t unit)
{
	return at_unit(build, unit);
}

uint64_t ledger_build_length(const struct ledger_build *build)
{
	return ledger_build_header(build)->granted_bytes;
}

uint32_t ledger_build_allocate(struct ledger_build *build, uint64_t size_bytes)
{
	struct hm_ledger_header *const header = ledger_build_header(build);
	const uint64_t offset = header->arena_next;

	header->arena_next += (size_bytes + HM_UNIT - 1) / HM_UNIT * HM_UNIT;
	header->granted_bytes = header->arena_next;
	if (header->arena_next > build->capacity_bytes)
		fail("capacity is too small");
	return (uint32_t)(offset / HM_UNIT);
}

uint32_t ledger_build_string(struct ledger_build *build, const char *text, size_t length_bytes)
{
	const uint32_t unit = ledger_build_allocate(build, sizeof(struct hm_ledger_string) + length_bytes);
	struct hm_ledger_string *const string = at_unit(build, unit);

	string->length_bytes = (uint32_t)length_bytes;
	memcpy(string->text, text, length_bytes);
	return unit;
}

static uint32_t make_record(struct ledger_build *build, uint8_t kind, const uint64_t *frames,
			    uint32_t frame_count)
{
	const uint32_t unit =
		ledger_build_allocate(build, sizeof(struct hm_ledger_stack) + frame_count * 8ul);
	struct hm_ledger_stack *const record = at_unit(build, unit);

	record->kind = kind;
	record->frame_count = (uint16_t)frame_count;
	if (frame_count > 0)
		memcpy(record->frames, frames, frame_count * sizeof(*frames));
	return unit;
}

void ledger_build_begin(struct ledger_build *build, uint64_t capacity_bytes)
{
	static const char executable[] = "/usr/bin/subject";
	static const char command[] = "subject --secret";

	build->bytes = mmap(NULL, capacity_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	build->capacity_bytes = capacity_bytes;
	if (build->bytes == MAP_FAILED)
		fail("no memory");

	struct hm_ledger_header *const header = ledger_build_header(build);
	memcpy(header->magic, HM_LEDGER_MAGIC, sizeof(header->magic));
	header->version = HM_LEDGER_VERSION;
	header->byte_order = HM_LEDGER_BYTE_ORDER;
	header->state = HM_LEDGER_RECORDING;
	header->pid = 4242;
	header->limit_bytes = 256 << 20;
	header->process_start_ticks = 777;
	header->start_realtime_ns = UINT64_C(1700000000) * 1000000000;
	header->start_boottime_ns = 5000000000;
	header->start_ticks = 1000;
	header->run_id = 0xabcdef;
	memcpy(header->comm, "subject", 8);
	header->frames_kept_max = HM_FRAMES_MAX;
	header->control_interval_bytes = 512 << 10;
	header->arena_next = HM_LEDGER_ARENA_OFFSET;
	header->granted_bytes = HM_LEDGER_ARENA_OFFSET;
	header->executable_unit = ledger_build_string(build, executable, sizeof(executable) - 1);
	header->command_unit = ledger_build_string(build, command, sizeof(command) - 1);
	header->dropped_unit = make_record(build, HM_STACK_DROPPED, NULL, 0);
	header->overflow_unit = make_record(build, HM_STACK_OVERFLOW, NULL, 0);
}

void ledger_build_end(struct ledger_build *build)
{
	munmap(build->bytes, build->capacity_bytes);
}

uint32_t ledger_build_module(struct ledger_build *build, const struct hm_ledger_module *module,
			     const char *path)
{
	struct hm_ledger_header *const header = ledger_build_header(build);
	const uint32_t index = header->module_count + 1;
	uint64_t position = index - 1;
	uint32_t segment_index = 0;

	for (; position >= hm_module_segment_count(segment_index); segment_index++)
		position -= hm_module_segment_count(segment_index);
	if (header->module_segments[segment_index].offset == 0) {
		const uint64_t size_bytes =
			hm_module_segment_count(segment_index) * sizeof(struct hm_ledger_module);

		header->module_segments[segment_index].offset =
			(uint64_t)ledger_build_allocate(build, size_bytes) * HM_UNIT;
	}
	struct hm_ledger_module *const slot =
		(struct hm_ledger_module *)(build->bytes + header->module_segments[segment_index].offset) +
		position;
	memcpy(slot, module, sizeof(*slot));
	slot->path_unit = path == NULL ? 0 : ledger_build_string(build, path, strlen(path));
	slot->state = 2;
	header->module_count = index;
	return index;
}

static uint32_t digit_at(uint64_t hash, uint32_t shift)
{
	return (uint32_t)(hash >> shift) % HM_TRIE_CHILDREN;
}

/* Hangs a record into the trie: see "The trie that finds a stack" in proto/ledger.h. */
static void insert_record(struct ledger_build *build, uint32_t unit, uint64_t hash)
{
	uint32_t shift = 64 - HM_TRIE_ROOT_BITS;
	hm_trie_reference *place =
		(hm_trie_reference *)(build->bytes + HM_LEDGER_HEADER_BYTES) + (hash >> shift);

	while (*place != 0) {
		if ((*place & 1) == 0) {
			struct hm_ledger_stack *other = at_unit(build, *place >> 1);

			if (other->hash == hash) {
				while (other->next_same_hash != 0)
					other = at_unit(build, other->next_same_hash);
				other->next_same_hash = unit;
				return;
			}
			const uint32_t node_unit = ledger_build_allocate(build, sizeof(struct hm_trie_node));
			struct hm_trie_node *const node = at_unit(build, node_unit);
			node->children[digit_at(other->hash, shift - HM_TRIE_NODE_BITS)] = *place;
			*place = node_unit << 1 | 1;
		}
		struct hm_trie_node *const node = at_unit(build, *place >> 1);
		shift -= HM_TRIE_NODE_BITS;
		place = &node->children[digit_at(hash, shift)];
	}
	*place = unit << 1;
}

uint32_t ledger_build_stack_hashed(struct ledger_build *build, const uint64_t *frames, uint32_t frame_count,
				   uint8_t flags, uint64_t hash)
{
	const uint32_t unit = make_record(build, HM_STACK_ORDINARY, frames, frame_count);
	struct hm_ledger_stack *const record = ledger_build_stack_at(build, unit);

	record->flags = flags;
	record->hash = hash;
	insert_record(build, unit, hash);
	return unit;
}

uint32_t ledger_build_stack(struct ledger_build *build, const uint64_t *frames, uint32_t frame_count,
			    uint8_t flags)
{
	uint64_t hash = flags;

	for (uint32_t i = 0; i < frame_count; i++) {
		hash = (hash ^ frames[i]) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	return ledger_build_stack_hashed(build, frames, frame_count, flags,
					 hash * UINT64_C(0xbf58476d1ce4e5b9));
}

static uint64_t bits_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

void ledger_build_count(struct ledger_build *build, uint32_t stack_unit, const struct ledger_counts *counts)
{
	struct hm_ledger_stack *const record = ledger_build_stack_at(build, stack_unit);

	record->samples = counts->samples;
	record->alloc_objects = counts->alloc_objects << HM_OBJECTS_FRACTION_BITS;
	record->alloc_bytes = counts->alloc_bytes << HM_BYTES_FRACTION_BITS;
	record->freed_objects = counts->freed_objects << HM_OBJECTS_FRACTION_BITS;
	record->freed_bytes = counts->freed_bytes << HM_BYTES_FRACTION_BITS;
	record->alloc_bytes_variance = bits_of(counts->alloc_bytes_variance);
	record->freed_bytes_variance = bits_of(counts->freed_bytes_variance);
}

static struct hm_ledger_live_bucket *live_bucket(struct ledger_build *build, uint32_t segment_index,
						 uint64_t slot_index)
{
	const uint64_t offset = ledger_build_header(build)->live_segments[segment_index].offset;

	return (struct hm_ledger_live_bucket *)(build->bytes + offset) + slot_index / HM_LIVE_BUCKET_SLOTS;
}

_Atomic uint64_t *ledger_build_live_address(struct ledger_build *build, uint32_t segment_index,
					    uint64_t slot_index)
{
	return &live_bucket(build, segment_index, slot_index)->addresses[slot_index % HM_LIVE_BUCKET_SLOTS];
}

struct hm_ledger_live_value *ledger_build_live_value(struct ledger_build *build, uint32_t segment_index,
						     uint64_t slot_index)
{
	return &live_bucket(build, segment_index, slot_index)->values[slot_index % HM_LIVE_BUCKET_SLOTS];
}

void ledger_build_live(struct ledger_build *build, uint64_t address, uint32_t stack_unit, uint64_t size_bytes,
		       float weight, uint32_t birth_ticks)
{
	struct hm_ledger_header *const header = ledger_build_header(build);

	for (uint32_t k = 0; k < HM_SEGMENTS_MAX; k++) {
		const uint64_t count = hm_live_segment_buckets(k) * HM_LIVE_BUCKET_SLOTS;

		if (header->live_segments[k].offset == 0) {
			const uint32_t unit = ledger_build_allocate(
				build, hm_live_segment_buckets(k) * sizeof(struct hm_ledger_live_bucket));

			header->live_segments[k].offset = (uint64_t)unit * HM_UNIT;
		}
		for (uint64_t i = 0; i < count; i++) {
			struct hm_ledger_live_value *const value = ledger_build_live_value(build, k, i);
			uint32_t weight_bits;

			if (*ledger_build_live_address(build, k, i) != 0)
				continue;
			memcpy(&weight_bits, &weight, sizeof(weight_bits));
			*ledger_build_live_address(build, k, i) = address;
			value->generation = 2;
			value->stack_unit = stack_unit;
			value->size_bytes = size_bytes;
			value->weight = weight_bits;
			value->birth_and_era = birth_ticks;
			return;
		}
	}
}

void ledger_build_gauge(struct ledger_build *build, const char *name, double value)
{
	struct hm_ledger_header *const header = ledger_build_header(build);

	for (uint32_t i = 0; i < HM_GAUGES_MAX; i++) {
		struct hm_ledger_gauge *const gauge = &header->gauges[i];

		if (gauge->state != 0)
			continue;
		strncpy(gauge->name, name, sizeof(gauge->name) - 1);
		gauge->value = bits_of(value);
		gauge->state = 2;
		return;
	}
}

bool ledger_build_save(const struct ledger_build *build, const char *path)
{
	FILE *const file = fopen(path, "wb");
	const uint64_t length = ledger_build_length(build);

	if (file == NULL)
		return false;
	const bool written = fwrite(build->bytes, 1, length, file) == length;
	return fclose(file) == 0 && written;
}

void ledger_build_sample(struct ledger_build *build)
{
	static const struct hm_ledger_module modules[3] = {
		{ .flags = 0,
		  .start_address = 0x7f0000001000,
		  .end_address = 0x7f0000009000,
		  .file_offset = 0x1000,
		  .load_bias = 0x7f0000000000,
		  .build_id_size = 20,
		  .build_id = { 0xab, 0xcd, 0xef } },
		{ .flags = HM_MODULE_MAIN,
		  .start_address = 0x555555554000,
		  .end_address = 0x555555664000,
		  .load_bias = 0x555555554000 },
		{ .flags = HM_MODULE_VDSO, .start_address = 0x7ffff7fc1000, .end_address = 0x7ffff7fc3000 },
	};
	static const char *const paths[3] = { "/usr/lib/libsubject.so.1", "/usr/bin/subject", NULL };
	uint64_t frames[3 + 200];

	ledger_build_begin(build, 2 << 20);
	for (uint32_t i = 0; i < 3; i++)
		ledger_build_module(build, &modules[i], paths[i]);
	for (uint32_t i = 0; i < 200; i++) {
		const uint32_t depth = 1 + i % 40;

		for (uint32_t k = 0; k < depth; k++)
			frames[k] = hm_frame_make(2, 0x555555554100 + 0x10 * (uint64_t)(i % 50 + k));
		frames[0] = hm_frame_make(1, 0x7f0000001000 + 8 * (uint64_t)i);
		const uint8_t flags = i % 50 == 0 ? HM_STACK_TRUNCATED : i % 51 == 0 ? HM_STACK_CUT : 0;
		const uint32_t unit = ledger_build_stack(build, frames, depth, flags);
		ledger_build_count(build, unit,
				   &(struct ledger_counts){
					   .samples = i + 1,
					   .alloc_objects = 10ul * i,
					   .alloc_bytes = 1000ul * i,
					   .freed_objects = i % 3 == 0 ? 10ul * i : 4ul * i,
					   .freed_bytes = i % 3 == 0 ? 1000ul * i : 400ul * i,
				   });
		if (i % 3 != 0 && i < 90)
			ledger_build_live(build, 0x1000000 + 16 * (uint64_t)i, unit, 100, 1.5f, 16 * i);
	}
	ledger_build_count(build, ledger_build_header(build)->dropped_unit,
			   &(struct ledger_counts){ 1, 7, 70, 7, 70, 0.0, 0.0 });
	ledger_build_gauge(build, "hashmap/overflow_ratio", 0.25);
	ledger_build_header(build)->losses[HM_LOSS_LIVE] = 7;
}
