// SPDX-License-Identifier: Apache-2.0
#include "preload/cfi.h"

#include "preload/cfi_bytes.h"

#include <errno.h>
#include <string.h>

/* DW_EH_PE_*: how a pointer is written, in one byte: its format, what it counts from, and one bit. */
enum {
	FORMAT_MASK = 0x0f,
	FORMAT_ADDRESS = 0x00,
	FORMAT_ULEB = 0x01,
	FORMAT_U16 = 0x02,
	FORMAT_U32 = 0x03,
	FORMAT_U64 = 0x04,
	FORMAT_SLEB = 0x09,
	FORMAT_I16 = 0x0a,
	FORMAT_I32 = 0x0b,
	FORMAT_I64 = 0x0c,

	BASE_MASK = 0x70,
	BASE_NONE = 0x00,
	BASE_HERE = 0x10,
	BASE_HEADER = 0x30,
	BASE_ALIGNED = 0x50, /* it counts from nothing, but begins where a multiple of its size does */

	IS_INDIRECT = 0x80,
	IS_OMITTED = 0xff,
};

/* DW_CFA_*.  The first three have an operand in their low six bits. */
enum {
	OP_HIGH_MASK = 0xc0,
	OP_LOW_MASK = 0x3f,
	OP_ADVANCE = 0x40,
	OP_OFFSET = 0x80,
	OP_RESTORE = 0xc0,

	OP_NOP = 0x00,
	OP_SET_LOCATION,
	OP_ADVANCE_1,
	OP_ADVANCE_2,
	OP_ADVANCE_4,
	OP_OFFSET_EXTENDED,
	OP_RESTORE_EXTENDED,
	OP_UNDEFINED,
	OP_SAME_VALUE,
	OP_REGISTER,
	OP_REMEMBER,
	OP_RESTORE_STATE,
	OP_CFA,
	OP_CFA_REGISTER,
	OP_CFA_OFFSET,
	OP_CFA_EXPRESSION,
	OP_EXPRESSION,
	OP_OFFSET_EXTENDED_SIGNED,
	OP_CFA_SIGNED,
	OP_CFA_OFFSET_SIGNED,
	OP_VALUE_OFFSET,
	OP_VALUE_OFFSET_SIGNED,
	OP_VALUE_EXPRESSION,
	OP_GNU_ARGUMENTS_SIZE = 0x2e,
	OP_GNU_NEGATIVE_OFFSET = 0x2f,
};

enum { ENTRY_BYTES_MAX = 1 << 20 }; /* of one CIE or FDE; that of a function of a megabyte has some 100,000 */

struct cie {
	struct hm_cfi_bytes program;
	uint64_t code_alignment;
	int64_t data_alignment;
	uint8_t pointer_encoding;
	bool has_augmentation_length;
	bool is_signal_frame;
};

struct fde {
	struct hm_cfi_bytes program;
	uintptr_t start;
	uintptr_t end;
};

/* The head of .eh_frame_hdr in the one encoding that linkers write, which is also the one that can be
 * searched. */
struct header {
	uint8_t version;
	uint8_t eh_frame_encoding;
	uint8_t count_encoding;
	uint8_t table_encoding;
	int32_t eh_frame;
	uint32_t count; /* of entries in the sorted table that follows */
};

/* Both count from the header. */
struct table_entry {
	int32_t start;
	int32_t fde;
};

static bool is_inside(const struct hm_cfi_object *object, uintptr_t address, uint64_t size_bytes)
{
	return address >= object->start && address < object->end && size_bytes <= object->end - address;
}

static bool is_readable(struct hm_cfi_reader *reader, const struct hm_cfi_object *object, uintptr_t address,
			uint64_t size_bytes)
{
	return is_inside(object, address, size_bytes) &&
	       hm_proven_readable(&reader->proven, address, size_bytes);
}

/* --- The entries --------------------------------------------------------------------------------------- */

/* The entry after its length; -ENOENT where it is the terminator. */
static int open_entry(struct hm_cfi_reader *reader, const struct hm_cfi_object *object, uintptr_t address,
		      struct hm_cfi_bytes *ret_entry)
{
	enum { SHORT_LENGTH_BYTES = 4 };
	uint32_t length_bytes;

	if (!is_readable(reader, object, address, SHORT_LENGTH_BYTES))
		return -EINVAL;
	memcpy(&length_bytes, (const void *)address, sizeof(length_bytes));
	if (length_bytes == 0)
		return -ENOENT;
	/* 0xffffffff announces 64 bits of length, which nobody needs for one function. */
	address += SHORT_LENGTH_BYTES;
	if (length_bytes > ENTRY_BYTES_MAX || !is_readable(reader, object, address, length_bytes))
		return -EINVAL;
	*ret_entry = hm_cfi_bytes_at((const uint8_t *)address, length_bytes);
	return 0;
}

static uint64_t take_formatted(struct hm_cfi_bytes *bytes, uint8_t encoding)
{
	switch (encoding & FORMAT_MASK) {
	case FORMAT_ADDRESS:
	case FORMAT_U64:
	case FORMAT_I64:
		return hm_cfi_take_u64(bytes);
	case FORMAT_ULEB:
		return hm_cfi_take_uleb(bytes);
	case FORMAT_SLEB:
		return (uint64_t)hm_cfi_take_sleb(bytes);
	case FORMAT_U16:
		return hm_cfi_take_u16(bytes);
	case FORMAT_U32:
		return hm_cfi_take_u32(bytes);
	case FORMAT_I16:
		return (uint64_t)(int64_t)(int16_t)hm_cfi_take_u16(bytes);
	case FORMAT_I32:
		return (uint64_t)(int64_t)(int32_t)hm_cfi_take_u32(bytes);
	default:
		hm_cfi_bytes_spoil(bytes);
		return 0;
	}
}

static uintptr_t take_pointer(struct hm_cfi_bytes *bytes, uint8_t encoding)
{
	const uintptr_t here = (uintptr_t)bytes->next;
	const uint64_t value = take_formatted(bytes, encoding);

	if ((encoding & IS_INDIRECT) != 0)
		hm_cfi_bytes_spoil(bytes);
	switch (encoding & BASE_MASK) {
	case BASE_NONE:
		return value;
	case BASE_HERE:
		return here + value;
	default: /* from the start of a section that is not known at run time */
		hm_cfi_bytes_spoil(bytes);
		return 0;
	}
}

/* What the letters after 'z' announce. */
static void read_augmentation(const char *letters, struct hm_cfi_bytes *data, struct cie *cie)
{
	for (; *letters != '\0'; letters++) {
		switch (*letters) {
		case 'R': /* how pointers to code are written */
			cie->pointer_encoding = hm_cfi_take_u8(data);
			break;
		case 'P': { /* the personality routine, wherever it is */
			const uint8_t encoding = hm_cfi_take_u8(data);

			if (encoding == IS_OMITTED)
				break;
			/* Nobody writes it, and where it ends would have to be found out. */
			if ((encoding & BASE_MASK) == BASE_ALIGNED)
				hm_cfi_bytes_spoil(data);
			(void)take_formatted(data, encoding);
			break;
		}
		case 'L': /* how pointers to data of exception handling are written */
			(void)hm_cfi_take_u8(data);
			break;
		case 'S':
			cie->is_signal_frame = true;
			break;
		default:
			return; /* the length of the data says where it ends */
		}
	}
}

static int read_cie(struct hm_cfi_reader *reader, const struct hm_cfi_object *object, uintptr_t address,
		    struct cie *ret_cie)
{
	enum { CIE_ID = 0, VERSION_1 = 1, VERSION_3 = 3 };
	struct hm_cfi_bytes bytes;
	struct cie cie = { .pointer_encoding = FORMAT_ADDRESS };

	if (open_entry(reader, object, address, &bytes) != 0 || hm_cfi_take_u32(&bytes) != CIE_ID)
		return -EINVAL;

	const uint8_t version = hm_cfi_take_u8(&bytes);
	const char *const augmentation = hm_cfi_take_string(&bytes);

	cie.code_alignment = hm_cfi_take_uleb(&bytes);
	cie.data_alignment = hm_cfi_take_sleb(&bytes);

	const uint64_t return_register =
		version == VERSION_1 ? hm_cfi_take_u8(&bytes) : hm_cfi_take_uleb(&bytes);

	if ((version != VERSION_1 && version != VERSION_3) || return_register != HM_CFI_PC)
		return -EINVAL;
	if (augmentation[0] == 'z') {
		struct hm_cfi_bytes data = hm_cfi_take_bytes(&bytes, hm_cfi_take_uleb(&bytes));

		cie.has_augmentation_length = true;
		read_augmentation(augmentation + 1, &data, &cie);
		if (data.is_spoilt)
			return -EINVAL;
	} else if (augmentation[0] != '\0') {
		return -EINVAL;
	}
	cie.program = bytes;
	*ret_cie = cie;
	return bytes.is_spoilt ? -EINVAL : 0;
}

static int read_fde(struct hm_cfi_reader *reader, const struct hm_cfi_object *object, uintptr_t address,
		    struct cie *ret_cie, struct fde *ret_fde)
{
	struct hm_cfi_bytes bytes;
	const int error = open_entry(reader, object, address, &bytes);

	if (error != 0)
		return error;

	const uintptr_t here = (uintptr_t)bytes.next;
	const uint32_t distance = hm_cfi_take_u32(&bytes); /* backwards to its CIE */

	if (distance == 0 || read_cie(reader, object, here - distance, ret_cie) != 0)
		return -EINVAL;
	ret_fde->start = take_pointer(&bytes, ret_cie->pointer_encoding);
	ret_fde->end = ret_fde->start + take_formatted(&bytes, ret_cie->pointer_encoding);
	if (ret_cie->has_augmentation_length)
		(void)hm_cfi_take_bytes(&bytes, hm_cfi_take_uleb(&bytes));
	ret_fde->program = bytes;
	return bytes.is_spoilt ? -EINVAL : 0;
}

/* --- The table ----------------------------------------------------------------------------------------- */

static bool is_searchable(struct hm_cfi_reader *reader, const struct hm_cfi_object *object,
			  const struct header *header)
{
	enum {
		VERSION = 1,
		ENCODING_OF_TABLE = BASE_HEADER | FORMAT_I32,
	};

	return header != NULL && (uintptr_t)header % _Alignof(struct header) == 0 &&
	       is_readable(reader, object, (uintptr_t)header, sizeof(*header)) &&
	       header->version == VERSION && header->eh_frame_encoding == (BASE_HERE | FORMAT_I32) &&
	       header->count_encoding == FORMAT_U32 && header->table_encoding == ENCODING_OF_TABLE &&
	       is_inside(object, (uintptr_t)(header + 1),
			 (uint64_t)header->count * sizeof(struct table_entry));
}

/* The FDE of the last function that begins at or before `pc`; 0: there is none, or it cannot be read. */
static uintptr_t search(struct hm_cfi_reader *reader, const struct header *header, uintptr_t pc)
{
	const struct table_entry *const entries = (const struct table_entry *)(header + 1);
	const uintptr_t base = (uintptr_t)header;
	uint32_t low = 0;
	uint32_t high = header->count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		const struct table_entry *const entry = &entries[middle];

		if (!hm_proven_readable(&reader->proven, (uintptr_t)entry, sizeof(*entry)))
			return 0;
		if (base + (uintptr_t)(intptr_t)entry->start <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	return low == 0 ? 0 : base + (uintptr_t)(intptr_t)entries[low - 1].fde;
}

/* --- The program --------------------------------------------------------------------------------------- */

static void set(struct hm_cfi_row *row, uint64_t number, struct hm_cfi_rule rule)
{
	if (number < HM_CFI_REGISTERS) /* the others are of the vector unit, and are never asked for */
		row->registers[number] = rule;
}

static void set_offset(struct hm_cfi_row *row, uint64_t number, enum hm_cfi_place place, int64_t offset)
{
	set(row, number, (struct hm_cfi_rule){ .place = place, .offset = offset });
}

static void set_place(struct hm_cfi_row *row, uint64_t number, enum hm_cfi_place place)
{
	set(row, number, (struct hm_cfi_rule){ .place = place });
}

static void set_cfa(struct hm_cfi_row *row, uint64_t number, int64_t offset)
{
	row->cfa = (struct hm_cfi_rule){ .place = HM_CFI_IS_OFFSET, .offset = offset };
	row->cfa_register = number;
}

/* Only of a CFA that is a register and an offset can one of the two be changed. */
static bool change_cfa(struct hm_cfi_row *row, uint64_t number, int64_t offset)
{
	const bool can_be_changed = row->cfa.place == HM_CFI_IS_OFFSET;

	set_cfa(row, number, offset);
	return can_be_changed;
}

static void restore(struct hm_cfi_reader *reader, uint64_t number)
{
	if (number < HM_CFI_REGISTERS)
		reader->row.registers[number] = reader->initial.registers[number];
}

static struct hm_cfi_rule take_expression(struct hm_cfi_bytes *bytes, enum hm_cfi_place place)
{
	const struct hm_cfi_bytes expression = hm_cfi_take_bytes(bytes, hm_cfi_take_uleb(bytes));

	return (struct hm_cfi_rule){
		.place = place,
		.expression = expression.next,
		.expression_bytes = (uint32_t)(expression.end - expression.next),
	};
}

static bool remember(struct hm_cfi_reader *reader)
{
	if (reader->remembered_count == HM_CFI_REMEMBERED_MAX)
		return false;
	reader->remembered[reader->remembered_count++] = reader->row;
	return true;
}

static bool recall(struct hm_cfi_reader *reader)
{
	if (reader->remembered_count == 0)
		return false;
	reader->row = reader->remembered[--reader->remembered_count];
	return true;
}

/* Offsets are written in units.  Unsigned, because what a damaged object says may be anything. */
static int64_t bytes_of(int64_t units, const struct cie *cie)
{
	return (int64_t)((uint64_t)units * (uint64_t)cie->data_alignment);
}

/* An instruction that is about the caller's registers.  Returns false where it is not understood. */
static bool run_register_instruction(struct hm_cfi_row *row, const struct cie *cie, uint8_t code,
				     struct hm_cfi_bytes *bytes)
{
	const uint64_t number = hm_cfi_take_uleb(bytes);

	switch (code) {
	case OP_OFFSET_EXTENDED:
		set_offset(row, number, HM_CFI_AT_OFFSET, bytes_of((int64_t)hm_cfi_take_uleb(bytes), cie));
		return true;
	case OP_OFFSET_EXTENDED_SIGNED:
		set_offset(row, number, HM_CFI_AT_OFFSET, bytes_of(hm_cfi_take_sleb(bytes), cie));
		return true;
	case OP_GNU_NEGATIVE_OFFSET:
		set_offset(row, number, HM_CFI_AT_OFFSET,
			   bytes_of((int64_t)(0 - hm_cfi_take_uleb(bytes)), cie));
		return true;
	case OP_VALUE_OFFSET:
		set_offset(row, number, HM_CFI_IS_OFFSET, bytes_of((int64_t)hm_cfi_take_uleb(bytes), cie));
		return true;
	case OP_VALUE_OFFSET_SIGNED:
		set_offset(row, number, HM_CFI_IS_OFFSET, bytes_of(hm_cfi_take_sleb(bytes), cie));
		return true;
	case OP_REGISTER:
		set_offset(row, number, HM_CFI_IN_REGISTER, (int64_t)hm_cfi_take_uleb(bytes));
		return true;
	case OP_EXPRESSION:
		set(row, number, take_expression(bytes, HM_CFI_AT_EXPRESSION));
		return true;
	case OP_VALUE_EXPRESSION:
		set(row, number, take_expression(bytes, HM_CFI_IS_EXPRESSION));
		return true;
	case OP_UNDEFINED:
		set_place(row, number, HM_CFI_LOST);
		return true;
	case OP_SAME_VALUE:
		set_place(row, number, HM_CFI_UNTOUCHED);
		return true;
	default:
		return false;
	}
}

/* One that is about the CFA, or the whole row. */
static bool run_row_instruction(struct hm_cfi_reader *reader, const struct cie *cie, uint8_t code,
				struct hm_cfi_bytes *bytes)
{
	struct hm_cfi_row *const row = &reader->row;
	uint64_t number;

	switch (code) {
	case OP_NOP:
		return true;
	case OP_GNU_ARGUMENTS_SIZE:
		(void)hm_cfi_take_uleb(bytes);
		return true;
	case OP_RESTORE_EXTENDED:
		restore(reader, hm_cfi_take_uleb(bytes));
		return true;
	case OP_REMEMBER:
		return remember(reader);
	case OP_RESTORE_STATE:
		return recall(reader);
	case OP_CFA:
		number = hm_cfi_take_uleb(bytes);
		set_cfa(row, number, (int64_t)hm_cfi_take_uleb(bytes));
		return true;
	case OP_CFA_SIGNED:
		number = hm_cfi_take_uleb(bytes);
		set_cfa(row, number, bytes_of(hm_cfi_take_sleb(bytes), cie));
		return true;
	case OP_CFA_REGISTER:
		return change_cfa(row, hm_cfi_take_uleb(bytes), row->cfa.offset);
	case OP_CFA_OFFSET:
		return change_cfa(row, row->cfa_register, (int64_t)hm_cfi_take_uleb(bytes));
	case OP_CFA_OFFSET_SIGNED:
		return change_cfa(row, row->cfa_register, bytes_of(hm_cfi_take_sleb(bytes), cie));
	case OP_CFA_EXPRESSION:
		row->cfa = take_expression(bytes, HM_CFI_IS_EXPRESSION);
		return true;
	default:
		return run_register_instruction(row, cie, code, bytes);
	}
}

/* One that begins a new row moves `location`.  Returns false where it is another. */
static bool take_advance(const struct cie *cie, uint8_t code, struct hm_cfi_bytes *bytes, uintptr_t *location)
{
	if ((code & OP_HIGH_MASK) == OP_ADVANCE) {
		*location += (code & OP_LOW_MASK) * cie->code_alignment;
		return true;
	}
	switch (code) {
	case OP_SET_LOCATION:
		*location = take_pointer(bytes, cie->pointer_encoding);
		return true;
	case OP_ADVANCE_1:
		*location += hm_cfi_take_u8(bytes) * cie->code_alignment;
		return true;
	case OP_ADVANCE_2:
		*location += hm_cfi_take_u16(bytes) * cie->code_alignment;
		return true;
	case OP_ADVANCE_4:
		*location += hm_cfi_take_u32(bytes) * cie->code_alignment;
		return true;
	default:
		return false;
	}
}

/* Runs a program from `location` on, up to the row that begins beyond `pc`. */
static bool run(struct hm_cfi_reader *reader, const struct cie *cie, struct hm_cfi_bytes bytes,
		uintptr_t location, uintptr_t pc)
{
	while (bytes.next < bytes.end && location <= pc) {
		const uint8_t code = hm_cfi_take_u8(&bytes);
		const uint8_t low = code & OP_LOW_MASK;

		if (take_advance(cie, code, &bytes, &location))
			continue;
		if ((code & OP_HIGH_MASK) == OP_OFFSET)
			set_offset(&reader->row, low, HM_CFI_AT_OFFSET,
				   bytes_of((int64_t)hm_cfi_take_uleb(&bytes), cie));
		else if ((code & OP_HIGH_MASK) == OP_RESTORE)
			restore(reader, low);
		else if (!run_row_instruction(reader, cie, code, &bytes))
			return false;
	}
	return !bytes.is_spoilt;
}

int hm_cfi_find(struct hm_cfi_reader *reader, const struct hm_cfi_object *object, uintptr_t pc)
{
	const struct header *const header = (const struct header *)object->header;
	struct cie cie;
	struct fde fde;

	if (!is_searchable(reader, object, header))
		return -ENOENT;

	const uintptr_t address = search(reader, header, pc);
	const int error = address == 0 ? -ENOENT : read_fde(reader, object, address, &cie, &fde);

	if (error != 0)
		return error;
	if (pc < fde.start || pc >= fde.end)
		return -ENOENT;
	reader->row = (struct hm_cfi_row){ .cfa_register = HM_CFI_REGISTERS };
	reader->initial = reader->row;
	reader->remembered_count = 0;
	reader->is_signal_frame = cie.is_signal_frame;
	if (!run(reader, &cie, cie.program, 0, 0))
		return -EINVAL;
	reader->initial = reader->row;
	return run(reader, &cie, fde.program, fde.start, pc) ? 0 : -EINVAL;
}
