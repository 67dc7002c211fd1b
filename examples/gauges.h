// SPDX-License-Identifier: Apache-2.0
/*
 * What a map tells a profiler that is there; without one, nothing happens.
 *
 * hashmap/len, hashmap/bucket_count, hashmap/overflow_count, hashmap/overflow_ratio, hashmap/same_size_grows.
 */
#ifndef EXAMPLES_GAUGES_H
#define EXAMPLES_GAUGES_H

#include <stdbool.h>
#include <stdint.h>

struct hmap;
struct hmap_stats;

/* Overflow buckets to a bucket; 0 where there are no buckets. */
double overflow_ratio(const struct hmap_stats *stats);

void gauges_publish(const struct hmap_stats *stats);

/* For loads that count their writes: whether it is time to publish, a few hundred times a second. */
bool gauges_are_due(uint64_t write_count);

/* Publishes the figures of `map` if they are due. */
void gauges_publish_map(const struct hmap *map, uint64_t write_count);

#endif
