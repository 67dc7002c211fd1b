// SPDX-License-Identifier: Apache-2.0
#include "tools/names_report.h"

#include "tools/cli.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_MS = 1000000, MS_PER_SECOND = 1000, PATIENCE_MS = 300, INTERVAL_MS = 100 };

static struct {
	uint64_t start_ms; /* 0: not begun */
	uint64_t shown_ms;
	bool is_shown;
} progress;

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * MS_PER_SECOND + (uint64_t)now.tv_nsec / NS_PER_MS;
}

void hm_names_show_progress(const char *file, enum hm_symbol_stage stage, uint64_t done, uint64_t total)
{
	const uint64_t now = now_ms();
	const char *const slash = strrchr(file, '/');
	const char *const base = slash != NULL ? slash + 1 : file;
	char text[256];

	if (hm_is_quiet() || isatty(STDERR_FILENO) != 1)
		return;
	if (progress.start_ms == 0)
		progress.start_ms = now;
	if (now < progress.start_ms + PATIENCE_MS || now < progress.shown_ms + INTERVAL_MS)
		return;
	if (stage == HM_SYMBOL_NAMING)
		(void)snprintf(text, sizeof(text), "names: %.40s, %" PRIu64 " of %" PRIu64, base, done,
			       total);
	else if (total == 0)
		(void)snprintf(text, sizeof(text), "names: asking a debuginfod server for %.40s", base);
	else
		(void)snprintf(text, sizeof(text), "names: fetching debug information of %.40s, %s of %s",
			       base, hm_show_bytes((double)done).text, hm_show_bytes((double)total).text);
	hm_make_printable(text);
	/* to the first column, and what is there is erased */
	(void)fprintf(stderr, "\r\033[Kheapmark: %s", text);
	(void)fflush(stderr);
	progress.shown_ms = now;
	progress.is_shown = true;
}

void hm_names_end_progress(void)
{
	if (progress.is_shown)
		(void)fputs("\r\033[K", stderr);
	progress.is_shown = false;
	progress.start_ms = 0;
}

static void warn_note(const struct hm_symbols_note *note)
{
	switch (note->trouble) {
	case HM_SYMBOLS_CRASHED:
		hm_warn("%s: its debug information is damaged, so its functions have names from symbol "
			"tables",
			note->file);
		break;
	case HM_SYMBOLS_TOO_LONG:
		hm_warn("%s: its debug information takes too much time or memory to read, so its functions "
			"have names from symbol tables",
			note->file);
		break;
	case HM_SYMBOLS_NO_CHILD:
		hm_warn("%s: there is no process or memory left to read its debug information with, so its "
			"functions have names from symbol tables",
			note->file);
		break;
	case HM_SYMBOLS_SERVER_FAILED:
		hm_warn("DEBUGINFOD_URLS: no answer about %s, so no server was asked about any other file",
			note->file);
		break;
	}
}

void hm_names_warn(const struct hm_profile_written *written, struct hm_symbols *symbols)
{
	for (uint32_t i = 0; i < symbols->note_count && i < HM_SYMBOLS_NOTES_MAX; i++)
		warn_note(&symbols->notes[i]);
	if (symbols->note_count > HM_SYMBOLS_NOTES_MAX)
		hm_warn("debug information of %u more files could not be read",
			symbols->note_count - HM_SYMBOLS_NOTES_MAX);
	symbols->note_count = 0;
	if (written->modules_no_file != 0)
		hm_warn("%u files that were loaded are not on disk: their functions are addresses",
			written->modules_no_file);
	if (written->modules_other_file != 0)
		hm_warn("%u files were replaced since they were loaded: their functions are addresses",
			written->modules_other_file);
	if (written->modules_not_elf != 0)
		hm_warn("%u files that were loaded cannot be read as ELF: their functions are addresses",
			written->modules_not_elf);
}
