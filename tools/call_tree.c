// SPDX-License-Identifier: Apache-2.0
#include "tools/call_tree.h"

#include "tools/frame_name.h"
#include "tools/prune.h"

#include <stdlib.h>
#include <string.h>

enum {
	FIRST_ROOM = 1024,
	NAME_UNKNOWN = UINT32_MAX, /* not looked up yet */
};

/* Numbers by hash; 0 is no number.  A power of two of slots, at least half of them empty. */
struct index {
	uint32_t *slots; /* owned */
	uint32_t slot_count;
};

struct building {
	struct hm_call_tree tree;
	const struct hm_profile *profile; /* borrowed */
	struct index node_index;          /* node + 1 by parent and name */
	struct index name_index;          /* name + 1 by text */
	uint32_t *function_names;         /* owned; of each function, or NAME_UNKNOWN */
	uint32_t *mapping_names;          /* owned; of each mapping, and behind them of none */
	uint32_t node_room;
	uint32_t name_room;
};

static void *must(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

/* FNV-1a, 64 bits. */
static uint64_t hash_text(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash;
}

/* The finalizer of splitmix64: every bit of a pair changes half of the bits of the hash. */
static uint64_t hash_pair(uint32_t parent, uint32_t name)
{
	uint64_t hash = (uint64_t)parent << 32 | name;

	hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
	return hash ^ hash >> 31;
}

static uint32_t *find_name_slot(const struct building *building, const char *text)
{
	const struct index *const index = &building->name_index;
	uint32_t slot = (uint32_t)hash_text(text) & (index->slot_count - 1);

	while (index->slots[slot] != 0 && strcmp(building->tree.names[index->slots[slot] - 1], text) != 0)
		slot = (slot + 1) & (index->slot_count - 1);
	return &index->slots[slot];
}

static uint32_t *find_node_slot(const struct building *building, uint32_t parent, uint32_t name)
{
	const struct index *const index = &building->node_index;
	uint32_t slot = (uint32_t)hash_pair(parent, name) & (index->slot_count - 1);

	for (; index->slots[slot] != 0; slot = (slot + 1) & (index->slot_count - 1)) {
		const struct hm_call_node *const node = &building->tree.nodes[index->slots[slot] - 1];

		if (node->parent == parent && node->name == name)
			break;
	}
	return &index->slots[slot];
}

static void index_reset(struct index *index, uint32_t room)
{
	free(index->slots);
	index->slot_count = 2 * room;
	index->slots = must(calloc(index->slot_count, sizeof(index->slots[0])));
}

static void make_room_for_names(struct building *building)
{
	struct hm_call_tree *const tree = &building->tree;

	building->name_room = building->name_room > 0 ? 2 * building->name_room : FIRST_ROOM;
	tree->names = must(reallocarray(tree->names, building->name_room, sizeof(char *)));
	index_reset(&building->name_index, building->name_room);
	for (uint32_t i = 0; i < tree->name_count; i++)
		*find_name_slot(building, tree->names[i]) = i + 1;
}

static void make_room_for_nodes(struct building *building)
{
	struct hm_call_tree *const tree = &building->tree;

	building->node_room = building->node_room > 0 ? 2 * building->node_room : FIRST_ROOM;
	tree->nodes = must(reallocarray(tree->nodes, building->node_room, sizeof(tree->nodes[0])));
	index_reset(&building->node_index, building->node_room);
	/* the root is nobody's child */
	for (uint32_t i = HM_CALL_ROOT + 1; i < tree->node_count; i++)
		*find_node_slot(building, tree->nodes[i].parent, tree->nodes[i].name) = i + 1;
}

/* Takes over `text`. */
static uint32_t intern_name(struct building *building, char *text)
{
	struct hm_call_tree *const tree = &building->tree;

	if (tree->name_count == building->name_room)
		make_room_for_names(building);

	uint32_t *const slot = find_name_slot(building, text);

	if (*slot != 0) {
		free(text);
	} else {
		tree->names[tree->name_count] = text;
		*slot = ++tree->name_count;
	}
	return *slot - 1;
}

static uint32_t name_of_mapping(struct building *building, uint32_t mapping)
{
	const uint32_t place = mapping != HM_PROFILE_NONE ? mapping : building->profile->mapping_count;

	if (building->mapping_names[place] == NAME_UNKNOWN)
		building->mapping_names[place] =
			intern_name(building, hm_frame_module_name(building->profile, mapping));
	return building->mapping_names[place];
}

static uint32_t name_of_line(struct building *building, const struct hm_profile_location *location,
			     uint32_t line)
{
	const uint32_t function =
		line < location->line_count ? location->lines[line].function : HM_PROFILE_NONE;

	if (function == HM_PROFILE_NONE)
		return name_of_mapping(building, location->mapping);

	const char *const text =
		hm_profile_string(building->profile, building->profile->functions[function].name);

	if (text[0] == '\0')
		return name_of_mapping(building, location->mapping);
	if (building->function_names[function] == NAME_UNKNOWN)
		building->function_names[function] =
			intern_name(building, must(strndup(text, HM_FRAME_NAME_BYTES_MAX)));
	return building->function_names[function];
}

/* The child of that name, made where it is new; the parent itself where there is no room for another. */
static uint32_t child_of(struct building *building, uint32_t parent, uint32_t name, uint32_t mapping)
{
	struct hm_call_tree *const tree = &building->tree;

	if (tree->node_count == building->node_room && tree->node_count < HM_CALL_NODES_MAX)
		make_room_for_nodes(building);

	uint32_t *const slot = find_node_slot(building, parent, name);

	if (*slot == 0) {
		if (tree->node_count == HM_CALL_NODES_MAX)
			return parent;
		tree->nodes[tree->node_count] = (struct hm_call_node){
			.name = name,
			.mapping = mapping,
			.parent = parent,
			.depth = tree->nodes[parent].depth + 1,
		};
		*slot = ++tree->node_count;
	}
	return *slot - 1;
}

/* The nodes of a location's lines, outermost first.  Returns the innermost; *cut is set where one is missing.
 */
static uint32_t follow_location(struct building *building, uint32_t node, uint32_t location_index,
				uint32_t first_line, const struct hm_view_figures *figures, bool *cut)
{
	const struct hm_profile_location *const location = &building->profile->locations[location_index];
	uint32_t line = location->line_count > first_line ? location->line_count : first_line + 1;

	for (; line > first_line && !*cut; line--) {
		const uint32_t name = name_of_line(building, location, line - 1);
		const uint32_t child = building->tree.nodes[node].depth < HM_CALL_DEPTH_MAX
					       ? child_of(building, node, name, location->mapping)
					       : node;

		*cut = child == node;
		node = child;
		if (!*cut)
			hm_view_add(&building->tree.nodes[node].figures, figures);
	}
	return node;
}

static void add_sample(struct building *building, const struct hm_profile_sample *sample,
		       const struct hm_view_figures *figures, const struct hm_prune *prune)
{
	const uint32_t innermost = hm_prune_innermost(prune, building->profile, sample);
	uint32_t node = HM_CALL_ROOT;
	bool cut = false;

	hm_view_add(&building->tree.nodes[HM_CALL_ROOT].figures, figures);
	for (uint32_t place = sample->location_count; place > innermost && !cut; place--) {
		const uint32_t location = sample->locations[place - 1];

		if (location != HM_PROFILE_NONE)
			node = follow_location(building, node, location,
					       hm_prune_first_line(prune, building->profile, location),
					       figures, &cut);
	}
	building->tree.cut_count += cut;
}

struct order {
	const struct hm_call_tree *tree; /* borrowed */
	bool by_alloc;
};

static int compare_nodes(const void *a, const void *b, void *context)
{
	const struct order *const order = context;
	const struct hm_call_node *const left = &order->tree->nodes[*(const uint32_t *)a];
	const struct hm_call_node *const right = &order->tree->nodes[*(const uint32_t *)b];
	const double left_bytes = order->by_alloc ? left->figures.alloc_bytes : left->figures.inuse_bytes;
	const double right_bytes = order->by_alloc ? right->figures.alloc_bytes : right->figures.inuse_bytes;

	if (left->parent != right->parent)
		return left->parent < right->parent ? -1 : 1;
	if (left_bytes != right_bytes)
		return left_bytes < right_bytes ? 1 : -1;
	return strcmp(order->tree->names[left->name], order->tree->names[right->name]);
}

static void sort_children(struct hm_call_tree *tree, bool by_alloc)
{
	struct order order = { .tree = tree, .by_alloc = by_alloc };
	const uint32_t child_count = tree->node_count - 1; /* all but the root */

	tree->children = must(calloc((size_t)child_count + 1, sizeof(tree->children[0])));
	for (uint32_t i = 0; i < child_count; i++)
		tree->children[i] = i + 1;
	qsort_r(tree->children, child_count, sizeof(tree->children[0]), compare_nodes, &order);
	for (uint32_t i = child_count; i > 0; i--) {
		struct hm_call_node *const parent = &tree->nodes[tree->nodes[tree->children[i - 1]].parent];

		parent->first_child = i - 1;
		parent->child_count++;
	}
}

static uint32_t *make_names(uint32_t count)
{
	uint32_t *const names = must(calloc((size_t)count + 1, sizeof(names[0])));

	for (uint32_t i = 0; i <= count; i++)
		names[i] = NAME_UNKNOWN;
	return names;
}

int hm_call_tree_build(const struct hm_view *view, bool by_alloc, struct hm_call_tree *ret_tree)
{
	struct building building = {
		.profile = &view->profile,
		.function_names = make_names(view->profile.function_count),
		.mapping_names = make_names(view->profile.mapping_count),
	};
	struct hm_prune prune;
	const int error = hm_prune_init(&view->profile, &view->profile, &prune);

	make_room_for_nodes(&building);
	building.tree.nodes[HM_CALL_ROOT] = (struct hm_call_node){
		.name = intern_name(&building, must(strdup("all"))),
		.mapping = HM_PROFILE_NONE,
	};
	building.tree.node_count = 1;
	for (uint32_t i = 0; i < view->profile.sample_count; i++)
		add_sample(&building, &view->profile.samples[i], &view->samples[i], &prune);
	sort_children(&building.tree, by_alloc);
	hm_prune_done(&prune);
	free(building.node_index.slots);
	free(building.name_index.slots);
	free(building.function_names);
	free(building.mapping_names);
	*ret_tree = building.tree;
	return error;
}

void hm_call_tree_done(struct hm_call_tree *tree)
{
	for (uint32_t i = 0; i < tree->name_count; i++)
		free(tree->names[i]);
	free(tree->names);
	free(tree->nodes);
	free(tree->children);
	*tree = (struct hm_call_tree){ 0 };
}
