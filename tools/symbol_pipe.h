// SPDX-License-Identifier: Apache-2.0
/*
 * What the child that reads debug information says to the tool: a stream of messages over a pipe.
 *
 * The child has read files that nobody vouches for, so the tool believes none of its numbers: a message that
 * makes no sense ends the stream.  Both ends are the same program, so numbers are in its own byte order.
 */
#ifndef HM_TOOLS_SYMBOL_PIPE_H
#define HM_TOOLS_SYMBOL_PIPE_H

#include "proto/arena.h"
#include "proto/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hm_symbol_fact {
	HM_SYMBOL_FACT_OPENED,        /* the program file, or one that stands for it, was found */
	HM_SYMBOL_FACT_DEBUG_INFO,    /* and debug information */
	HM_SYMBOL_FACT_SERVER_FAILED, /* a debuginfod server did not answer properly */
	HM_SYMBOL_FACT_NO_MEMORY,
	HM_SYMBOL_FACTS,
};

enum hm_symbol_stage { HM_SYMBOL_DOWNLOADING, HM_SYMBOL_NAMING };

/* The child's end. */
struct hm_symbol_writer {
	int descriptor; /* borrowed */
	size_t used_bytes;
	bool failed; /* the tool has gone; nothing is written any more */
	uint8_t buffer[64 << 10];
};

void hm_symbol_writer_init(struct hm_symbol_writer *writer, int descriptor);
void hm_symbol_write_fact(struct hm_symbol_writer *writer, enum hm_symbol_fact fact);
void hm_symbol_write_progress(struct hm_symbol_writer *writer, enum hm_symbol_stage stage, uint64_t done,
			      uint64_t total);
/* A text of which nobody can make a name is cut off at HM_SYMBOL_TEXT_BYTES_MAX. */
void hm_symbol_write_answer(struct hm_symbol_writer *writer, uint32_t index,
			    const struct hm_location_name *name);
/* Hands over what is buffered, so that it is not lost whatever comes next. */
void hm_symbol_writer_flush(struct hm_symbol_writer *writer);

enum {
	HM_SYMBOL_TEXT_BYTES_MAX = 64 << 10,
	HM_SYMBOL_LINES_MAX = 256,
};

/* The tool's end. */
struct hm_symbol_reader {
	/* Called for each message; -ENOMEM and the like end the stream. */
	void (*fact)(void *context, enum hm_symbol_fact fact);
	void (*progress)(void *context, enum hm_symbol_stage stage, uint64_t done, uint64_t total);
	/* What `name` points to lasts until the call returns. */
	int (*answer)(void *context, uint32_t index, const struct hm_location_name *name);
	void *context; /* borrowed by the three */

	uint8_t *pending; /* owned; the beginning of a message, as far as it has come */
	size_t pending_bytes;
	size_t pending_room;
	struct hm_line *lines; /* owned; HM_SYMBOL_LINES_MAX */
};

/* Takes the next bytes of the stream.  Returns 0, -EBADMSG, -ENOMEM, or what `answer` said. */
int hm_symbol_reader_take(struct hm_symbol_reader *reader, const void *data, size_t size_bytes);

/* Accepts a reader that was never used. */
void hm_symbol_reader_done(struct hm_symbol_reader *reader);

#endif
