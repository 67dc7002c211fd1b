// SPDX-License-Identifier: Apache-2.0
#include "tools/symbol_pipe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { KIND_FACT = 1, KIND_PROGRESS, KIND_ANSWER };

/* Every message begins with it. */
struct head {
	uint32_t kind;
	uint32_t body_bytes; /* that follow */
};

struct progress_body {
	uint64_t stage;
	uint64_t done;
	uint64_t total;
};

/* Behind it, for each line, a line_body and its three texts, each with its NUL; an empty file is none. */
struct answer_body {
	uint32_t index;
	uint32_t placeholder;
	uint32_t line_count;
};

struct line_body {
	uint32_t line;
	uint32_t start_line;
	uint32_t text_bytes[3]; /* name, system name, file; with their NULs */
};

enum {
	LINE_BYTES_MAX = (int)sizeof(struct line_body) + 3 * (HM_SYMBOL_TEXT_BYTES_MAX + 1),
	PENDING_ROOM_FIRST = 256 << 10,
};
#define MESSAGE_BYTES_MAX (sizeof(struct answer_body) + (size_t)HM_SYMBOL_LINES_MAX * LINE_BYTES_MAX)

/* --- Writing ------------------------------------------------------------------------------------------ */

void hm_symbol_writer_init(struct hm_symbol_writer *writer, int descriptor)
{
	writer->descriptor = descriptor;
	writer->used_bytes = 0;
	writer->failed = false;
}

void hm_symbol_writer_flush(struct hm_symbol_writer *writer)
{
	size_t at = 0;

	while (at < writer->used_bytes && !writer->failed) {
		const ssize_t size = write(writer->descriptor, writer->buffer + at, writer->used_bytes - at);

		if (size > 0)
			at += (size_t)size;
		else
			writer->failed = size == 0 || errno != EINTR;
	}
	writer->used_bytes = 0;
}

static void put(struct hm_symbol_writer *writer, const void *data, size_t size_bytes)
{
	const uint8_t *bytes = data;

	while (size_bytes > 0 && !writer->failed) {
		const size_t room = sizeof(writer->buffer) - writer->used_bytes;
		const size_t taken = size_bytes < room ? size_bytes : room;

		memcpy(writer->buffer + writer->used_bytes, bytes, taken);
		writer->used_bytes += taken;
		bytes += taken;
		size_bytes -= taken;
		if (writer->used_bytes == sizeof(writer->buffer))
			hm_symbol_writer_flush(writer);
	}
}

static void put_head(struct hm_symbol_writer *writer, enum kind kind, size_t body_bytes)
{
	const struct head head = { kind, (uint32_t)body_bytes };

	put(writer, &head, sizeof(head));
}

void hm_symbol_write_fact(struct hm_symbol_writer *writer, enum hm_symbol_fact fact)
{
	const uint32_t body = fact;

	put_head(writer, KIND_FACT, sizeof(body));
	put(writer, &body, sizeof(body));
	hm_symbol_writer_flush(writer);
}

void hm_symbol_write_progress(struct hm_symbol_writer *writer, enum hm_symbol_stage stage, uint64_t done,
			      uint64_t total)
{
	const struct progress_body body = { stage, done, total };

	put_head(writer, KIND_PROGRESS, sizeof(body));
	put(writer, &body, sizeof(body));
	hm_symbol_writer_flush(writer);
}

static uint32_t text_bytes(const char *text)
{
	return text == NULL ? 1 : (uint32_t)strnlen(text, HM_SYMBOL_TEXT_BYTES_MAX) + 1;
}

static void put_text(struct hm_symbol_writer *writer, const char *text, uint32_t size_bytes)
{
	if (text != NULL)
		put(writer, text, size_bytes - 1);
	put(writer, "", 1);
}

void hm_symbol_write_answer(struct hm_symbol_writer *writer, uint32_t index,
			    const struct hm_location_name *name)
{
	const uint32_t line_count =
		name->line_count < HM_SYMBOL_LINES_MAX ? name->line_count : HM_SYMBOL_LINES_MAX;
	const struct answer_body body = { index, name->placeholder, line_count };
	size_t body_bytes = sizeof(body);

	for (uint32_t i = 0; i < line_count; i++)
		body_bytes += sizeof(struct line_body) + text_bytes(name->lines[i].name) +
			      text_bytes(name->lines[i].system_name) + text_bytes(name->lines[i].file);
	put_head(writer, KIND_ANSWER, body_bytes);
	put(writer, &body, sizeof(body));
	for (uint32_t i = 0; i < line_count; i++) {
		const struct hm_line *const line = &name->lines[i];
		const struct line_body line_body = {
			.line = line->line,
			.start_line = line->start_line,
			.text_bytes = { text_bytes(line->name), text_bytes(line->system_name),
					text_bytes(line->file) },
		};

		put(writer, &line_body, sizeof(line_body));
		put_text(writer, line->name, line_body.text_bytes[0]);
		put_text(writer, line->system_name, line_body.text_bytes[1]);
		put_text(writer, line->file, line_body.text_bytes[2]);
	}
}

/* --- Reading ------------------------------------------------------------------------------------------ */

/* Bytes of a message not yet read. */
struct rest {
	const uint8_t *at;
	size_t size_bytes;
};

static bool take(struct rest *rest, void *ret_data, size_t size_bytes)
{
	if (rest->size_bytes < size_bytes)
		return false;
	memcpy(ret_data, rest->at, size_bytes);
	rest->at += size_bytes;
	rest->size_bytes -= size_bytes;
	return true;
}

static bool take_text(struct rest *rest, uint32_t size_bytes, const char **ret_text)
{
	if (size_bytes == 0 || size_bytes > rest->size_bytes || rest->at[size_bytes - 1] != '\0')
		return false;
	*ret_text = (const char *)rest->at;
	rest->at += size_bytes;
	rest->size_bytes -= size_bytes;
	return true;
}

static bool take_line(struct rest *rest, struct hm_line *ret_line)
{
	struct line_body body;

	if (!take(rest, &body, sizeof(body)) || !take_text(rest, body.text_bytes[0], &ret_line->name) ||
	    !take_text(rest, body.text_bytes[1], &ret_line->system_name) ||
	    !take_text(rest, body.text_bytes[2], &ret_line->file))
		return false;
	ret_line->line = body.line;
	ret_line->start_line = body.start_line;
	if (ret_line->file[0] == '\0')
		ret_line->file = NULL;
	return ret_line->name[0] != '\0' && ret_line->system_name[0] != '\0';
}

static int read_answer(struct hm_symbol_reader *reader, struct rest rest)
{
	struct answer_body body;

	if (!take(&rest, &body, sizeof(body)) || body.line_count == 0 ||
	    body.line_count > HM_SYMBOL_LINES_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < body.line_count; i++)
		if (!take_line(&rest, &reader->lines[i]))
			return -EBADMSG;
	const struct hm_location_name name = { reader->lines, body.line_count, body.placeholder != 0 };
	return reader->answer(reader->context, body.index, &name);
}

static int read_message(struct hm_symbol_reader *reader, const struct head *head, struct rest rest)
{
	struct progress_body progress;
	uint32_t fact = 0;

	switch (head->kind) {
	case KIND_FACT:
		if (!take(&rest, &fact, sizeof(fact)) || fact >= HM_SYMBOL_FACTS)
			return -EBADMSG;
		reader->fact(reader->context, fact);
		return 0;
	case KIND_PROGRESS:
		if (!take(&rest, &progress, sizeof(progress)) || progress.stage > HM_SYMBOL_NAMING)
			return -EBADMSG;
		reader->progress(reader->context, (enum hm_symbol_stage)progress.stage, progress.done,
				 progress.total);
		return 0;
	case KIND_ANSWER:
		return read_answer(reader, rest);
	default:
		return -EBADMSG;
	}
}

/* All whole messages that are there; what is left of the next one is moved to the front. */
static int read_messages(struct hm_symbol_reader *reader)
{
	struct rest rest = { reader->pending, reader->pending_bytes };
	int error = 0;

	while (error == 0 && rest.size_bytes >= sizeof(struct head)) {
		struct rest body = rest;
		struct head head;

		(void)take(&body, &head, sizeof(head));
		if (head.body_bytes > MESSAGE_BYTES_MAX)
			return -EBADMSG;
		if (body.size_bytes < head.body_bytes)
			break;
		error = read_message(reader, &head, (struct rest){ body.at, head.body_bytes });
		rest = (struct rest){ body.at + head.body_bytes, body.size_bytes - head.body_bytes };
	}
	memmove(reader->pending, rest.at, rest.size_bytes);
	reader->pending_bytes = rest.size_bytes;
	return error;
}

int hm_symbol_reader_take(struct hm_symbol_reader *reader, const void *data, size_t size_bytes)
{
	if (reader->lines == NULL)
		reader->lines = calloc(HM_SYMBOL_LINES_MAX, sizeof(*reader->lines));
	if (reader->lines == NULL)
		return -ENOMEM;
	if (reader->pending_room - reader->pending_bytes < size_bytes) {
		const size_t needed = reader->pending_bytes + size_bytes;
		const size_t room = needed > PENDING_ROOM_FIRST ? 2 * needed : PENDING_ROOM_FIRST;
		uint8_t *const larger = realloc(reader->pending, room);

		if (larger == NULL)
			return -ENOMEM;
		reader->pending = larger;
		reader->pending_room = room;
	}
	memcpy(reader->pending + reader->pending_bytes, data, size_bytes);
	reader->pending_bytes += size_bytes;
	return read_messages(reader);
}

void hm_symbol_reader_done(struct hm_symbol_reader *reader)
{
	free(reader->pending);
	free(reader->lines);
	reader->pending = NULL;
	reader->lines = NULL;
	reader->pending_bytes = 0;
	reader->pending_room = 0;
}
