// SPDX-License-Identifier: Apache-2.0
/*
 * The screen of `heapmark watch`: drawn over at each look, as wide as the terminal is then.
 *
 * It is the terminal's alternate screen: what was there before comes back when it is left, and only the last
 * figures stay, as a line.
 */
#ifndef HM_TOOLS_WATCH_SCREEN_H
#define HM_TOOLS_WATCH_SCREEN_H

#include "tools/watch_line.h"

#include <stdbool.h>

enum { HM_WATCH_HISTORY = 512 }; /* looks; wider than terminals are */

struct hm_watch_screen {
	const char *title; /* borrowed: "redis-server[4242], every 1.0s" */
	bool is_shown;
	size_t count; /* of the histories */
	double resident[HM_WATCH_HISTORY];
	double inuse[HM_WATCH_HISTORY];
	double alloc[HM_WATCH_HISTORY];
	double free[HM_WATCH_HISTORY];
	double live[HM_WATCH_HISTORY];
	struct hm_watch_figures last;
};

/* Whether standard output is a terminal that can do it. */
bool hm_watch_has_screen(void);

/* Adds a look to the histories. */
void hm_watch_screen_add(struct hm_watch_screen *screen, const struct hm_watch_figures *figures);

/* Draws what there is; the first time, after the screen was left too, takes it. */
void hm_watch_screen_draw(struct hm_watch_screen *screen);

/* Gives the screen back.  Nothing where it was not taken. */
void hm_watch_screen_leave(struct hm_watch_screen *screen);

#endif
