// SPDX-License-Identifier: Apache-2.0
/*
 * The structures that `alternatives` measures, each behind the same three functions.
 *
 *	void write(key, value)        inserts, or replaces
 *	bool read(key, &value)        whether it is there
 *	size_t size()                 entries
 *
 * threads_max: as many threads as may write to it at once; safety says why.
 */
#ifndef EXAMPLES_ALTERNATIVES_STRUCTURES_HH
#define EXAMPLES_ALTERNATIVES_STRUCTURES_HH

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory_resource>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <unordered_map>
#include <utility>

#include <absl/container/btree_map.h>
#include <absl/container/flat_hash_map.h>

extern "C" {
#include "examples/hmap.h"
#include "examples/sharded_map.h"
}

enum { SHARDS = 64, MAP_SEED = 8 };

/* Whatever has the interface of std::map. */
template <typename Map> class StandardMap
{
      public:
	static constexpr unsigned threads_max = 1;
	static constexpr const char *safety = "none: readers together, or one writer alone";

	void write(uint64_t key, uint64_t value)
	{
		map_.insert_or_assign(key, value);
	}

	bool read(uint64_t key, uint64_t *ret_value)
	{
		const auto found = map_.find(key);

		if (found == map_.end())
			return false;
		*ret_value = found->second;
		return true;
	}

	size_t size()
	{
		return map_.size();
	}

      protected:
	StandardMap() = default;
	template <typename Allocator> explicit StandardMap(const Allocator &allocator) : map_(allocator)
	{
	}

	Map map_;
};

class RedBlackTree : public StandardMap<std::map<uint64_t, uint64_t>>
{
      public:
	static constexpr const char *name = "rbtree";
	static constexpr const char *title = "`std::map` (red-black tree)";
};

class BTree : public StandardMap<absl::btree_map<uint64_t, uint64_t>>
{
      public:
	static constexpr const char *name = "btree";
	static constexpr const char *title = "`absl::btree_map`";
};

using ArenaHashMap =
	absl::flat_hash_map<uint64_t, uint64_t, absl::Hash<uint64_t>, std::equal_to<uint64_t>,
			    std::pmr::polymorphic_allocator<std::pair<const uint64_t, uint64_t>>>;

/* The arena comes before the map that lives in it. */
class Arena
{
      protected:
	std::pmr::monotonic_buffer_resource arena_;
};

/* An arena takes nothing back before its end: each table that the map has outgrown stays. */
class FlatHashMapInArena : private Arena, public StandardMap<ArenaHashMap>
{
      public:
	static constexpr const char *name = "flat";
	static constexpr const char *title = "`absl::flat_hash_map` in a `monotonic_buffer_resource`";

	FlatHashMapInArena() : StandardMap(ArenaHashMap::allocator_type(&arena_))
	{
	}
};

/* 64 maps, each with a lock; the upper bits of a multiplication choose one. */
class ShardedUnorderedMap
{
      public:
	static constexpr const char *name = "sharded";
	static constexpr const char *title = "64 x `std::unordered_map` with locks";
	static constexpr unsigned threads_max = SHARDS;
	static constexpr const char *safety = "yes: a lock for each of 64 shards";

	void write(uint64_t key, uint64_t value)
	{
		Shard &shard = shard_of(key);
		const std::unique_lock lock(shard.mutex);

		shard.map.insert_or_assign(key, value);
	}

	bool read(uint64_t key, uint64_t *ret_value)
	{
		Shard &shard = shard_of(key);
		const std::shared_lock lock(shard.mutex);
		const auto found = shard.map.find(key);

		if (found == shard.map.end())
			return false;
		*ret_value = found->second;
		return true;
	}

	size_t size()
	{
		size_t sum = 0;

		for (Shard &shard : shards_) {
			const std::shared_lock lock(shard.mutex);
			sum += shard.map.size();
		}
		return sum;
	}

      private:
	struct Shard {
		std::shared_mutex mutex;
		std::unordered_map<uint64_t, uint64_t> map;
	};

	Shard &shard_of(uint64_t key)
	{
		return shards_[(key * 0x9e3779b97f4a7c15) >> 58]; /* 6 bits: 64 shards */
	}

	std::array<Shard, SHARDS> shards_;
};

/* The map of this folder. */
class GoMap
{
      public:
	static constexpr const char *name = "hmap";
	static constexpr const char *title = "`hmap` (the map of Go 1.19)";
	static constexpr unsigned threads_max = 1;
	static constexpr const char *safety = "none: readers together, or one writer alone";

	GoMap() : map_(hmap_create(MAP_SEED))
	{
		if (map_ == nullptr)
			throw std::bad_alloc();
	}

	~GoMap()
	{
		hmap_free(map_);
	}

	GoMap(const GoMap &) = delete;
	GoMap &operator=(const GoMap &) = delete;

	void write(uint64_t key, uint64_t value)
	{
		if (hmap_insert(map_, key, value) != 0)
			throw std::bad_alloc();
	}

	bool read(uint64_t key, uint64_t *ret_value)
	{
		return hmap_get(map_, key, ret_value);
	}

	size_t size()
	{
		return hmap_len(map_);
	}

      private:
	struct hmap *map_; /* owned */
};

class ShardedGoMap
{
      public:
	static constexpr const char *name = "sharded-hmap";
	static constexpr const char *title = "64 x `hmap` with locks";
	static constexpr unsigned threads_max = SHARDS;
	static constexpr const char *safety = "yes: a lock for each of 64 shards, checked by clang";

	ShardedGoMap() : map_(sharded_map_create(MAP_SEED, SHARDS))
	{
		if (map_ == nullptr)
			throw std::bad_alloc();
	}

	~ShardedGoMap()
	{
		sharded_map_free(map_);
	}

	ShardedGoMap(const ShardedGoMap &) = delete;
	ShardedGoMap &operator=(const ShardedGoMap &) = delete;

	void write(uint64_t key, uint64_t value)
	{
		if (sharded_map_insert(map_, key, value) != 0)
			throw std::bad_alloc();
	}

	bool read(uint64_t key, uint64_t *ret_value)
	{
		return sharded_map_get(map_, key, ret_value);
	}

	size_t size()
	{
		struct hmap_stats stats;

		sharded_map_get_stats(map_, &stats);
		return stats.len;
	}

      private:
	struct sharded_map *map_; /* owned */
};

#endif
