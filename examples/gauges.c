// SPDX-License-Identifier: Apache-2.0
#include "examples/gauges.h"

#include "examples/hmap.h"
#include "preload/heapmark.h"

enum { WRITES_PER_PUBLISH = 1 << 16 };

double overflow_ratio(const struct hmap_stats *stats)
{
	return stats->bucket_count != 0 ? (double)stats->overflow_count / (double)stats->bucket_count : 0;
}

void gauges_publish(const struct hmap_stats *stats)
{
	if (!heapmark_gauge)
		return;
	heapmark_gauge("hashmap/len", (double)stats->len);
	heapmark_gauge("hashmap/bucket_count", (double)stats->bucket_count);
	heapmark_gauge("hashmap/overflow_count", (double)stats->overflow_count);
	heapmark_gauge("hashmap/overflow_ratio", overflow_ratio(stats));
	heapmark_gauge("hashmap/same_size_grows", (double)stats->same_size_grows);
}

bool gauges_are_due(uint64_t write_count)
{
	return write_count % WRITES_PER_PUBLISH == 0;
}

void gauges_publish_map(const struct hmap *map, uint64_t write_count)
{
	struct hmap_stats stats;

	if (!gauges_are_due(write_count))
		return;
	hmap_get_stats(map, &stats);
	gauges_publish(&stats);
}
