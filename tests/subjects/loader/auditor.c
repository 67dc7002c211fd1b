// SPDX-License-Identifier: Apache-2.0
/* For LD_AUDIT: looks on, from a namespace of its own. */
#include <link.h>
#include <stdlib.h>

unsigned int la_version(unsigned int version)
{
	return version;
}

unsigned int la_objopen(struct link_map *map, Lmid_t namespace, uintptr_t *cookie)
{
	(void)map;
	(void)namespace;
	*cookie = (uintptr_t)malloc(100);
	return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

unsigned int la_objclose(uintptr_t *cookie)
{
	free((void *)*cookie);
	return 0;
}
