// SPDX-License-Identifier: Apache-2.0
#include "proto/profile_layout.h"

#include "proto/sort.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum {
	PAGE_BYTES = 4096,
	/* Place of addresses without a module; modules have 0 .. HM_MODULES_MAX - 1. */
	PLACE_NONE = HM_MODULES_MAX,
	LOCATION_SLOTS_FIRST = 4096,
};

/* A location's key in the hash table; key 0: empty. */
struct hm_location_slot {
	uint64_t key;
	uint32_t location_index;
};

struct hm_layout_mapping *hm_layout_anon(const struct hm_profile_layout *layout)
{
	return &layout->mappings[layout->module_count];
}

struct hm_layout_mapping *hm_layout_made_up(const struct hm_profile_layout *layout)
{
	return &layout->mappings[layout->module_count + 1];
}

static struct hm_layout_mapping *executable_mapping(const struct hm_profile_layout *layout)
{
	return &layout->mappings[layout->module_count + 2];
}

static uint32_t key_place(uint64_t key)
{
	return hm_frame_module(key);
}

static uint64_t key_address(uint64_t key)
{
	return hm_frame_address(key);
}

static bool is_made_up(uint64_t address)
{
	return address > HM_MADE_UP_START && address <= HM_MADE_UP_LAST;
}

static struct hm_layout_mapping *mapping_of_key(const struct hm_profile_layout *layout, uint64_t key)
{
	if (key_place(key) != PLACE_NONE)
		return &layout->mappings[key_place(key)];
	return is_made_up(key_address(key)) ? hm_layout_made_up(layout) : hm_layout_anon(layout);
}

/*
 * The locations of a stack, innermost first.  An address outside of its module has none; address 0 is no
 * address.
 */
static uint32_t list_keys(const struct hm_profile_layout *layout, const struct hm_snapshot_stack *stack,
			  uint64_t *ret_keys)
{
	uint32_t count = 0;
	uint64_t last = 0;

	for (uint32_t i = 0; i < stack->frame_count; i++) {
		const uint64_t frame = stack->frames[i];
		const struct hm_snapshot_module *const module =
			hm_snapshot_module_of(layout->snapshot, frame);
		const uint32_t place =
			module == NULL ? PLACE_NONE : layout->places[module - layout->snapshot->modules];

		if (hm_frame_address(frame) != 0)
			ret_keys[count++] = hm_frame_make(place, hm_frame_address(frame));
	}
	if (stack->kind == HM_STACK_DROPPED)
		last = HM_MADE_UP_DROPPED;
	else if (stack->kind == HM_STACK_OVERFLOW)
		last = HM_MADE_UP_OVERFLOW;
	else if ((stack->flags & HM_STACK_CUT) != 0)
		last = HM_MADE_UP_CUT;
	else if ((stack->flags & HM_STACK_TRUNCATED) != 0 || count == 0)
		last = HM_MADE_UP_TRUNCATED;
	if (last != 0)
		ret_keys[count++] = hm_frame_make(PLACE_NONE, last);
	return count;
}

/* --- Modules ------------------------------------------------------------------------------------------ */

static int compare_modules(const void *left, const void *right, const void *context)
{
	const struct hm_snapshot_module *const l = *(const struct hm_snapshot_module *const *)left;
	const struct hm_snapshot_module *const r = *(const struct hm_snapshot_module *const *)right;
	const int main_first = (int)(r->flags & HM_MODULE_MAIN) - (int)(l->flags & HM_MODULE_MAIN);

	(void)context;
	if (main_first != 0)
		return main_first;
	const int by_path = strcmp(l->path, r->path);
	if (by_path != 0)
		return by_path;
	if (l->file_offset != r->file_offset)
		return l->file_offset < r->file_offset ? -1 : 1;
	if (l->start_address != r->start_address)
		return l->start_address < r->start_address ? -1 : 1;
	return (l > r) - (l < r);
}

/* Whether a reader takes the path for a file's: "//anon", as some systems write, is none. */
static bool is_absolute(const char *path)
{
	return path[0] == '/' && path[1] != '/';
}

/* "[path]": no place in the file system. */
static const char *in_brackets(struct hm_profile_layout *layout, const char *path, size_t length)
{
	char *const text = hm_arena_allocate(layout->arena, length + sizeof("[]"));

	if (text == NULL)
		return NULL;
	text[0] = '[';
	memcpy(text + 1, path, length);
	text[length + 1] = ']';
	return text;
}

/* The length of a path without "(deleted)", which is the kernel's remark and not part of the name. */
static size_t bare_length(const char *path)
{
	static const char deleted[] = " (deleted)";
	const size_t suffix = sizeof(deleted) - 1;
	size_t length = strlen(path);

	while (length >= suffix && memcmp(path + length - suffix, deleted, suffix) == 0)
		length -= suffix;
	return length;
}

static const char *file_of(struct hm_profile_layout *layout, const struct hm_snapshot_module *module)
{
	const size_t length = bare_length(module->path);

	if ((module->flags & HM_MODULE_VDSO) != 0)
		return "[vdso]";
	if (length == 0)
		return HM_ANON_NAME;
	if (!is_absolute(module->path) && module->path[0] != '[')
		return in_brackets(layout, module->path, length);
	return hm_arena_copy_text(layout->arena, module->path, length);
}

/*
 * What stands for an executable that is in no stack.  Where the ledger does not say its path (/proc was not
 * there, or the ledger is damaged), the name of the process, as if it lay in the root directory.
 */
static const char *executable_file(struct hm_profile_layout *layout)
{
	const char *const path = layout->snapshot->executable;
	const char *name = layout->snapshot->comm;

	if (is_absolute(path))
		return hm_arena_copy_text(layout->arena, path, bare_length(path));
	name += strspn(name, "/");
	if (bare_length(name) == 0)
		name = "unknown";

	const size_t length = bare_length(name);
	char *const text = hm_arena_allocate(layout->arena, length + sizeof("/"));
	if (text != NULL) {
		text[0] = '/';
		memcpy(text + 1, name, length);
	}
	return text;
}

static int order_modules(struct hm_profile_layout *layout)
{
	const struct hm_snapshot *const snapshot = layout->snapshot;
	const uint32_t count = snapshot->module_count;
	const struct hm_snapshot_module **const order =
		hm_arena_allocate_array(layout->arena, 2 * (size_t)count, sizeof(*order));

	layout->module_count = count;
	layout->places = hm_arena_allocate_array(layout->arena, count, sizeof(*layout->places));
	layout->mappings =
		hm_arena_allocate_array(layout->arena, (size_t)count + 3, sizeof(*layout->mappings));
	if (order == NULL || layout->places == NULL || layout->mappings == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		order[i] = &snapshot->modules[i];
	hm_sort(order, order + count, count, sizeof(*order), compare_modules, NULL);
	for (uint32_t place = 0; place < count; place++) {
		struct hm_layout_mapping *const mapping = &layout->mappings[place];

		layout->places[order[place] - snapshot->modules] = place;
		mapping->module = order[place];
		mapping->file = file_of(layout, order[place]);
		mapping->start_address = order[place]->start_address;
		mapping->end_address = order[place]->end_address;
		if (mapping->file == NULL)
			return -ENOMEM;
	}
	*hm_layout_anon(layout) = (struct hm_layout_mapping){ .file = HM_ANON_NAME };
	*hm_layout_made_up(layout) = (struct hm_layout_mapping){ .file = "[heapmark]",
								 .start_address = HM_MADE_UP_START,
								 .end_address = HM_MADE_UP_END };
	*executable_mapping(layout) = (struct hm_layout_mapping){ .file = executable_file(layout) };
	return executable_mapping(layout)->file != NULL ? 0 : -ENOMEM;
}

/* --- Samples ------------------------------------------------------------------------------------------ */

static bool has_values(const struct hm_snapshot_stack *stack)
{
	return (hm_objects_round(stack->alloc.objects_fixed) | hm_bytes_round(stack->alloc.bytes_fixed) |
		hm_objects_round(stack->inuse.objects_fixed) | hm_bytes_round(stack->inuse.bytes_fixed)) != 0;
}

static int choose_samples(struct hm_profile_layout *layout)
{
	const struct hm_snapshot *const snapshot = layout->snapshot;

	layout->samples =
		hm_arena_allocate_array(layout->arena, snapshot->stack_count, sizeof(*layout->samples));
	if (layout->samples == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->stack_count; i++) {
		if (has_values(&snapshot->stacks[i]))
			layout->samples[layout->sample_count++].stack = &snapshot->stacks[i];
	}
	return 0;
}

static int compare_samples(const void *left, const void *right, const void *context)
{
	const struct hm_layout_sample *const l = left;
	const struct hm_layout_sample *const r = right;

	(void)context;
	if (l->stack->inuse.bytes_fixed != r->stack->inuse.bytes_fixed)
		return l->stack->inuse.bytes_fixed > r->stack->inuse.bytes_fixed ? -1 : 1;
	if (l->stack->alloc.bytes_fixed != r->stack->alloc.bytes_fixed)
		return l->stack->alloc.bytes_fixed > r->stack->alloc.bytes_fixed ? -1 : 1;
	for (uint32_t i = 0; i < l->location_count && i < r->location_count; i++) {
		if (l->locations[i] != r->locations[i])
			return l->locations[i] < r->locations[i] ? -1 : 1;
	}
	return (l->location_count > r->location_count) - (l->location_count < r->location_count);
}

/* --- Locations ---------------------------------------------------------------------------------------- */

/* The slot of a key, or the empty one where it belongs.  Half of all slots are empty at least. */
static struct hm_location_slot *find_location(const struct hm_profile_layout *layout, uint64_t key)
{
	const uint32_t mask = layout->location_slot_count - 1;
	/* Multiplied by 2^64 / golden ratio, the high bits of the product depend on all of the key. */
	uint32_t slot = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;

	while (layout->location_slots[slot].key != 0 && layout->location_slots[slot].key != key)
		slot = (slot + 1) & mask;
	return &layout->location_slots[slot];
}

static bool grow_locations(struct hm_profile_layout *layout)
{
	const struct hm_location_slot *const old = layout->location_slots;
	const uint32_t old_count = layout->location_slot_count;
	const uint32_t count = old_count == 0 ? LOCATION_SLOTS_FIRST : 2 * old_count;
	struct hm_location_slot *const slots = hm_arena_allocate_array(layout->arena, count, sizeof(*slots));

	if (slots == NULL)
		return false;
	layout->location_slots = slots;
	layout->location_slot_count = count;
	for (uint32_t i = 0; i < old_count; i++) {
		if (old[i].key != 0)
			*find_location(layout, old[i].key) = old[i];
	}
	return true;
}

static int collect_locations(struct hm_profile_layout *layout)
{
	uint64_t keys[HM_PROFILE_FRAMES_MAX];

	for (uint32_t i = 0; i < layout->sample_count; i++) {
		const uint32_t count = list_keys(layout, layout->samples[i].stack, keys);

		while (layout->location_slot_count / 2 < layout->location_count + count) {
			if (!grow_locations(layout))
				return -ENOMEM;
		}
		for (uint32_t k = 0; k < count; k++) {
			struct hm_location_slot *const slot = find_location(layout, keys[k]);

			layout->location_count += slot->key == 0;
			slot->key = keys[k];
		}
	}
	return 0;
}

static int order_locations(struct hm_profile_layout *layout)
{
	const int error = collect_locations(layout);
	const size_t count = layout->location_count;

	if (error != 0)
		return error;
	layout->keys = hm_arena_allocate_array(layout->arena, count, sizeof(*layout->keys));
	layout->addresses = hm_arena_allocate_array(layout->arena, count, sizeof(*layout->addresses));
	if (layout->keys == NULL || layout->addresses == NULL)
		return -ENOMEM;
	uint32_t listed = 0;
	for (uint32_t i = 0; i < layout->location_slot_count; i++) {
		if (layout->location_slots[i].key != 0)
			layout->keys[listed++] = layout->location_slots[i].key;
	}
	/* `addresses` serves as scratch before it is filled. */
	hm_sort(layout->keys, layout->addresses, count, sizeof(*layout->keys), hm_compare_u64, NULL);
	for (uint32_t i = 0; i < count; i++) {
		struct hm_layout_mapping *const mapping = mapping_of_key(layout, layout->keys[i]);

		layout->addresses[i] = key_address(layout->keys[i]);
		find_location(layout, layout->keys[i])->location_index = i;
		mapping->location_count++;
		if (mapping == hm_layout_anon(layout)) {
			/* Ascending: the first is the lowest, the last the highest. */
			if (mapping->location_count == 1)
				mapping->start_address = layout->addresses[i] / PAGE_BYTES * PAGE_BYTES;
			mapping->end_address = (layout->addresses[i] / PAGE_BYTES + 1) * PAGE_BYTES;
		}
	}
	return 0;
}

/* Gives every sample its locations, and the samples their order. */
static int order_samples(struct hm_profile_layout *layout)
{
	const size_t count = layout->sample_count;
	struct hm_layout_sample *const scratch =
		hm_arena_allocate_array(layout->arena, count, sizeof(*scratch));
	uint64_t keys[HM_PROFILE_FRAMES_MAX];

	if (scratch == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		struct hm_layout_sample *const sample = &layout->samples[i];
		const uint32_t location_count = list_keys(layout, sample->stack, keys);
		uint32_t *const locations =
			hm_arena_allocate_array(layout->arena, location_count, sizeof(*locations));

		if (locations == NULL)
			return -ENOMEM;
		for (uint32_t k = 0; k < location_count; k++)
			locations[k] = find_location(layout, keys[k])->location_index;
		sample->location_count = location_count;
		sample->locations = locations;
	}
	hm_sort(layout->samples, scratch, count, sizeof(*scratch), compare_samples, NULL);
	return 0;
}

int hm_profile_lay_out(const struct hm_snapshot *snapshot, struct hm_arena *arena,
		       struct hm_profile_layout *ret_layout)
{
	*ret_layout = (struct hm_profile_layout){ .snapshot = snapshot, .arena = arena };

	int error = order_modules(ret_layout);
	if (error == 0)
		error = choose_samples(ret_layout);
	if (error == 0)
		error = order_locations(ret_layout);
	return error != 0 ? error : order_samples(ret_layout);
}

struct hm_layout_mapping *hm_layout_main(const struct hm_profile_layout *layout)
{
	struct hm_layout_mapping *const first = layout->mappings;
	const bool main_known = layout->module_count > 0 && (first->module->flags & HM_MODULE_MAIN) != 0 &&
				is_absolute(first->file);

	return main_known ? first : executable_mapping(layout);
}

struct hm_layout_mapping *hm_layout_mapping_of(const struct hm_profile_layout *layout,
					       uint32_t location_index)
{
	return mapping_of_key(layout, layout->keys[location_index]);
}
