// SPDX-License-Identifier: Apache-2.0
/*
 * A profile is written in one pass, message after message in the order of the format: each small message is
 * packed as a Profile that holds nothing else, and the pieces, one behind the other, are the whole.
 *
 * Before that, everything that is named by a number is put in order: modules become mappings, sorted by path;
 * every distinct address becomes a location.  A location's key is (place of its module in that order,
 * address), so sorting keys sorts locations by mapping, and two runs of one binary, loaded at different
 * addresses, come out in the same order.
 */
#include "proto/profile_write.h"

#include "proto/profile.pb-c.h"
#include "proto/profile_comments.h"
#include "proto/sort.h"
#include "proto/string_table.h"
#include "proto/text.h"

#include <errno.h>
#include <string.h>

enum {
	PAGE_BYTES = 4096,
	/* Place of addresses without a module; modules have 0 .. HM_MODULES_MAX - 1. */
	PLACE_NONE = HM_MODULES_MAX,
	LOCATION_SLOTS_FIRST = 4096,
	PACKED_BYTES_FIRST = 4096,
	FRAMES_MAX = HM_FRAMES_MAX + 1, /* with [truncated] or [cut] */
	VALUE_COUNT = 4,
	FUNCTIONS_FIRST = 1024,
	MODULES_NOTED_MAX = 8, /* in comments */
	/* One for each loss and one for the machine; the notes on modules; and some twenty others. */
	COMMENTS_OF_OURS_MAX = 2 * HM_LOSS_KINDS + MODULES_NOTED_MAX + 1 + 32,
};

/*
 * Frames of our own making.  Their addresses lie below vm.mmap_min_addr, where no process has code, and are
 * the same in every profile, so that they cancel out in a comparison.
 */
enum {
	MADE_UP_START = 0x1000,
	MADE_UP_DROPPED,
	MADE_UP_OVERFLOW,
	MADE_UP_TRUNCATED,
	MADE_UP_CUT,
	MADE_UP_LAST = MADE_UP_CUT,
	MADE_UP_END = 0x2000,
};

static const char *const made_up_names[] = {
	[MADE_UP_DROPPED - MADE_UP_START] = "[dropped]",
	[MADE_UP_OVERFLOW - MADE_UP_START] = "[overflow]",
	[MADE_UP_TRUNCATED - MADE_UP_START] = "[truncated]",
	[MADE_UP_CUT - MADE_UP_START] = "[cut]",
};

/*
 * Functions that allocate for whoever called them, as the linker and as people write them.  Anchored by the
 * reader, which first takes the arguments off a demangled name.
 */
static const char drop_frames[] =
	"malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|memalign|valloc|pvalloc|"
	"__libc_(malloc|calloc|realloc|memalign|valloc|pvalloc)|_*strn?dup|"
	"operator new(\\[\\])?|_Zn[wa]m.*";

static const char default_sample_type[] = "inuse_space";

struct mapping {
	const struct hm_snapshot_module *module; /* borrowed; NULL: one of ours */
	const char *file;
	uint64_t start_address;
	uint64_t end_address;
	uint32_t location_count;
	uint32_t placeholder_count; /* of its locations; so are the next two */
	uint32_t fileless_count;
	uint32_t lineless_count;
	bool has_inline_frames;
	uint64_t id; /* 0: not written */
};

/* A stack that is written. */
struct sample {
	const struct hm_snapshot_stack *stack; /* borrowed */
	const uint32_t *locations;             /* indexes, innermost first; ascending as their keys are */
	uint32_t location_count;
};

/* A location's key in the hash table; key 0: empty. */
struct location_slot {
	uint64_t key;
	uint32_t location_index;
};

struct function {
	uint32_t name;
	uint32_t system_name;
	uint32_t file;
	uint32_t start_line;
};

struct writer {
	const struct hm_snapshot *snapshot;       /* borrowed */
	const struct hm_profile_options *options; /* borrowed */
	struct hm_gzip *gzip;
	struct hm_arena arena; /* owns everything below */
	uint8_t *packed;
	size_t packed_capacity_bytes;
	uint64_t raw_bytes;
	int error; /* the first one; nothing is written after it */

	/* Modules in order of place, then [anon], [heapmark], and an executable that is in no stack. */
	struct mapping *mappings;
	uint32_t module_count;
	uint32_t *places; /* of module i, by i - 1 */

	struct sample *samples; /* in the order in which they are written */
	uint32_t sample_count;

	struct location_slot *location_slots;
	uint32_t location_slot_count;
	uint64_t *keys; /* of all locations, ascending */
	uint64_t *addresses;
	struct hm_location_name *names;
	uint32_t location_count;

	struct hm_string_table strings;
	struct function *functions;
	uint32_t *function_slots; /* index + 1; 0: empty; twice function_capacity */
	uint32_t function_count;
	uint32_t function_capacity;

	int64_t *comments; /* texts */
	size_t comment_count;

	struct hm_profile_written written;
};

static struct mapping *anon_mapping(const struct writer *writer)
{
	return &writer->mappings[writer->module_count];
}

static struct mapping *made_up_mapping(const struct writer *writer)
{
	return &writer->mappings[writer->module_count + 1];
}

static struct mapping *executable_mapping(const struct writer *writer)
{
	return &writer->mappings[writer->module_count + 2];
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
	return address > MADE_UP_START && address <= MADE_UP_LAST;
}

static struct mapping *mapping_of(const struct writer *writer, uint64_t key)
{
	if (key_place(key) != PLACE_NONE)
		return &writer->mappings[key_place(key)];
	return is_made_up(key_address(key)) ? made_up_mapping(writer) : anon_mapping(writer);
}

/*
 * The locations of a stack, innermost first.  An address outside of its module has none; address 0 is no
 * address.
 */
static uint32_t list_keys(const struct writer *writer, const struct hm_snapshot_stack *stack,
			  uint64_t *ret_keys)
{
	uint32_t count = 0;
	uint64_t last = 0;

	for (uint32_t i = 0; i < stack->frame_count; i++) {
		const uint64_t frame = stack->frames[i];
		const struct hm_snapshot_module *const module =
			hm_snapshot_module_of(writer->snapshot, frame);
		const uint32_t place =
			module == NULL ? PLACE_NONE : writer->places[module - writer->snapshot->modules];

		if (hm_frame_address(frame) != 0)
			ret_keys[count++] = hm_frame_make(place, hm_frame_address(frame));
	}
	if (stack->kind == HM_STACK_DROPPED)
		last = MADE_UP_DROPPED;
	else if (stack->kind == HM_STACK_OVERFLOW)
		last = MADE_UP_OVERFLOW;
	else if ((stack->flags & HM_STACK_CUT) != 0)
		last = MADE_UP_CUT;
	else if ((stack->flags & HM_STACK_TRUNCATED) != 0 || count == 0)
		last = MADE_UP_TRUNCATED;
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
static const char *in_brackets(struct writer *writer, const char *path, size_t length)
{
	char *const text = hm_arena_allocate(&writer->arena, length + sizeof("[]"));

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

static const char *file_of(struct writer *writer, const struct hm_snapshot_module *module)
{
	const size_t length = bare_length(module->path);

	if ((module->flags & HM_MODULE_VDSO) != 0)
		return "[vdso]";
	if (length == 0)
		return "[anon]";
	if (!is_absolute(module->path) && module->path[0] != '[')
		return in_brackets(writer, module->path, length);
	return hm_arena_copy_text(&writer->arena, module->path, length);
}

/*
 * What stands for an executable that is in no stack.  Where the ledger does not say its path (/proc was not
 * there, or the ledger is damaged), the name of the process, as if it lay in the root directory.
 */
static const char *executable_file(struct writer *writer)
{
	const char *const path = writer->snapshot->executable;
	const char *name = writer->snapshot->comm;

	if (is_absolute(path))
		return hm_arena_copy_text(&writer->arena, path, bare_length(path));
	name += strspn(name, "/");
	if (bare_length(name) == 0)
		name = "unknown";

	const size_t length = bare_length(name);
	char *const text = hm_arena_allocate(&writer->arena, length + sizeof("/"));
	if (text != NULL) {
		text[0] = '/';
		memcpy(text + 1, name, length);
	}
	return text;
}

static int order_modules(struct writer *writer)
{
	const struct hm_snapshot *const snapshot = writer->snapshot;
	const uint32_t count = snapshot->module_count;
	const struct hm_snapshot_module **const order =
		hm_arena_allocate_array(&writer->arena, 2 * (size_t)count, sizeof(*order));

	writer->module_count = count;
	writer->places = hm_arena_allocate_array(&writer->arena, count, sizeof(*writer->places));
	writer->mappings =
		hm_arena_allocate_array(&writer->arena, (size_t)count + 3, sizeof(*writer->mappings));
	if (order == NULL || writer->places == NULL || writer->mappings == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		order[i] = &snapshot->modules[i];
	hm_sort(order, order + count, count, sizeof(*order), compare_modules, NULL);
	for (uint32_t place = 0; place < count; place++) {
		struct mapping *const mapping = &writer->mappings[place];

		writer->places[order[place] - snapshot->modules] = place;
		mapping->module = order[place];
		mapping->file = file_of(writer, order[place]);
		mapping->start_address = order[place]->start_address;
		mapping->end_address = order[place]->end_address;
		if (mapping->file == NULL)
			return -ENOMEM;
	}
	*anon_mapping(writer) = (struct mapping){ .file = "[anon]" };
	*made_up_mapping(writer) = (struct mapping){ .file = "[heapmark]",
						     .start_address = MADE_UP_START,
						     .end_address = MADE_UP_END };
	*executable_mapping(writer) = (struct mapping){ .file = executable_file(writer) };
	return executable_mapping(writer)->file != NULL ? 0 : -ENOMEM;
}

/* --- Samples ------------------------------------------------------------------------------------------ */

static bool has_values(const struct hm_snapshot_stack *stack)
{
	return (hm_objects_round(stack->alloc.objects_fixed) | hm_bytes_round(stack->alloc.bytes_fixed) |
		hm_objects_round(stack->inuse.objects_fixed) | hm_bytes_round(stack->inuse.bytes_fixed)) != 0;
}

static int choose_samples(struct writer *writer)
{
	const struct hm_snapshot *const snapshot = writer->snapshot;

	writer->samples =
		hm_arena_allocate_array(&writer->arena, snapshot->stack_count, sizeof(*writer->samples));
	if (writer->samples == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->stack_count; i++) {
		if (has_values(&snapshot->stacks[i]))
			writer->samples[writer->sample_count++].stack = &snapshot->stacks[i];
	}
	return 0;
}

static int compare_samples(const void *left, const void *right, const void *context)
{
	const struct sample *const l = left;
	const struct sample *const r = right;

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
static struct location_slot *find_location(const struct writer *writer, uint64_t key)
{
	const uint32_t mask = writer->location_slot_count - 1;
	/* Multiplied by 2^64 / golden ratio, the high bits of the product depend on all of the key. */
	uint32_t slot = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;

	while (writer->location_slots[slot].key != 0 && writer->location_slots[slot].key != key)
		slot = (slot + 1) & mask;
	return &writer->location_slots[slot];
}

static bool grow_locations(struct writer *writer)
{
	const struct location_slot *const old = writer->location_slots;
	const uint32_t old_count = writer->location_slot_count;
	const uint32_t count = old_count == 0 ? LOCATION_SLOTS_FIRST : 2 * old_count;
	struct location_slot *const slots = hm_arena_allocate_array(&writer->arena, count, sizeof(*slots));

	if (slots == NULL)
		return false;
	writer->location_slots = slots;
	writer->location_slot_count = count;
	for (uint32_t i = 0; i < old_count; i++) {
		if (old[i].key != 0)
			*find_location(writer, old[i].key) = old[i];
	}
	return true;
}

static int collect_locations(struct writer *writer)
{
	uint64_t keys[FRAMES_MAX];

	for (uint32_t i = 0; i < writer->sample_count; i++) {
		const uint32_t count = list_keys(writer, writer->samples[i].stack, keys);

		while (writer->location_slot_count / 2 < writer->location_count + count) {
			if (!grow_locations(writer))
				return -ENOMEM;
		}
		for (uint32_t k = 0; k < count; k++) {
			struct location_slot *const slot = find_location(writer, keys[k]);

			writer->location_count += slot->key == 0;
			slot->key = keys[k];
		}
	}
	return 0;
}

static int order_locations(struct writer *writer)
{
	const int error = collect_locations(writer);
	const size_t count = writer->location_count;

	if (error != 0)
		return error;
	writer->keys = hm_arena_allocate_array(&writer->arena, count, sizeof(*writer->keys));
	writer->addresses = hm_arena_allocate_array(&writer->arena, count, sizeof(*writer->addresses));
	writer->names = hm_arena_allocate_array(&writer->arena, count, sizeof(*writer->names));
	if (writer->keys == NULL || writer->addresses == NULL || writer->names == NULL)
		return -ENOMEM;
	uint32_t listed = 0;
	for (uint32_t i = 0; i < writer->location_slot_count; i++) {
		if (writer->location_slots[i].key != 0)
			writer->keys[listed++] = writer->location_slots[i].key;
	}
	/* `addresses` serves as scratch before it is filled. */
	hm_sort(writer->keys, writer->addresses, count, sizeof(*writer->keys), hm_compare_u64, NULL);
	for (uint32_t i = 0; i < count; i++) {
		struct mapping *const mapping = mapping_of(writer, writer->keys[i]);

		writer->addresses[i] = key_address(writer->keys[i]);
		find_location(writer, writer->keys[i])->location_index = i;
		mapping->location_count++;
		if (mapping == anon_mapping(writer)) {
			/* Ascending: the first is the lowest, the last the highest. */
			if (mapping->location_count == 1)
				mapping->start_address = writer->addresses[i] / PAGE_BYTES * PAGE_BYTES;
			mapping->end_address = (writer->addresses[i] / PAGE_BYTES + 1) * PAGE_BYTES;
		}
	}
	return 0;
}

/* Gives every sample its locations, and the samples their order. */
static int order_samples(struct writer *writer)
{
	const size_t count = writer->sample_count;
	struct sample *const scratch = hm_arena_allocate_array(&writer->arena, count, sizeof(*scratch));
	uint64_t keys[FRAMES_MAX];

	if (scratch == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		struct sample *const sample = &writer->samples[i];

		sample->location_count = list_keys(writer, sample->stack, keys);
		uint32_t *const locations =
			hm_arena_allocate_array(&writer->arena, sample->location_count, sizeof(*locations));
		if (locations == NULL)
			return -ENOMEM;
		for (uint32_t k = 0; k < sample->location_count; k++)
			locations[k] = find_location(writer, keys[k])->location_index;
		sample->locations = locations;
	}
	hm_sort(writer->samples, scratch, count, sizeof(*scratch), compare_samples, NULL);
	return 0;
}

/* --- Names -------------------------------------------------------------------------------------------- */

static const struct hm_line anon_line = { .name = "[anon]", .system_name = "[anon]" };

static int name_ours(struct writer *writer, uint32_t index)
{
	const uint64_t address = writer->addresses[index];
	struct hm_line *const line = hm_arena_allocate(&writer->arena, sizeof(*line));

	if (line == NULL)
		return -ENOMEM;
	line->name = made_up_names[address - MADE_UP_START];
	line->system_name = line->name;
	writer->names[index] = (struct hm_location_name){ line, 1, false };
	return 0;
}

static void add_comment(void *context, const char *comment)
{
	struct writer *const writer = context;

	writer->comments[writer->comment_count++] = hm_string_table_index(&writer->strings, comment);
}

/* Counts a module that could not be named, and says so for the first few. */
static void note_outcome(struct writer *writer, const struct mapping *mapping, enum hm_names_outcome outcome)
{
	static const char *const reasons[] = {
		[HM_NAMES_NO_FILE] = "no function names, the file cannot be opened: ",
		[HM_NAMES_OTHER_FILE] = "no function names, the file was replaced since it was loaded: ",
		[HM_NAMES_NOT_ELF] = "no function names, the file is damaged or not of this machine: ",
	};
	struct hm_profile_written *const written = &writer->written;
	const uint32_t noted =
		written->modules_no_file + written->modules_other_file + written->modules_not_elf;
	char line[512];

	if (outcome == HM_NAMES_FOUND || mapping->file[0] != '/')
		return;
	written->modules_no_file += outcome == HM_NAMES_NO_FILE;
	written->modules_other_file += outcome == HM_NAMES_OTHER_FILE;
	written->modules_not_elf += outcome == HM_NAMES_NOT_ELF;
	if (noted < MODULES_NOTED_MAX) {
		struct hm_text text = hm_text_begin(line, sizeof(line));

		hm_text_add(&text, reasons[outcome]);
		hm_text_add(&text, mapping->file);
		add_comment(writer, line);
	} else if (noted == MODULES_NOTED_MAX) {
		add_comment(writer, "no function names for more files than these");
	}
}

static int name_module(struct writer *writer, struct mapping *mapping, uint32_t first, uint32_t count)
{
	const struct hm_resolver *const resolver = &writer->options->resolver;
	enum hm_names_outcome outcome = HM_NAMES_FOUND;

	if (resolver->resolve == NULL)
		return 0;
	const int error =
		resolver->resolve(resolver->context, &writer->arena, mapping->module,
				  writer->addresses + first, count, writer->names + first, &outcome);
	if (error == 0)
		note_outcome(writer, mapping, outcome);
	return error;
}

static void note_name(struct mapping *mapping, const struct hm_location_name *name)
{
	bool all_files = name->line_count > 0;
	bool all_lines = name->line_count > 0;

	for (uint32_t i = 0; i < name->line_count; i++) {
		all_files = all_files && name->lines[i].file != NULL && name->lines[i].file[0] != '\0';
		all_lines = all_lines && name->lines[i].line != 0;
	}
	mapping->placeholder_count += name->placeholder || name->line_count == 0;
	mapping->fileless_count += !all_files;
	mapping->lineless_count += !all_lines;
	mapping->has_inline_frames |= name->line_count > 1;
}

/* Addresses outside of every module: "[anon]" where nobody knows better. */
static int name_elsewhere(struct writer *writer, uint32_t first, uint32_t count)
{
	const struct hm_resolver *const resolver = &writer->options->resolver;

	for (uint32_t i = first; i < first + count; i++)
		writer->names[i] = (struct hm_location_name){ &anon_line, 1, true };
	if (resolver->resolve_elsewhere == NULL)
		return 0;
	return resolver->resolve_elsewhere(resolver->context, &writer->arena, writer->addresses + first,
					   count, writer->names + first);
}

/* `count` locations from `first` on, which all lie in `mapping`. */
static int name_run(struct writer *writer, struct mapping *mapping, uint32_t first, uint32_t count)
{
	if (mapping->module != NULL)
		return name_module(writer, mapping, first, count);
	if (mapping == anon_mapping(writer))
		return name_elsewhere(writer, first, count);
	return name_ours(writer, first);
}

/* One run of locations after the other; a run is what lies in one mapping, or one address of ours. */
static int name_locations(struct writer *writer)
{
	for (uint32_t first = 0; first < writer->location_count;) {
		struct mapping *const mapping = mapping_of(writer, writer->keys[first]);
		uint32_t count = 1;

		while (first + count < writer->location_count && mapping != made_up_mapping(writer) &&
		       mapping_of(writer, writer->keys[first + count]) == mapping)
			count++;
		const int error = name_run(writer, mapping, first, count);

		if (error != 0)
			return error;
		for (uint32_t i = first; i < first + count; i++)
			note_name(mapping, &writer->names[i]);
		first += count;
	}
	return 0;
}

/* --- Functions ---------------------------------------------------------------------------------------- */

static uint32_t *find_function(const struct writer *writer, const struct function *function)
{
	const uint32_t mask = 2 * writer->function_capacity - 1;
	const uint64_t mixed = ((uint64_t)function->name << 32 | function->file) ^
			       ((uint64_t)function->system_name << 16 | (uint64_t)function->start_line << 40);
	uint32_t slot = (uint32_t)(mixed * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;

	while (writer->function_slots[slot] != 0 &&
	       memcmp(&writer->functions[writer->function_slots[slot] - 1], function, sizeof(*function)) != 0)
		slot = (slot + 1) & mask;
	return &writer->function_slots[slot];
}

static bool grow_functions(struct writer *writer)
{
	const uint32_t capacity =
		writer->function_capacity == 0 ? FUNCTIONS_FIRST : 2 * writer->function_capacity;
	struct function *const functions =
		hm_arena_allocate_array(&writer->arena, capacity, sizeof(*functions));
	uint32_t *const slots = hm_arena_allocate_array(&writer->arena, 2 * (size_t)capacity, sizeof(*slots));

	if (functions == NULL || slots == NULL)
		return false;
	if (writer->function_count > 0)
		memcpy(functions, writer->functions, writer->function_count * sizeof(*functions));
	writer->functions = functions;
	writer->function_slots = slots;
	writer->function_capacity = capacity;
	for (uint32_t i = 0; i < writer->function_count; i++)
		*find_function(writer, &functions[i]) = i + 1;
	return true;
}

/* The id of a line's function, which is new at its first use.  0 where memory ran out. */
static uint64_t function_id(struct writer *writer, const struct hm_line *line)
{
	const struct function function = {
		.name = hm_string_table_index(&writer->strings, line->name),
		.system_name = hm_string_table_index(&writer->strings, line->system_name),
		.file = hm_string_table_index(&writer->strings, line->file != NULL ? line->file : ""),
		.start_line = line->start_line,
	};

	if (writer->function_count == writer->function_capacity && !grow_functions(writer)) {
		writer->error = -ENOMEM;
		return 0;
	}
	uint32_t *const slot = find_function(writer, &function);
	if (*slot == 0) {
		writer->functions[writer->function_count++] = function;
		*slot = writer->function_count;
	}
	return *slot;
}

/* --- The file ----------------------------------------------------------------------------------------- */

/*
 * Writes a part of the profile: a Profile in which only some fields are set, and which fits
 * PACKED_BYTES_FIRST whatever is in it.
 */
static void emit_small(struct writer *writer, const Perftools__Profiles__Profile *part)
{
	if (writer->error != 0)
		return;
	const size_t size_bytes = perftools__profiles__profile__pack(part, writer->packed);

	writer->raw_bytes += size_bytes;
	writer->error = hm_gzip_write(writer->gzip, writer->packed, size_bytes);
}

/* The same for a part of any size. */
static void emit(struct writer *writer, const Perftools__Profiles__Profile *part)
{
	const size_t size_bytes = perftools__profiles__profile__get_packed_size(part);

	if (writer->error != 0)
		return;
	if (size_bytes > writer->packed_capacity_bytes) {
		uint8_t *const larger = hm_arena_allocate(&writer->arena, 2 * size_bytes);

		if (larger == NULL) {
			writer->error = -ENOMEM;
			return;
		}
		writer->packed = larger;
		writer->packed_capacity_bytes = 2 * size_bytes;
	}
	emit_small(writer, part);
}

static void set_value_type(struct writer *writer, Perftools__Profiles__ValueType *ret_type, const char *type,
			   const char *unit)
{
	ret_type->type = hm_string_table_index(&writer->strings, type);
	ret_type->unit = hm_string_table_index(&writer->strings, unit);
}

static void emit_sample_types(struct writer *writer)
{
	static const char *const types[VALUE_COUNT][2] = {
		{ "alloc_objects", "count" },
		{ "alloc_space", "bytes" },
		{ "inuse_objects", "count" },
		{ default_sample_type, "bytes" },
	};

	for (uint32_t i = 0; i < VALUE_COUNT; i++) {
		Perftools__Profiles__ValueType type = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
		Perftools__Profiles__ValueType *one[] = { &type };
		Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

		set_value_type(writer, &type, types[i][0], types[i][1]);
		part.n_sample_type = 1;
		part.sample_type = one;
		emit(writer, &part);
	}
}

/* A stack, or what is of one age of it.  The locations are those of `sample`. */
static void emit_part(struct writer *writer, Perftools__Profiles__Sample *sample,
		      const struct hm_part *values, bool is_mapped)
{
	int64_t list[VALUE_COUNT] = { values->alloc_objects, values->alloc_bytes, values->inuse_objects,
				      values->inuse_bytes };
	Perftools__Profiles__Label kind = PERFTOOLS__PROFILES__LABEL__INIT;
	Perftools__Profiles__Label age = PERFTOOLS__PROFILES__LABEL__INIT;
	Perftools__Profiles__Label *labels[2];
	Perftools__Profiles__Sample *one[] = { sample };
	Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

	sample->n_value = VALUE_COUNT;
	sample->value = list;
	sample->n_label = 0;
	sample->label = labels;
	if (is_mapped) {
		kind.key = hm_string_table_index(&writer->strings, HM_KIND_LABEL);
		kind.str = hm_string_table_index(&writer->strings, HM_KIND_MAPPED);
		labels[sample->n_label++] = &kind;
	}
	if (values->age != HM_AGE_NONE) {
		age.key = hm_string_table_index(&writer->strings, HM_AGE_LABEL);
		age.num = hm_age_seconds[values->age];
		age.num_unit = hm_string_table_index(&writer->strings, HM_AGE_UNIT);
		labels[sample->n_label++] = &age;
	}
	part.n_sample = 1;
	part.sample = one;
	emit_small(writer, &part);
	writer->written.sample_count++;
}

static void emit_samples(struct writer *writer)
{
	/* A varint has at most 10 bytes; tags, lengths and the labels are in the 128. */
	static_assert((FRAMES_MAX + VALUE_COUNT) * 10 + 128 <= PACKED_BYTES_FIRST,
		      "a sample is a small part");

	for (uint32_t i = 0; i < writer->sample_count; i++) {
		uint64_t ids[FRAMES_MAX];
		struct hm_part parts[HM_PARTS_MAX];
		Perftools__Profiles__Sample sample = PERFTOOLS__PROFILES__SAMPLE__INIT;
		const struct sample *const written = &writer->samples[i];
		const uint32_t stack_index = (uint32_t)(written->stack - writer->snapshot->stacks);
		const uint32_t part_count = hm_ages_split(writer->snapshot, stack_index, parts);

		for (uint32_t k = 0; k < written->location_count; k++)
			ids[k] = (uint64_t)written->locations[k] + 1;
		sample.n_location_id = written->location_count;
		sample.location_id = ids;
		for (uint32_t k = 0; k < part_count; k++) {
			if (writer->options->ret_stacks != NULL)
				writer->options->ret_stacks[writer->written.sample_count] = stack_index;
			emit_part(writer, &sample, &parts[k], (written->stack->flags & HM_STACK_MAPPED) != 0);
		}
	}
}

static void emit_mapping(struct writer *writer, struct mapping *mapping, uint64_t id)
{
	const struct hm_snapshot_module *const module = mapping->module;
	char build_id[2 * HM_BUILD_ID_MAX + 1] = "";
	Perftools__Profiles__Mapping message = PERFTOOLS__PROFILES__MAPPING__INIT;
	Perftools__Profiles__Mapping *one[] = { &message };
	Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

	for (uint32_t i = 0; module != NULL && i < module->build_id_size; i++) {
		build_id[2 * i] = "0123456789abcdef"[module->build_id[i] >> 4];
		build_id[2 * i + 1] = "0123456789abcdef"[module->build_id[i] & 0xf];
	}
	mapping->id = id;
	message.id = id;
	message.memory_start = mapping->start_address;
	message.memory_limit = mapping->end_address;
	message.file_offset = module != NULL ? module->file_offset : 0;
	message.filename = hm_string_table_index(&writer->strings, mapping->file);
	message.build_id = hm_string_table_index(&writer->strings, build_id);
	message.has_functions = mapping->location_count > 0 && mapping->placeholder_count == 0;
	message.has_filenames = mapping->location_count > 0 && mapping->fileless_count == 0;
	message.has_line_numbers = mapping->location_count > 0 && mapping->lineless_count == 0;
	message.has_inline_frames = mapping->has_inline_frames && message.has_line_numbers;
	part.n_mapping = 1;
	part.mapping = one;
	emit(writer, &part);
}

/* The executable first, whether or not it is in a stack: readers name the profile after it. */
static void emit_mappings(struct writer *writer)
{
	struct mapping *const first = writer->mappings;
	const bool main_known = writer->module_count > 0 && (first->module->flags & HM_MODULE_MAIN) != 0 &&
				is_absolute(first->file);
	uint64_t id = 0;

	emit_mapping(writer, main_known ? first : executable_mapping(writer), ++id);
	for (struct mapping *mapping = writer->mappings; mapping != executable_mapping(writer); mapping++) {
		if (mapping->location_count > 0 && mapping->id == 0)
			emit_mapping(writer, mapping, ++id);
	}
}

static void emit_location(struct writer *writer, uint32_t index, Perftools__Profiles__Line *lines,
			  Perftools__Profiles__Line **line_pointers)
{
	const struct hm_location_name *const name = &writer->names[index];
	Perftools__Profiles__Location location = PERFTOOLS__PROFILES__LOCATION__INIT;
	Perftools__Profiles__Location *one[] = { &location };
	Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

	for (uint32_t i = 0; i < name->line_count; i++) {
		perftools__profiles__line__init(&lines[i]);
		lines[i].function_id = function_id(writer, &name->lines[i]);
		lines[i].line = name->lines[i].line;
		line_pointers[i] = &lines[i];
	}
	location.id = (uint64_t)index + 1;
	location.mapping_id = mapping_of(writer, writer->keys[index])->id;
	location.address = writer->addresses[index];
	location.n_line = name->line_count;
	location.line = line_pointers;
	part.n_location = 1;
	part.location = one;
	emit(writer, &part);
}

static void emit_locations(struct writer *writer)
{
	uint32_t lines_max = 1;

	for (uint32_t i = 0; i < writer->location_count; i++) {
		if (writer->names[i].line_count > lines_max)
			lines_max = writer->names[i].line_count;
	}
	Perftools__Profiles__Line *const lines =
		hm_arena_allocate_array(&writer->arena, lines_max, sizeof(*lines));
	Perftools__Profiles__Line **const pointers =
		hm_arena_allocate_array(&writer->arena, lines_max, sizeof(*pointers));
	if (lines == NULL || pointers == NULL) {
		writer->error = -ENOMEM;
		return;
	}
	for (uint32_t i = 0; i < writer->location_count && writer->error == 0; i++)
		emit_location(writer, i, lines, pointers);
}

static void emit_functions(struct writer *writer)
{
	for (uint32_t i = 0; i < writer->function_count; i++) {
		const struct function *const function = &writer->functions[i];
		Perftools__Profiles__Function message = PERFTOOLS__PROFILES__FUNCTION__INIT;
		Perftools__Profiles__Function *one[] = { &message };
		Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

		message.id = (uint64_t)i + 1;
		message.name = function->name;
		message.system_name = function->system_name;
		message.filename = function->file;
		message.start_line = function->start_line;
		part.n_function = 1;
		part.function = one;
		emit(writer, &part);
	}
}

/* Packed by protobuf-c as char *, which it does not write to. */
static void emit_strings(struct writer *writer)
{
	for (uint32_t i = 0; i < writer->strings.count; i++) {
		union {
			const char *text;
			char *packed;
		} string = { .text = writer->strings.texts[i] };
		Perftools__Profiles__Profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

		part.n_string_table = 1;
		part.string_table = &string.packed;
		emit(writer, &part);
	}
}

static int64_t clip(uint64_t number)
{
	return number < INT64_MAX ? (int64_t)number : INT64_MAX;
}

/* The single values, which stand behind the string table: their texts are entered into it before it is
 * written. */
static void emit_strings_and_rest(struct writer *writer)
{
	const struct hm_snapshot *const snapshot = writer->snapshot;
	Perftools__Profiles__ValueType period_type = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
	Perftools__Profiles__Profile rest = PERFTOOLS__PROFILES__PROFILE__INIT;

	set_value_type(writer, &period_type, "space", "bytes");
	rest.drop_frames = hm_string_table_index(&writer->strings, drop_frames);
	rest.time_nanos = clip(snapshot->realtime_ns);
	rest.period_type = &period_type;
	rest.period = clip(snapshot->interval_bytes);
	hm_profile_comment_snapshot(snapshot, writer->options->producer, add_comment, writer);
	for (size_t i = 0; i < writer->options->comment_count; i++)
		add_comment(writer, writer->options->comments[i]);
	rest.n_comment = writer->comment_count;
	rest.comment = writer->comments;
	rest.default_sample_type =
		hm_string_table_index(&writer->strings, writer->options->default_sample_type != NULL
								? writer->options->default_sample_type
								: default_sample_type);

	emit_strings(writer);
	emit(writer, &rest);
	if (writer->strings.failed && writer->error == 0)
		writer->error = -ENOMEM;
}

/* Everything that is known before the first byte is written.  Files are opened for names only here. */
static int prepare(struct writer *writer)
{
	const size_t comment_count_max = COMMENTS_OF_OURS_MAX + writer->options->comment_count;

	hm_arena_init(&writer->arena, SIZE_MAX);
	writer->packed = hm_arena_allocate(&writer->arena, PACKED_BYTES_FIRST);
	writer->packed_capacity_bytes = PACKED_BYTES_FIRST;
	writer->comments =
		hm_arena_allocate_array(&writer->arena, comment_count_max, sizeof(*writer->comments));
	hm_string_table_init(&writer->strings, &writer->arena);
	if (writer->packed == NULL || writer->comments == NULL)
		return -ENOMEM;
	int error = order_modules(writer);
	if (error == 0)
		error = choose_samples(writer);
	if (error == 0)
		error = order_locations(writer);
	if (error == 0)
		error = order_samples(writer);
	return error != 0 ? error : name_locations(writer);
}

static int write_prepared(struct writer *writer, const struct hm_sink *sink)
{
	writer->gzip = hm_gzip_open(&writer->arena, sink);
	if (writer->gzip == NULL)
		return -ENOMEM;
	emit_sample_types(writer);
	emit_samples(writer);
	emit_mappings(writer);
	emit_locations(writer);
	emit_functions(writer);
	emit_strings_and_rest(writer);
	return writer->error != 0 ? writer->error : hm_gzip_finish(writer->gzip);
}

/* Says what was written, where something was, and gives everything back. */
static void finish(struct writer *writer, int error, struct hm_profile_written *ret_written)
{
	if (error == 0 && ret_written != NULL) {
		*ret_written = writer->written;
		ret_written->location_count = writer->location_count;
		ret_written->function_count = writer->function_count;
		ret_written->raw_bytes = writer->raw_bytes;
		ret_written->memory_bytes = writer->arena.mapped_bytes;
	}
	hm_arena_done(&writer->arena);
}

int hm_profile_write(const struct hm_snapshot *snapshot, const struct hm_profile_options *options,
		     const struct hm_sink *sink, struct hm_profile_written *ret_written)
{
	struct writer writer = { .snapshot = snapshot, .options = options };
	int error = prepare(&writer);

	if (error == 0)
		error = write_prepared(&writer, sink);
	finish(&writer, error, ret_written);
	return error;
}

static int write_file(struct writer *writer, const char *path, enum hm_output_mode mode)
{
	/* 8 KiB of paths: this may run on a small stack. */
	struct hm_output_file *const file = hm_arena_allocate(&writer->arena, sizeof(*file));
	int error = file == NULL ? -ENOMEM : hm_output_open(path, mode, file);

	if (error != 0)
		return error;
	const struct hm_sink sink = hm_output_sink(file);
	error = write_prepared(writer, &sink);
	if (error == 0)
		return hm_output_commit(file);
	hm_output_abandon(file);
	return error;
}

int hm_profile_write_file(const struct hm_snapshot *snapshot, const struct hm_profile_options *options,
			  const char *path, enum hm_output_mode mode, struct hm_profile_written *ret_written)
{
	struct writer writer = { .snapshot = snapshot, .options = options };
	int error = prepare(&writer);

	/* Only now: the program may have one descriptor left, and the files with the names needed it. */
	if (error == 0)
		error = write_file(&writer, path, mode);
	finish(&writer, error, ret_written);
	return error;
}
