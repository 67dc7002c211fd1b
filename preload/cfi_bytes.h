// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes of call-frame information, taken one value after the other.  Whoever takes more than there is gets
 * zeros and spoils the rest, so that it is enough to look once, at the end.
 */
#ifndef HM_PRELOAD_CFI_BYTES_H
#define HM_PRELOAD_CFI_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct hm_cfi_bytes {
	const uint8_t *next; /* borrowed */
	const uint8_t *end;
	bool is_spoilt;
};

static inline struct hm_cfi_bytes hm_cfi_bytes_at(const uint8_t *bytes, size_t size_bytes)
{
	return (struct hm_cfi_bytes){ .next = bytes, .end = bytes + size_bytes };
}

static inline void hm_cfi_bytes_spoil(struct hm_cfi_bytes *bytes)
{
	bytes->is_spoilt = true;
	bytes->next = bytes->end;
}

/* Of 1 to 8 bytes, the lowest first. */
static inline uint64_t hm_cfi_take_number(struct hm_cfi_bytes *bytes, size_t size_bytes)
{
	uint64_t number = 0;

	if ((size_t)(bytes->end - bytes->next) < size_bytes) {
		hm_cfi_bytes_spoil(bytes);
		return 0;
	}
	memcpy(&number, bytes->next, size_bytes);
	bytes->next += size_bytes;
	return number;
}

static inline uint8_t hm_cfi_take_u8(struct hm_cfi_bytes *bytes)
{
	return (uint8_t)hm_cfi_take_number(bytes, sizeof(uint8_t));
}

static inline uint16_t hm_cfi_take_u16(struct hm_cfi_bytes *bytes)
{
	return (uint16_t)hm_cfi_take_number(bytes, sizeof(uint16_t));
}

static inline uint32_t hm_cfi_take_u32(struct hm_cfi_bytes *bytes)
{
	return (uint32_t)hm_cfi_take_number(bytes, sizeof(uint32_t));
}

static inline uint64_t hm_cfi_take_u64(struct hm_cfi_bytes *bytes)
{
	return hm_cfi_take_number(bytes, sizeof(uint64_t));
}

/* LEB128 (DWARF 5, 7.6).  Bits beyond the 64th are dropped. */
static inline uint64_t hm_cfi_take_leb(struct hm_cfi_bytes *bytes, bool is_signed)
{
	enum { BITS = 7, MORE = 0x80, SIGN = 0x40, WIDTH = 64 };
	uint64_t value = 0;
	unsigned int shift = 0;
	uint8_t byte;

	do {
		byte = hm_cfi_take_u8(bytes);
		if (shift < WIDTH)
			value |= (uint64_t)(byte & (MORE - 1)) << shift;
		shift += BITS;
	} while ((byte & MORE) != 0);
	if (is_signed && (byte & SIGN) != 0 && shift < WIDTH)
		value |= UINT64_MAX << shift;
	return value;
}

static inline uint64_t hm_cfi_take_uleb(struct hm_cfi_bytes *bytes)
{
	return hm_cfi_take_leb(bytes, false);
}

static inline int64_t hm_cfi_take_sleb(struct hm_cfi_bytes *bytes)
{
	return (int64_t)hm_cfi_take_leb(bytes, true);
}

/* The next `size_bytes`, to be taken apart by themselves. */
static inline struct hm_cfi_bytes hm_cfi_take_bytes(struct hm_cfi_bytes *bytes, uint64_t size_bytes)
{
	struct hm_cfi_bytes part = *bytes;

	if ((uint64_t)(bytes->end - bytes->next) < size_bytes) {
		hm_cfi_bytes_spoil(bytes);
		hm_cfi_bytes_spoil(&part);
		return part;
	}
	part.end = bytes->next + size_bytes;
	bytes->next += size_bytes;
	return part;
}

/* With its terminator; "" where there is none. */
static inline const char *hm_cfi_take_string(struct hm_cfi_bytes *bytes)
{
	const char *const text = (const char *)bytes->next;
	const uint8_t *const terminator = memchr(bytes->next, '\0', (size_t)(bytes->end - bytes->next));

	if (terminator == NULL) {
		hm_cfi_bytes_spoil(bytes);
		return "";
	}
	bytes->next = terminator + 1;
	return text;
}

#endif
