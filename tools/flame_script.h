// SPDX-License-Identifier: Apache-2.0
/* What makes the picture of flame_svg.h answer to a pointer, as JavaScript. */
#ifndef HM_TOOLS_FLAME_SCRIPT_H
#define HM_TOOLS_FLAME_SCRIPT_H

/* For a CDATA section: holds no "]]>".  Terminated. */
extern const char hm_flame_script[];

#endif
