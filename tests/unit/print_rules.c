// SPDX-License-Identifier: Apache-2.0
/*
 * print_rules OBJECT: loads an object, reads addresses in it from standard input, in hexadecimal and counted
 * from its load bias, and prints the rule of each: its kind, what the CFA is counted from, two offsets.
 */
#include "preload/unwinder.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>

int main(int argument_count, char **arguments)
{
	void *const object = argument_count == 2 ? dlopen(arguments[1], RTLD_LAZY) : NULL;
	struct link_map *map;
	uint64_t address;

	if (object == NULL || dlinfo(object, RTLD_DI_LINKMAP, &map) != 0) {
		fprintf(stderr, "print_rules: %s\n", argument_count == 2 ? dlerror() : "which object?");
		return 2;
	}
	while (scanf("%" SCNx64, &address) == 1) {
		const union hm_rule rule = hm_unwinder_compile(map->l_addr + address);

		printf("%d %s %ld %ld\n", (int)rule.kind, rule.cfa_is_on_fp ? "rbp" : "rsp",
		       (long)rule.cfa_offset * 8, (long)rule.fp_offset * 8);
	}
	return 0;
}
