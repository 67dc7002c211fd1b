// SPDX-License-Identifier: Apache-2.0
#include "preload/probes.h"

#define _SDT_HAS_SEMAPHORES 1 /* of <sys/sdt.h>: the notes name PROVIDER_PROBE_semaphore */
#include <sys/sdt.h>

/* Where tracers look for them; the names are made of provider and probe by <sys/sdt.h>. */
__attribute__((section(".probes"))) _Atomic uint16_t otel_memory_alloc_semaphore;
__attribute__((section(".probes"))) _Atomic uint16_t otel_memory_free_semaphore;

/* Called from other files only, so neither inlined nor given other registers. */
HM_NOINLINE void hm_probe_alloc_site(uint64_t address, uint64_t size_bytes, uint64_t weight_bytes)
{
	STAP_PROBE3(otel_memory, alloc, address, size_bytes, weight_bytes);
}

HM_NOINLINE void hm_probe_free_site(uint64_t address)
{
	STAP_PROBE1(otel_memory, free, address);
}
