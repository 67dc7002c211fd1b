// SPDX-License-Identifier: Apache-2.0
/*
 * Call-frame information that is damaged, or lies: entries and tables that are not where they are said to be,
 * cut, altered, unreadable.  Objects end where memory does, so that whoever reads beyond them faults.
 */
#include "preload/cfi.h"
#include "preload/cfi_frame.h"

#include "tests/unit/cfi_build.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <sys/mman.h>

static struct hm_cfi_reader reader;

static int find(const struct cfi_made *made, uintptr_t pc)
{
	return cfi_find(&reader, made, pc);
}

/* --- Where entries lie --------------------------------------------------------------------------------- */

static void test_lengths(void)
{
	const struct cfi_shape shape = cfi_usual(CFI_BYTES(0, 0, 0));
	struct cfi_made made = cfi_make(&shape);
	const uint32_t cie_bytes = cfi_read_u32(made.entries);
	const uint32_t fde_bytes = cfi_read_u32(made.fde);
	const uint32_t lying[] = { fde_bytes + 1, 1 << 20, (1 << 20) + 1, UINT32_MAX, UINT32_MAX - 1, 3, 1 };

	for (size_t i = 0; i < sizeof(lying) / sizeof(lying[0]); i++) {
		cfi_write_u32(made.fde, lying[i]);
		CHECK_EQ(find(&made, made.function), -EINVAL);
		cfi_write_u32(made.fde, fde_bytes);
		cfi_write_u32(made.entries, lying[i] == fde_bytes + 1 ? 4096 : lying[i]);
		CHECK_EQ(find(&made, made.function), -EINVAL);
		cfi_write_u32(made.entries, cie_bytes);
		CHECK_EQ(find(&made, made.function), 0);
	}
	/* The terminator: the table points behind the last, or to a CIE that is none. */
	cfi_write_u32(made.fde, 0);
	CHECK_EQ(find(&made, made.function), -ENOENT);
	cfi_write_u32(made.fde, fde_bytes);
	cfi_write_u32(made.entries, 0);
	CHECK_EQ(find(&made, made.function), -EINVAL);
}

static void test_entries_elsewhere(void)
{
	const struct cfi_shape shape = cfi_usual((struct cfi_bytes){ 0 });
	struct cfi_made made = cfi_make(&shape);
	uint8_t *const distance_at = made.fde + 4;
	const uint32_t distance = cfi_read_u32(distance_at);
	const uint32_t lying[] = {
		0,          1,  distance - 1,     distance + 1, 4, distance + CFI_MADE_BYTES,
		UINT32_MAX, -8, UINT32_C(1) << 31
	};

	for (size_t i = 0; i < sizeof(lying) / sizeof(lying[0]); i++) {
		cfi_write_u32(distance_at, lying[i]);
		CHECK_EQ(find(&made, made.function), -EINVAL);
	}
	cfi_write_u32(distance_at, distance);
	/* It is no CIE. */
	cfi_write_u32(made.entries + 4, 1);
	CHECK_EQ(find(&made, made.function), -EINVAL);
	cfi_write_u32(made.entries + 4, 0);
	CHECK_EQ(find(&made, made.function), 0);

	/* The table leads to a CIE, to before the object, to its last bytes, behind it, and far away. */
	cfi_point_at(&made, made.entries);
	CHECK_EQ(find(&made, made.function), -EINVAL);
	cfi_point_at(&made, made.start - 8);
	CHECK_EQ(find(&made, made.function), -EINVAL);
	for (int bytes = 0; bytes < 4; bytes++) {
		cfi_point_at(&made, made.end - bytes);
		CHECK_EQ(find(&made, made.function), -EINVAL);
	}
	cfi_point_at(&made, made.start + INT32_MAX);
	CHECK_EQ(find(&made, made.function), -EINVAL);
	cfi_point_at(&made, made.fde);

	/* Readable, but no longer in the object; then the other way round. */
	made.object.end--;
	CHECK_EQ(find(&made, made.function), -EINVAL);
	made.object.end = (uintptr_t)made.end + CFI_PAGE_BYTES;
	cfi_write_u32(made.fde, cfi_read_u32(made.fde) + 1);
	CHECK_EQ(find(&made, made.function), -EINVAL);
}

/* All of it can be read, but the entries lie before the object, if by one byte. */
static void test_entries_before(void)
{
	const struct cfi_shape shape = { .augmentation = "z", .pointer_encoding = CFI_POINTER_ADDRESS };
	const struct cfi_made made = cfi_make(&shape);
	const size_t entries_bytes = (size_t)(made.end - made.entries);
	struct cfi_made moved = cfi_move_header(&made, CFI_PAGE_BYTES);
	uint8_t *const copy = moved.start + 64;

	CHECK_EQ(find(&moved, made.function), 0);
	memcpy(copy, made.entries, entries_bytes);
	cfi_point_at(&moved, copy + (made.fde - made.entries));
	moved.object.start = (uintptr_t)copy;
	CHECK_EQ(find(&moved, made.function), 0);
	moved.object.start++; /* of the CIE */
	CHECK_EQ(find(&moved, made.function), -EINVAL);
	moved.object.start = (uintptr_t)copy + entries_bytes;
	CHECK_EQ(find(&moved, made.function), -EINVAL);
	moved.object.start = moved.object.header;
	CHECK_EQ(find(&moved, made.function), -EINVAL);
}

/* The longest entry that is read, and one byte more: a copy of the object with zeros behind its FDE. */
static void test_longest_entry(void)
{
	enum { LONGEST_BYTES = 1 << 20, COPY_BYTES = 2 * LONGEST_BYTES };
	const struct cfi_shape shape = cfi_usual((struct cfi_bytes){ 0 });
	const struct cfi_made made = cfi_make(&shape);
	uint8_t *const copy =
		mmap(NULL, COPY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct cfi_made copied = {
		.object = { .start = (uintptr_t)copy,
			    .end = (uintptr_t)copy + COPY_BYTES,
			    .header = (uintptr_t)copy },
		.function = (uintptr_t)copy + (made.function - (uintptr_t)made.start),
		.fde = copy + (made.fde - made.start),
	};

	CHECK(copy != MAP_FAILED);
	memcpy(copy, made.start, CFI_MADE_BYTES);
	cfi_write_u32(copied.fde, LONGEST_BYTES);
	CHECK_EQ(find(&copied, copied.function), 0);
	cfi_write_u32(copied.fde, LONGEST_BYTES + 1);
	CHECK_EQ(find(&copied, copied.function), -EINVAL);
	CHECK_EQ(munmap(copy, COPY_BYTES), 0);
}

static void test_functions(void)
{
	struct cfi_shape shape = cfi_usual(CFI_BYTES(0x0e, 16));
	const uintptr_t step = 2 * CFI_FUNCTION_BYTES;

	for (uint32_t count = 1; count <= CFI_FUNCTIONS_MAX; count++) {
		shape.function_count = count;
		const struct cfi_made made = cfi_make(&shape);

		CHECK_EQ(find(&made, 0), -ENOENT);
		CHECK_EQ(find(&made, made.function - 1), -ENOENT);
		CHECK_EQ(find(&made, UINTPTR_MAX), -ENOENT);
		for (uint32_t i = 0; i < count; i++) {
			const uintptr_t start = made.function + i * step;

			CHECK_EQ(find(&made, start), 0);
			CHECK_EQ(reader.row.cfa.offset, i == 0 ? 16 : 8);
			CHECK_EQ(find(&made, start + CFI_FUNCTION_BYTES - 1), 0);
			CHECK_EQ(reader.row.cfa.offset, i == 0 ? 16 : 8);
			CHECK_EQ(find(&made, start + CFI_FUNCTION_BYTES), -ENOENT);
			CHECK_EQ(find(&made, start + step - 1), -ENOENT);
		}
	}
	/* The FDE that the table leads to is another's. */
	const struct cfi_made made = cfi_make(&shape);

	cfi_write_u32(made.pointers, cfi_read_u32(made.pointers) + 1);
	CHECK_EQ(find(&made, made.function), -ENOENT);
	CHECK_EQ(find(&made, made.function + 1), 0);
	/* It has no length. */
	shape = cfi_usual((struct cfi_bytes){ 0 });
	const struct cfi_made empty = cfi_make(&shape);

	cfi_write_u32(empty.pointers + 4, 0);
	CHECK_EQ(find(&empty, empty.function), -ENOENT);
}

static void test_header(void)
{
	const struct cfi_shape shape = cfi_usual((struct cfi_bytes){ 0 });
	struct cfi_made made = cfi_make(&shape);
	uint8_t *const count_at = made.table - 4;
	const uint32_t entries_that_fit = (uint32_t)((size_t)(made.end - made.table) / 8);

	/* Version and encodings, any other than the one. */
	for (int i = 0; i < 4; i++) {
		const uint8_t was = made.start[i];

		for (int other = 0; other < 0x100; other++) {
			made.start[i] = (uint8_t)other;
			CHECK_EQ(find(&made, made.function), other == was ? 0 : -ENOENT);
		}
		made.start[i] = was;
	}
	/* Counts that do not lie in the object; the zeros of the largest one that does begin at the header.
	 */
	cfi_write_u32(count_at, 0);
	CHECK_EQ(find(&made, made.function), -ENOENT);
	cfi_write_u32(count_at, entries_that_fit + 1);
	CHECK_EQ(find(&made, made.function), -ENOENT);
	CHECK_EQ(find(&made, UINTPTR_MAX), -ENOENT);
	cfi_write_u32(count_at, UINT32_MAX);
	CHECK_EQ(find(&made, made.function), -ENOENT);
	cfi_write_u32(count_at, 1);

	for (int distance = 1; distance < 4; distance++) {
		const struct cfi_made moved = cfi_move_header(&made, CFI_PAGE_BYTES + (size_t)distance);

		CHECK_EQ(find(&moved, moved.function), -ENOENT);
	}
	made.object.header = 0;
	CHECK_EQ(find(&made, made.function), -ENOENT);
	made.object.header = made.object.start - 12;
	CHECK_EQ(find(&made, made.function), -ENOENT);
	made.object.header = made.object.end;
	CHECK_EQ(find(&made, made.function), -ENOENT);
	made.object.header = made.object.end - 8;
	CHECK_EQ(find(&made, made.function), -ENOENT);
	made.object.header = UINTPTR_MAX - 3;
	CHECK_EQ(find(&made, made.function), -ENOENT);
	made.object.header = made.object.start;
	CHECK_EQ(find(&made, made.function), 0);
}

/* --- Damage -------------------------------------------------------------------------------------------- */

/* What any function of a compiler's has, and all that is two bytes or more. */
static struct cfi_shape everything(void)
{
	static const uint8_t data[] = { 0x9b, 1, 2, 3, 4, 0x1b, CFI_POINTER_ADDRESS };
	static const uint8_t program[] = { 0x41, 0x0e, 16,   0x86, 2,    0x43, 0x0d, 6,    0x0a, 0x02,
					   8,    0x0c, 7,    8,    0x03, 1,    0,    0x0b, 0x04, 1,
					   0,    0,    0,    0x10, 3,    2,    0x76, 0,    0x05, 12,
					   0x82, 0x01, 0x2e, 16,   0x16, 3,    1,    0x30 };

	return (struct cfi_shape){
		.augmentation = "zPLR",
		.augmentation_data = { data, sizeof(data) },
		.pointer_encoding = CFI_POINTER_ADDRESS,
		.program = { program, sizeof(program) },
	};
}

static bool is_orderly(int error)
{
	return error == 0 || error == -EINVAL || error == -ENOENT;
}

static const uintptr_t pc_distances[] = { 0, 1, 4, 12, 13, 14, 0xff };
enum { PC_DISTANCES = sizeof(pc_distances) / sizeof(pc_distances[0]) };

/* The entries end at each byte, and so does memory. */
static void test_truncated(void)
{
	const struct cfi_shape shape = everything();
	const size_t size_bytes = (size_t)(cfi_make(&shape).end - cfi_make(&shape).entries);

	for (size_t left_bytes = 0; left_bytes <= size_bytes; left_bytes++) {
		struct cfi_made made = cfi_make(&shape);

		cfi_cut(&made, left_bytes);
		for (int i = 0; i < PC_DISTANCES; i++)
			CHECK_EQ(find(&made, made.function + pc_distances[i]),
				 left_bytes == size_bytes ? 0 : -EINVAL);
		/* The object claims to go on. */
		made.object.end += CFI_PAGE_BYTES;
		for (int i = 0; i < PC_DISTANCES; i++)
			CHECK_EQ(find(&made, made.function + pc_distances[i]),
				 left_bytes == size_bytes ? 0 : -EINVAL);
	}
}

/* Entries say that they are shorter than they are. */
static void test_shortened(void)
{
	const struct cfi_shape shape = everything();
	struct cfi_made made = cfi_make(&shape);
	uint8_t *const entries[] = { made.entries, made.fde };

	for (int which = 0; which < 2; which++) {
		const uint32_t whole_bytes = cfi_read_u32(entries[which]);

		for (uint32_t bytes = 0; bytes < whole_bytes; bytes++) {
			cfi_write_u32(entries[which], bytes);
			for (int i = 0; i < PC_DISTANCES; i++)
				CHECK(is_orderly(find(&made, made.function + pc_distances[i])));
			/* Before the program begins. */
			if (bytes < 21)
				CHECK(find(&made, made.function) != 0);
		}
		cfi_write_u32(entries[which], whole_bytes);
	}
	CHECK_EQ(find(&made, made.function), 0);
}

/* What a row that was found in a damaged object makes of a frame, in numbers and in terms. */
static void step_by_row(const struct cfi_made *made)
{
	static struct hm_proven_pages proven;
	struct hm_cfi_frame numbers = { .proven = &proven };
	struct hm_cfi_frame terms = { .registers = { [HM_CFI_SP] = { .base = HM_CFI_FROM_SP },
						     [HM_CFI_FP] = { .base = HM_CFI_FROM_FP } } };

	for (int i = 0; i < HM_CFI_REGISTERS; i++)
		numbers.registers[i] = hm_cfi_number((uintptr_t)made->end - 8 * (uintptr_t)i);
	hm_cfi_step(&numbers, &reader.row);
	hm_cfi_step(&terms, &reader.row);
	for (int i = 0; i < HM_CFI_REGISTERS; i++)
		CHECK(numbers.registers[i].base <= HM_CFI_NUMBER);
}

/* Each byte of everything, each of its bits. */
static void test_altered(void)
{
	const struct cfi_shape shape = everything();
	struct cfi_made made = cfi_make(&shape);
	const struct {
		uint8_t *start;
		uint8_t *end;
	} parts[] = { { made.start, made.table + 8 }, { made.entries, made.end } };
	uint64_t found_count = 0;

	for (size_t part = 0; part < 2; part++)
		for (uint8_t *at = parts[part].start; at < parts[part].end; at++)
			for (int bit = 0; bit < 9; bit++) {
				const uint8_t was = *at;

				*at = bit == 8 ? (uint8_t)~was : (uint8_t)(was ^ (1 << bit));
				for (int i = 0; i < PC_DISTANCES; i++) {
					const int error = find(&made, made.function + pc_distances[i]);

					CHECK(is_orderly(error));
					found_count += error == 0;
					if (error == 0)
						step_by_row(&made);
				}
				*at = was;
			}
	CHECK(found_count > 1000);
	CHECK_EQ(find(&made, made.function), 0);
}

static void protect(const struct cfi_made *made, int page, int protection)
{
	CHECK_EQ(mprotect(made->start + (size_t)page * CFI_PAGE_BYTES, CFI_PAGE_BYTES, protection), 0);
}

/* Pages that are in the object and cannot be read, each in turn; and a table that reaches into one. */
static void test_unreadable(void)
{
	const struct cfi_shape shape = cfi_usual((struct cfi_bytes){ 0 });
	struct cfi_made made = cfi_make(&shape);
	const int errors[CFI_MADE_PAGES] = { -ENOENT, 0, -EINVAL };

	for (int page = 0; page < CFI_MADE_PAGES; page++) {
		protect(&made, page, PROT_NONE);
		CHECK_EQ(find(&made, made.function), errors[page]);
		protect(&made, page, PROT_READ | PROT_WRITE);
	}

	/* 1024 entries; the function is the last of the first page, what follows begins behind it. */
	const uint32_t per_page = (CFI_PAGE_BYTES - 12) / 8;

	cfi_write_u32(made.table - 4, 1024);
	for (uint32_t i = 0; i < 1024; i++) {
		uint8_t *const entry = made.table + (size_t)i * 8;

		cfi_write_u32(entry, i < per_page ? CFI_PAGE_BYTES - (per_page - 1 - i) : 0x100000 + i);
		cfi_write_u32(entry + 4, (uint32_t)(made.fde - made.start));
	}
	CHECK_EQ(find(&made, made.function), 0);
	protect(&made, 1, PROT_NONE);
	CHECK_EQ(find(&made, made.function), -ENOENT);
	protect(&made, 1, PROT_READ | PROT_WRITE);

	/* What was proven once is not asked for again, until it is forgotten. */
	made = cfi_make(&shape);
	CHECK_EQ(find(&made, made.function), 0);
	CHECK(hm_proven_readable(&reader.proven, (uintptr_t)made.end - 1, 1));
	CHECK(!hm_proven_readable(&reader.proven, (uintptr_t)made.end - 1, 2));
	CHECK(!hm_proven_readable(&reader.proven, (uintptr_t)made.end, 1));
	CHECK(hm_proven_readable(&reader.proven, (uintptr_t)made.end, 0));
	CHECK(!hm_proven_readable(&reader.proven, UINTPTR_MAX, 2));
	CHECK(!hm_proven_readable(&reader.proven, 0, 1));
	protect(&made, 2, PROT_NONE);
	CHECK(hm_proven_readable(&reader.proven, (uintptr_t)made.end - 1, 1));
	hm_proven_forget(&reader.proven);
	CHECK(!hm_proven_readable(&reader.proven, (uintptr_t)made.end - 1, 1));
	protect(&made, 2, PROT_READ | PROT_WRITE);
}

int main(void)
{
	test_lengths();
	test_entries_elsewhere();
	test_entries_before();
	test_longest_entry();
	test_functions();
	test_header();
	test_truncated();
	test_shortened();
	test_altered();
	test_unreadable();
	return check_result();
}
