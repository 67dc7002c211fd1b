// SPDX-License-Identifier: Apache-2.0
/*
 * How the map works
 * =================
 *
 * Two maps, of keys to entries.  An entry is a word with the value, shared by both:
 *
 *	read   { a  b  c }        found without a lock; no key is ever added or removed
 *	          \  \  \
 *	           e  e  e        entries
 *	          /  /  /
 *	dirty  { a  b  c  d }     under the mutex; there are keys that only it has: `amended`
 *
 * A new key goes into the dirty map.  Where there is none, one is made first: a copy of the read map without
 * the deleted keys, which costs time and memory in proportion to all keys.
 *
 * A load that does not find its key in the read map has to look in the dirty one, under the mutex: a miss.
 * When there have been as many misses as the dirty map has keys, what they cost has paid for a copy: the
 * dirty map becomes the read map (promotion), and there is no dirty map until the next new key.
 *
 * What becomes of an entry:
 *
 *	           store                           copying to a new dirty map
 *	 value  <---------->  DELETED  ------------------------------------------>  EXPUNGED
 *	           delete                                                              |
 *	                         <-----------------------------------------------------+
 *	                                    store: put into the dirty map as well
 *
 * A deleted key of the read map keeps its entry, as DELETED.  The copy leaves it out, and EXPUNGED says so:
 * who stores to it again must put it into the dirty map, or the promotion would lose it.
 *
 * Memory.  Go leaves to its collector what is replaced.  Here the old read map and the entries that nobody
 * else has (EXPUNGED: exactly those) are freed after the promotion, when no reader holds them any more.  An
 * entry that only the dirty map has is used under the mutex alone, and freed when its key is deleted.
 */
#include "examples/syncmap.h"

#include "examples/mutex.h"
#include "examples/readers.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

static const uint64_t DELETED = UINT64_MAX;
static const uint64_t EXPUNGED = UINT64_MAX - 1;

struct entry {
	_Atomic uint64_t value; /* up to SYNCMAP_VALUE_MAX, or DELETED, or EXPUNGED */
};

struct read_map {
	struct hmap *map;    /* owned, and so are the entries in it; no key comes or goes */
	atomic_bool amended; /* the dirty map has keys that this one has not; set under the mutex */
};

struct syncmap {
	_Atomic(struct read_map *) read; /* owned; replaced under the mutex */

	/* Under the mutex, from here on. */
	struct mutex mutex;
	struct hmap *dirty; /* owned, with those of its entries that are not in read; NULL: there is none */
	uint64_t misses;    /* loads that went to the dirty map since it was made */
	uint64_t seed;      /* of the next map */
	uint64_t promotions;
	uint64_t copied_entries;
	uint64_t entries_created;
	uint64_t entries_freed;
	uint64_t read_maps_created;
	uint64_t freed_allocated_bytes; /* what the maps that were freed have asked of malloc */

	_Atomic uint64_t len;
};

/*
 * Entries.  All loads and stores of values are acquire and release: [syncmap.value], whoever loads a value
 * sees what its writer had done before.
 */

static struct entry *entry_from_map(uint64_t stored)
{
	return (struct entry *)(uintptr_t)stored;
}

static uint64_t entry_to_map(const struct entry *entry)
{
	return (uint64_t)(uintptr_t)entry;
}

static struct entry *find_entry(const struct hmap *map, uint64_t key)
{
	uint64_t stored;

	return hmap_get(map, key, &stored) ? entry_from_map(stored) : NULL;
}

static bool entry_load(struct entry *entry, uint64_t *ret_value)
{
	const uint64_t value = atomic_load_explicit(&entry->value, memory_order_acquire);

	if (value > SYNCMAP_VALUE_MAX)
		return false;
	*ret_value = value;
	return true;
}

/* Fails where the entry is expunged. */
static bool entry_store(struct syncmap *map, struct entry *entry, uint64_t value)
{
	uint64_t before = atomic_load_explicit(&entry->value, memory_order_acquire);

	do {
		if (before == EXPUNGED)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&entry->value, &before, value, memory_order_acq_rel,
							memory_order_acquire));
	if (before == DELETED)
		atomic_fetch_add_explicit(&map->len, 1, memory_order_relaxed); /* relaxed: a statistic */
	return true;
}

/* Returns whether there was a value. */
static bool entry_delete(struct syncmap *map, struct entry *entry)
{
	uint64_t before = atomic_load_explicit(&entry->value, memory_order_acquire);

	do {
		if (before > SYNCMAP_VALUE_MAX)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&entry->value, &before, DELETED, memory_order_acq_rel,
							memory_order_acquire));
	atomic_fetch_sub_explicit(&map->len, 1, memory_order_relaxed); /* relaxed: a statistic */
	return true;
}

/* Turns DELETED into EXPUNGED.  Returns whether the entry is expunged. */
static bool entry_expunge(struct entry *entry)
{
	uint64_t before = DELETED;

	atomic_compare_exchange_strong_explicit(&entry->value, &before, EXPUNGED, memory_order_acq_rel,
						memory_order_acquire);
	return before == DELETED || before == EXPUNGED;
}

static bool entry_is_expunged(struct entry *entry)
{
	return atomic_load_explicit(&entry->value, memory_order_acquire) == EXPUNGED;
}

/* Under the mutex, which every change from EXPUNGED to something else needs. */
static void entry_unexpunge(struct entry *entry)
{
	uint64_t before = EXPUNGED;

	atomic_compare_exchange_strong_explicit(&entry->value, &before, DELETED, memory_order_acq_rel,
						memory_order_acquire);
}

static struct entry *entry_create(struct syncmap *map, uint64_t value) REQUIRES(&map->mutex)
{
	struct entry *entry = malloc(sizeof(*entry));

	if (entry == NULL)
		return NULL;
	atomic_init(&entry->value, value);
	map->entries_created++;
	return entry;
}

static void entry_free(struct syncmap *map, struct entry *entry) REQUIRES(&map->mutex)
{
	free(entry);
	map->entries_freed++;
}

/*
 * The two maps
 */

static struct read_map *current_read(const struct syncmap *map)
{
	/* [syncmap.read] pairs with [syncmap.promote]: whoever has the pointer sees the whole map. */
	return atomic_load_explicit(&map->read, memory_order_acquire);
}

static bool is_amended(struct read_map *read)
{
	/* relaxed: who finds it set looks again under the mutex, and who does not has missed a key that was
	 * stored at the same time. */
	return atomic_load_explicit(&read->amended, memory_order_relaxed);
}

static void set_amended(struct read_map *read)
{
	/* relaxed: the key that makes it so is found under the mutex, by those who find this set */
	atomic_store_explicit(&read->amended, true, memory_order_relaxed);
}

static struct read_map *read_map_create(struct hmap *map)
{
	struct read_map *read = malloc(sizeof(*read));

	if (read == NULL)
		return NULL;
	read->map = map;
	atomic_init(&read->amended, false);
	return read;
}

static void drop_map(struct syncmap *map, struct hmap *dropped) REQUIRES(&map->mutex)
{
	struct hmap_stats stats;

	hmap_get_stats(dropped, &stats);
	map->freed_allocated_bytes += stats.allocated_bytes;
	hmap_free(dropped);
}

/* No reader holds `old` any more.  Its expunged entries are in no other map. */
static void free_replaced(struct syncmap *map, struct read_map *old) REQUIRES(&map->mutex)
{
	struct hmap_iter iter;

	hmap_iter_init(&iter, old->map);
	while (hmap_iter_next(&iter)) {
		if (entry_is_expunged(entry_from_map(iter.value)))
			entry_free(map, entry_from_map(iter.value));
	}
	hmap_iter_done(&iter);
	drop_map(map, old->map);
	free(old);
}

static void promote(struct syncmap *map) REQUIRES(&map->mutex)
{
	struct read_map *read = read_map_create(map->dirty);

	if (read == NULL) /* the next miss tries again */
		return;

	/* [syncmap.promote] pairs with [syncmap.read] */
	struct read_map *old = atomic_exchange_explicit(&map->read, read, memory_order_acq_rel);
	map->dirty = NULL;
	map->misses = 0;
	map->promotions++;
	map->read_maps_created++;
	readers_wait();
	free_replaced(map, old);
}

static void count_miss(struct syncmap *map) REQUIRES(&map->mutex)
{
	map->misses++;
	if (map->misses >= hmap_len(map->dirty))
		promote(map);
}

/* Undoes the expunging of a copy that could not be finished. */
static void unexpunge_all(struct hmap *read_map)
{
	struct hmap_iter iter;

	hmap_iter_init(&iter, read_map);
	while (hmap_iter_next(&iter))
		entry_unexpunge(entry_from_map(iter.value));
	hmap_iter_done(&iter);
}

/* Makes the dirty map: a copy of the read map without its deleted keys. */
static int make_dirty(struct syncmap *map) REQUIRES(&map->mutex)
{
	struct hmap *read_map = current_read(map)->map;
	struct hmap *dirty = hmap_create_for(map->seed, hmap_len(read_map));
	struct hmap_iter iter;
	int error = dirty != NULL ? 0 : -ENOMEM;

	if (error != 0)
		return error;
	hmap_iter_init(&iter, read_map);
	while (error == 0 && hmap_iter_next(&iter)) {
		if (!entry_expunge(entry_from_map(iter.value)))
			error = hmap_insert(dirty, iter.key, iter.value);
	}
	hmap_iter_done(&iter);
	if (error != 0) {
		unexpunge_all(read_map);
		drop_map(map, dirty);
		return error;
	}
	map->seed++;
	map->copied_entries += hmap_len(dirty);
	map->dirty = dirty;
	return 0;
}

/*
 * What everybody calls
 */

struct syncmap *syncmap_create(uint64_t seed)
{
	struct syncmap *map = calloc(1, sizeof(*map));
	struct hmap *nothing = hmap_create(seed);
	struct read_map *read = nothing != NULL ? read_map_create(nothing) : NULL;

	if (map == NULL || read == NULL) {
		free(read);
		hmap_free(nothing);
		free(map);
		return NULL;
	}
	mutex_init(&map->mutex);
	map->seed = seed + 1;
	map->read_maps_created = 1;
	atomic_init(&map->read, read);
	return map;
}

/* Frees the entries of `freed` that are not in `other`, which may be NULL. */
static void free_entries(struct hmap *freed, const struct hmap *other)
{
	struct hmap_iter iter;

	hmap_iter_init(&iter, freed);
	while (hmap_iter_next(&iter)) {
		if (other == NULL || find_entry(other, iter.key) == NULL)
			free(entry_from_map(iter.value));
	}
	hmap_iter_done(&iter);
}

void syncmap_free(struct syncmap *map)
{
	if (map == NULL)
		return;

	struct read_map *read = current_read(map);
	if (map->dirty != NULL)
		free_entries(map->dirty, read->map);
	free_entries(read->map, NULL);
	hmap_free(map->dirty);
	hmap_free(read->map);
	free(read);
	mutex_destroy(&map->mutex);
	free(map);
}

static bool store_in_read(struct syncmap *map, uint64_t key, uint64_t value)
{
	readers_begin();
	struct entry *entry = find_entry(current_read(map)->map, key);
	const bool stored = entry != NULL && entry_store(map, entry, value);
	readers_end();
	return stored;
}

/* A key that neither map has. */
static int store_new(struct syncmap *map, uint64_t key, uint64_t value) REQUIRES(&map->mutex)
{
	const int error = map->dirty == NULL ? make_dirty(map) : 0;

	if (error != 0)
		return error;
	/* Set also if what follows fails: there is a dirty map now, and it is promoted only by misses. */
	set_amended(current_read(map));

	struct entry *entry = entry_create(map, value);
	if (entry == NULL)
		return -ENOMEM;
	if (hmap_insert(map->dirty, key, entry_to_map(entry)) != 0) {
		entry_free(map, entry);
		return -ENOMEM;
	}
	atomic_fetch_add_explicit(&map->len, 1, memory_order_relaxed); /* relaxed: a statistic */
	return 0;
}

/* Whatever store_in_read could not do. */
static int store_locked(struct syncmap *map, uint64_t key, uint64_t value) REQUIRES(&map->mutex)
{
	struct entry *entry = find_entry(current_read(map)->map, key);

	if (entry != NULL && entry_is_expunged(entry)) {
		const int error = hmap_insert(map->dirty, key, entry_to_map(entry));

		if (error != 0)
			return error;
		entry_unexpunge(entry);
	}
	if (entry == NULL && map->dirty != NULL)
		entry = find_entry(map->dirty, key);
	if (entry == NULL)
		return store_new(map, key, value);

	const bool stored = entry_store(map, entry, value);
	assert(stored); /* expunging needs the mutex */
	(void)stored;
	return 0;
}

int syncmap_store(struct syncmap *map, uint64_t key, uint64_t value)
{
	if (value > SYNCMAP_VALUE_MAX)
		return -EINVAL;
	if (store_in_read(map, key, value))
		return 0;
	mutex_lock(&map->mutex);
	const int error = store_locked(map, key, value);
	mutex_unlock(&map->mutex);
	return error;
}

/* Of a key that the read map did not have a moment ago.  A promotion may have come between. */
static bool load_locked(struct syncmap *map, uint64_t key, uint64_t *ret_value) REQUIRES(&map->mutex)
{
	struct entry *entry = find_entry(current_read(map)->map, key);

	if (entry != NULL)
		return entry_load(entry, ret_value);
	if (map->dirty == NULL)
		return false;
	entry = find_entry(map->dirty, key);

	const bool found = entry != NULL && entry_load(entry, ret_value);
	count_miss(map);
	return found;
}

bool syncmap_load(struct syncmap *map, uint64_t key, uint64_t *ret_value)
{
	readers_begin();
	struct read_map *read = current_read(map);
	struct entry *entry = find_entry(read->map, key);
	const bool in_dirty = entry == NULL && is_amended(read);
	bool found = entry != NULL && entry_load(entry, ret_value);
	readers_end();

	if (in_dirty) {
		mutex_lock(&map->mutex);
		found = load_locked(map, key, ret_value);
		mutex_unlock(&map->mutex);
	}
	return found;
}

static bool delete_locked(struct syncmap *map, uint64_t key) REQUIRES(&map->mutex)
{
	struct entry *entry = find_entry(current_read(map)->map, key);

	if (entry != NULL)
		return entry_delete(map, entry);
	if (map->dirty == NULL)
		return false;
	entry = find_entry(map->dirty, key);

	const bool deleted = entry != NULL && entry_delete(map, entry);
	if (entry != NULL) {
		hmap_delete(map->dirty, key);
		entry_free(map, entry);
	}
	count_miss(map);
	return deleted;
}

bool syncmap_delete(struct syncmap *map, uint64_t key)
{
	readers_begin();
	struct read_map *read = current_read(map);
	struct entry *entry = find_entry(read->map, key);
	const bool in_dirty = entry == NULL && is_amended(read);
	bool deleted = entry != NULL && entry_delete(map, entry);
	readers_end();

	if (in_dirty) {
		mutex_lock(&map->mutex);
		deleted = delete_locked(map, key);
		mutex_unlock(&map->mutex);
	}
	return deleted;
}

void syncmap_get_stats(struct syncmap *map, struct syncmap_stats *ret_stats)
{
	struct syncmap_stats stats = { 0 };
	struct hmap_stats dirty = { 0 };

	mutex_lock(&map->mutex);
	hmap_get_stats(current_read(map)->map, &stats.maps);
	stats.read_len = stats.maps.len;
	if (map->dirty != NULL)
		hmap_get_stats(map->dirty, &dirty);
	stats.dirty_len = dirty.len;
	hmap_stats_add(&stats.maps, &dirty);
	stats.len = atomic_load_explicit(&map->len, memory_order_relaxed); /* relaxed: a statistic */
	stats.maps.len = stats.len;
	stats.promotions = map->promotions;
	stats.copied_entries = map->copied_entries;
	stats.bytes = sizeof(*map) + sizeof(struct read_map) + stats.maps.bytes +
		      (map->entries_created - map->entries_freed) * sizeof(struct entry);
	stats.allocated_bytes = sizeof(*map) + map->read_maps_created * sizeof(struct read_map) +
				stats.maps.allocated_bytes + map->freed_allocated_bytes +
				map->entries_created * sizeof(struct entry);
	mutex_unlock(&map->mutex);
	*ret_stats = stats;
}

static const char *check_locked(struct syncmap *map) REQUIRES(&map->mutex)
{
	struct read_map *read = current_read(map);
	const char *wrong = hmap_check(read->map);
	struct hmap_iter iter;
	uint64_t expunged = 0;
	uint64_t shared = 0;
	uint64_t len = 0;
	uint64_t value;

	if (wrong == NULL && map->dirty != NULL)
		wrong = hmap_check(map->dirty);
	if (wrong != NULL)
		return wrong;
	if (is_amended(read) != (map->dirty != NULL))
		return "the read map is amended by no dirty map, or not by the one there is";
	hmap_iter_init(&iter, read->map);
	while (hmap_iter_next(&iter)) {
		struct entry *entry = entry_from_map(iter.value);

		expunged += entry_is_expunged(entry);
		shared += map->dirty != NULL && find_entry(map->dirty, iter.key) == entry;
		len += map->dirty == NULL && entry_load(entry, &value);
	}
	hmap_iter_done(&iter);
	if (map->dirty != NULL) {
		hmap_iter_init(&iter, map->dirty);
		while (hmap_iter_next(&iter))
			len += entry_load(entry_from_map(iter.value), &value);
		hmap_iter_done(&iter);
	}

	const uint64_t dirty_only = map->dirty != NULL ? hmap_len(map->dirty) - shared : 0;
	if (len != atomic_load_explicit(&map->len, memory_order_relaxed)) /* relaxed: nobody writes */
		return "there are not as many values as len says";
	if (map->dirty == NULL && expunged != 0)
		return "an entry is expunged, and from no dirty map";
	if (map->dirty != NULL && shared + expunged != hmap_len(read->map))
		return "an entry of the read map is neither in the dirty map nor expunged";
	if (map->entries_created - map->entries_freed != hmap_len(read->map) + dirty_only)
		return "there are entries in neither map";
	return NULL;
}

const char *syncmap_check(struct syncmap *map)
{
	mutex_lock(&map->mutex);
	const char *wrong = check_locked(map);
	mutex_unlock(&map->mutex);
	return wrong;
}
