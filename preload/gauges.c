// SPDX-License-Identifier: Apache-2.0
#include "preload/gauges.h"

#include "preload/float.h"
#include "preload/ledger_file.h"
#include "preload/sandbox.h"

#include <stdbool.h>
#include <string.h>

enum gauge_state { GAUGE_FREE, GAUGE_BEING_WRITTEN, GAUGE_PUBLISHED };

/* The gauge of that name, or NULL where this slot holds another. */
static struct hm_ledger_gauge *claim_or_match(struct hm_ledger_gauge *gauge, const char *name,
					      size_t name_length)
{
	/* acquire [gauge.publish] */
	uint32_t state = atomic_load_explicit(&gauge->state, memory_order_acquire);

	if (state == GAUGE_FREE &&
	    atomic_compare_exchange_strong_explicit(&gauge->state, &state, GAUGE_BEING_WRITTEN,
						    memory_order_acquire, memory_order_acquire)) {
		memcpy(gauge->name, name, name_length);
		/* release [gauge.publish] */
		atomic_store_explicit(&gauge->state, GAUGE_PUBLISHED, memory_order_release);
		return gauge;
	}
	/* Another thread is copying its name, a few instructions: it may be ours. */
	while (state == GAUGE_BEING_WRITTEN) {
		hm_sandbox_yield();
		state = atomic_load_explicit(&gauge->state, memory_order_acquire);
	}
	return strcmp(gauge->name, name) == 0 ? gauge : NULL;
}

void hm_gauge_set(const struct hm_ledger_file *ledger, const char *name, double value)
{
	struct hm_ledger_gauge *const gauges = hm_ledger_header(ledger)->gauges;
	const size_t name_length = strlen(name);

	for (uint32_t index = 0; index < HM_GAUGES_MAX && name_length > 0 && name_length < HM_GAUGE_NAME_MAX;
	     index++) {
		struct hm_ledger_gauge *const gauge = claim_or_match(&gauges[index], name, name_length);

		if (gauge != NULL) {
			/* relaxed: one number by itself */
			atomic_store_explicit(&gauge->value, hm_float_bits(value), memory_order_relaxed);
			return;
		}
	}
	hm_ledger_lose(ledger, HM_LOSS_GAUGES);
}
