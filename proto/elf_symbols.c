// SPDX-License-Identifier: Apache-2.0
#include "proto/elf_symbols.h"

#include "proto/elf_file.h"
#include "proto/text.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

enum {
	NAME_BYTES_MAX = 4096,  /* longer names (of C++ templates) are cut */
	NAME_BYTES_FIRST = 256, /* long enough for most */
	/*
	 * Symbols may lie on top of one another, a few deep; a file made to be slow would put all of them on
	 * all addresses.  So much work is done for each symbol and each address, then no more symbols are
	 * looked at.
	 */
	WORK_PER_SYMBOL = 16,
	WORK_PER_ADDRESS = 1024,
	SECTIONS_MAX = 1 << 17,
	TABLES_MAX = 4, /* a proper file has one .symtab and one .dynsym */
	SPANS = 1024,   /* of addresses */
};

/* The file, and the room to work in. */
struct elf {
	struct hm_elf_file file;
	char *names[2]; /* NAME_BYTES_MAX + 1 each, owned by `scratch`: two names being compared */
	struct hm_arena scratch;
};

/* A symbol that may name an address; value 0: none. */
struct candidate {
	uint64_t value;       /* address as in the file, like all addresses here but those asked for */
	uint64_t name_offset; /* in the file */
	uint64_t name_limit;  /* end of its string table */
	uint8_t rank;         /* higher is better: see rank_of */
};

/* What is known about one of the addresses asked for. */
struct finding {
	uint64_t address;
	struct candidate sized;   /* contains the address */
	struct candidate unsized; /* has no size, begins at or before it */
	uint64_t other_end;       /* end of the last symbol with a size that ends at or before it */
	uint64_t function_start;  /* by .eh_frame_hdr; 0: not known */
};

struct findings {
	struct finding *items; /* ascending by address */
	uint32_t count;
	/* Where the search for an address begins: firsts[k] is the index of the first one that is at least
	 * k << span_log2 above the lowest.  Each symbol of a large file is searched for. */
	uint32_t *firsts; /* SPANS + 1 */
	unsigned int span_log2;
	uint64_t work; /* see WORK_PER_SYMBOL */
};

static void divide_into_spans(struct findings *findings)
{
	const uint64_t lowest = findings->items[0].address;
	uint32_t next = 0;

	while ((findings->items[findings->count - 1].address - lowest) >> findings->span_log2 >= SPANS)
		findings->span_log2++;
	for (uint64_t span = 0; span <= SPANS; span++) {
		while (next < findings->count &&
		       (findings->items[next].address - lowest) >> findings->span_log2 < span)
			next++;
		findings->firsts[span] = next;
	}
}

/* Index of the first address >= `address`, or the number of addresses. */
static uint32_t lower_bound(const struct findings *findings, uint64_t address)
{
	const uint64_t lowest = findings->items[0].address;

	if (address <= lowest)
		return 0;

	const uint64_t span = (address - lowest) >> findings->span_log2;

	if (span >= SPANS)
		return findings->count;

	uint32_t low = findings->firsts[span];
	uint32_t high = findings->firsts[span + 1];

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (findings->items[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* A name without its version; long ones are cut.  Returns its length, 0 where there is none. */
static size_t read_name(const struct elf *elf, const struct candidate *candidate, char *ret_name)
{
	const uint64_t room = candidate->name_limit - candidate->name_offset;
	const size_t most = room < NAME_BYTES_MAX ? (size_t)room : NAME_BYTES_MAX;
	size_t wanted = most < NAME_BYTES_FIRST ? most : NAME_BYTES_FIRST;
	size_t length = 0;

	for (;;) {
		const size_t there = hm_elf_read_some(&elf->file, candidate->name_offset, ret_name, wanted);

		length = strnlen(ret_name, there);
		if (length < there || there < wanted || wanted == most)
			break;
		wanted = most;
	}
	ret_name[length] = '\0';
	char *const version = strchr(ret_name, '@');
	if (version != NULL && version != ret_name) {
		*version = '\0';
		length = (size_t)(version - ret_name);
	}
	return length;
}

/* The better of two names of one function: fewer leading underscores, shorter, alphabetical. */
static bool is_better_name(const struct elf *elf, const struct candidate *left, const struct candidate *right)
{
	const size_t left_length = read_name(elf, left, elf->names[0]);
	const size_t right_length = read_name(elf, right, elf->names[1]);
	const size_t left_lines = strspn(elf->names[0], "_");
	const size_t right_lines = strspn(elf->names[1], "_");

	if (left_length == 0 || right_length == 0)
		return left_length != 0;
	if (left_lines != right_lines)
		return left_lines < right_lines;
	if (left_length != right_length)
		return left_length < right_length;
	return strcmp(elf->names[0], elf->names[1]) < 0;
}

static bool is_better(const struct elf *elf, const struct candidate *left, const struct candidate *right)
{
	/* A function beats a label wherever they start; among equals the later start is the inner one. */
	const bool left_function = left->rank >= 2;
	const bool right_function = right->rank >= 2;

	if (left_function != right_function)
		return left_function;
	if (left->value != right->value)
		return left->value > right->value;
	if (left->rank != right->rank)
		return left->rank > right->rank;
	if (left->name_offset == right->name_offset)
		return false;
	return is_better_name(elf, left, right);
}

static uint8_t rank_of(const Elf64_Sym *symbol)
{
	const uint8_t type = ELF64_ST_TYPE(symbol->st_info);
	const bool function = type == STT_FUNC || type == STT_GNU_IFUNC;
	const bool exported = ELF64_ST_BIND(symbol->st_info) != STB_LOCAL;

	return (uint8_t)(2 * function + exported);
}

static bool is_code(const Elf64_Sym *symbol)
{
	const uint8_t type = ELF64_ST_TYPE(symbol->st_info);

	return (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE) &&
	       symbol->st_shndx != SHN_UNDEF && symbol->st_shndx != SHN_ABS && symbol->st_value != 0 &&
	       symbol->st_name != 0;
}

/* The outcome of the last comparison, because neighbouring addresses mostly have the same candidate. */
struct verdict {
	struct candidate against;
	bool better;
};

static bool is_better_again(const struct elf *elf, const struct candidate *fresh,
			    const struct candidate *best, struct verdict *last)
{
	if (best->value == 0)
		return true;
	if (best->value != last->against.value || best->name_offset != last->against.name_offset ||
	    best->rank != last->against.rank)
		*last = (struct verdict){ .against = *best, .better = is_better(elf, fresh, best) };
	return last->better;
}

static void consider_sized(const struct elf *elf, struct findings *findings, const struct candidate *fresh,
			   uint64_t end)
{
	struct verdict last = { 0 };
	uint32_t i = lower_bound(findings, fresh->value);

	for (; i < findings->count && findings->items[i].address < end; i++) {
		struct candidate *const best = &findings->items[i].sized;

		findings->work++;
		if (is_better_again(elf, fresh, best, &last))
			*best = *fresh;
	}
	if (i < findings->count && findings->items[i].other_end < end)
		findings->items[i].other_end = end;
}

static void consider_unsized(const struct elf *elf, struct findings *findings, const struct candidate *fresh)
{
	const uint32_t i = lower_bound(findings, fresh->value);

	if (i == findings->count)
		return;
	struct candidate *const best = &findings->items[i].unsized;
	if (best->value == 0 || fresh->value > best->value ||
	    (fresh->value == best->value && is_better(elf, fresh, best)))
		*best = *fresh;
}

static void consider(const struct elf *elf, struct findings *findings, const Elf64_Sym *symbol,
		     const Elf64_Shdr *strings, uint64_t code_start)
{
	const uint64_t last_address = findings->items[findings->count - 1].address;
	uint64_t end;

	findings->work++;
	if (symbol->st_value < code_start || symbol->st_value > last_address || !is_code(symbol) ||
	    symbol->st_name >= strings->sh_size)
		return;
	const struct candidate candidate = {
		.value = symbol->st_value,
		.name_offset = strings->sh_offset + symbol->st_name,
		.name_limit = strings->sh_offset + strings->sh_size,
		.rank = rank_of(symbol),
	};
	if (__builtin_add_overflow(symbol->st_value, symbol->st_size, &end))
		end = UINT64_MAX;
	if (symbol->st_size != 0)
		consider_sized(elf, findings, &candidate, end);
	else
		consider_unsized(elf, findings, &candidate);
}

/* One pass over one symbol table. */
static void scan_table(struct elf *elf, struct findings *findings, const Elf64_Shdr *table,
		       uint64_t code_start)
{
	Elf64_Shdr strings;
	uint64_t strings_end;

	if (table->sh_entsize != sizeof(Elf64_Sym) ||
	    !hm_elf_read_section(&elf->file, table->sh_link, &strings) || strings.sh_type != SHT_STRTAB ||
	    __builtin_add_overflow(strings.sh_offset, strings.sh_size, &strings_end))
		return;
	/* What the section claims beyond the end of the file is not there. */
	const uint64_t room =
		table->sh_offset < elf->file.size_bytes ? elf->file.size_bytes - table->sh_offset : 0;
	const uint64_t count = (table->sh_size < room ? table->sh_size : room) / sizeof(Elf64_Sym);
	const uint64_t work_max =
		findings->work + count * WORK_PER_SYMBOL + (uint64_t)findings->count * WORK_PER_ADDRESS;

	for (uint64_t done = 0; done < count;) {
		const size_t there = hm_elf_read_some(&elf->file, table->sh_offset + done * sizeof(Elf64_Sym),
						      elf->file.piece, HM_ELF_PIECE_BYTES) /
				     sizeof(Elf64_Sym);

		for (size_t i = 0; i < there && done + i < count && findings->work < work_max; i++) {
			Elf64_Sym symbol;

			memcpy(&symbol, elf->file.piece + i * sizeof(symbol), sizeof(symbol));
			consider(elf, findings, &symbol, &strings, code_start);
		}
		if (there == 0 || findings->work >= work_max)
			break;
		done += there;
	}
}

static void scan_tables(struct elf *elf, struct findings *findings, uint64_t code_start)
{
	Elf64_Shdr section;
	const uint64_t count = hm_elf_section_count(&elf->file);
	uint32_t table_count = 0;

	for (uint64_t i = 1; i < count && i < SECTIONS_MAX && hm_elf_read_section(&elf->file, i, &section);
	     i++) {
		if (section.sh_type != SHT_SYMTAB && section.sh_type != SHT_DYNSYM)
			continue;
		scan_table(elf, findings, &section, code_start);
		if (++table_count == TABLES_MAX)
			break;
	}
	/* From the first address that each candidate and each end holds for to those after it. */
	for (uint32_t i = 1; i < findings->count; i++) {
		const struct finding *const before = &findings->items[i - 1];
		struct finding *const finding = &findings->items[i];

		if (before->unsized.value > finding->unsized.value)
			finding->unsized = before->unsized;
		if (before->other_end > finding->other_end)
			finding->other_end = before->other_end;
	}
}

/*
 * The end of the function that a table entry stands for, or 0 where its description is of an unusual form.
 * Nearly all write the start as 4 bytes relative to themselves and then the length; so if the first gives the
 * start we know, the second is the length.
 */
static uint64_t function_end(const struct elf *elf, uint64_t start, uint64_t description_address)
{
	struct {
		uint32_t length;
		uint32_t common;
		int32_t start;
		uint32_t size_bytes;
	} description;
	uint64_t offset;

	if (!hm_elf_find_offset(&elf->file, description_address, &offset) ||
	    !hm_elf_read(&elf->file, offset, &description, sizeof(description)))
		return 0;
	const uint64_t start_field = description_address + offsetof(__typeof__(description), start);
	return start_field + (uint64_t)(int64_t)description.start == start ? start + description.size_bytes
									   : 0;
}

/* The table behind .eh_frame_hdr: pairs of offsets (function, description), ascending, from the header's
 * address. */
struct frame_table {
	uint64_t address; /* of the header */
	uint64_t offset;  /* of the first pair in the file */
	uint64_t count;
};

static bool find_frame_table(const struct elf *elf, struct frame_table *ret_table)
{
	/* DW_EH_PE_pcrel | sdata4, udata4, datarel | sdata4: what every linker writes. */
	static const uint8_t expected[] = { 1, 0x1b, 0x03, 0x3b };
	struct {
		uint8_t encodings[sizeof(expected)];
		int32_t frames;
		uint32_t count;
	} header;

	for (uint32_t i = 0; i < elf->file.segment_count; i++) {
		const Elf64_Phdr *const segment = &elf->file.segments[i];

		if (segment->p_type != PT_GNU_EH_FRAME ||
		    !hm_elf_read(&elf->file, segment->p_offset, &header, sizeof(header)) ||
		    memcmp(header.encodings, expected, sizeof(expected)) != 0)
			continue;
		*ret_table = (struct frame_table){
			.address = segment->p_vaddr,
			.offset = segment->p_offset + sizeof(header),
			.count = header.count,
		};
		return true;
	}
	return false;
}

/* Gives the addresses below `end`, from index `first` on, their function; returns the index behind them. */
static uint32_t set_function(const struct elf *elf, struct findings *findings, uint32_t first, uint64_t start,
			     uint64_t description, uint64_t end)
{
	uint32_t i = first;
	uint64_t covered = 0;

	for (; i < findings->count && findings->items[i].address < end; i++) {
		if (start == 0 || findings->items[i].address < start)
			continue;
		if (covered == 0) {
			covered = function_end(elf, start, description);
			if (covered == 0)
				covered = end;
		}
		if (findings->items[i].address < covered)
			findings->items[i].function_start = start;
	}
	return i;
}

/* Walks the addresses and the table side by side; both ascend. */
static void find_function_starts(const struct elf *elf, struct findings *findings)
{
	struct pair {
		int32_t start;
		int32_t description;
	};
	struct frame_table table;
	uint64_t start = 0;
	uint64_t description = 0;
	uint32_t next = 0;

	if (!find_frame_table(elf, &table))
		return;
	for (uint64_t done = 0; done < table.count && next < findings->count;) {
		const size_t there = hm_elf_read_some(&elf->file, table.offset + done * sizeof(struct pair),
						      elf->file.piece, HM_ELF_PIECE_BYTES) /
				     sizeof(struct pair);

		if (there == 0)
			break;
		for (size_t i = 0; i < there && done + i < table.count && next < findings->count; i++) {
			struct pair pair;

			memcpy(&pair, elf->file.piece + i * sizeof(pair), sizeof(pair));
			const uint64_t following = table.address + (uint64_t)(int64_t)pair.start;

			next = set_function(elf, findings, next, start, description, following);
			start = following;
			description = table.address + (uint64_t)(int64_t)pair.description;
		}
		done += there;
	}
	set_function(elf, findings, next, start, description, UINT64_MAX);
}

/* The symbol that names an address, or NULL. */
static const struct candidate *choose(const struct finding *finding)
{
	const struct candidate *const unsized = &finding->unsized;

	if (finding->sized.value != 0)
		return &finding->sized;
	if (unsized->value == 0 || unsized->value < finding->other_end ||
	    unsized->value < finding->function_start)
		return NULL;
	return unsized;
}

static const char *base_name(const struct hm_snapshot_module *module)
{
	const char *const slash = strrchr(module->path, '/');

	if ((module->flags & HM_MODULE_VDSO) != 0)
		return "[vdso]";
	return slash != NULL && slash[1] != '\0' ? slash + 1 : module->path;
}

static struct hm_line *make_line(struct hm_arena *arena, const char *name, size_t length_bytes)
{
	struct hm_line *const line = hm_arena_allocate(arena, sizeof(*line));
	char *const copy = hm_arena_copy_text(arena, name, length_bytes);

	if (line == NULL || copy == NULL)
		return NULL;
	line->name = copy;
	line->system_name = copy;
	return line;
}

/* "libfoo.so.1+0x1f40"; the vDSO and what has no name at all are one function each. */
static struct hm_line *make_placeholder(struct hm_arena *arena, const struct hm_snapshot_module *module,
					uint64_t address)
{
	const char *const base = base_name(module);
	char name[NAME_MAX + 32];
	struct hm_text text = hm_text_begin(name, sizeof(name));

	if (base[0] == '\0' || base[0] == '[')
		return make_line(arena, base[0] == '[' ? base : "[anon]", base[0] == '[' ? strlen(base) : 6);
	hm_text_add(&text, base);
	/* A base name fits NAME_MAX; where the ledger says otherwise, the offset must still be seen. */
	if (text.length_bytes > NAME_MAX)
		text.length_bytes = NAME_MAX;
	hm_text_add(&text, "+0x");
	hm_text_add_hex(&text, address);
	return make_line(arena, name, text.length_bytes);
}

static struct hm_line *name_address(const struct elf *elf, struct hm_arena *arena,
				    const struct hm_snapshot_module *module, const struct finding *finding,
				    bool *ret_placeholder)
{
	const struct candidate *const symbol = choose(finding);

	*ret_placeholder = symbol == NULL;
	if (symbol != NULL) {
		const size_t length = read_name(elf, symbol, elf->names[0]);

		if (length != 0)
			return make_line(arena, elf->names[0], length);
		*ret_placeholder = true;
	}
	return make_placeholder(arena, module,
				finding->function_start != 0 ? finding->function_start : finding->address);
}

static bool has_same_name(const struct finding *left, const struct finding *right)
{
	const struct candidate *const l = choose(left);
	const struct candidate *const r = choose(right);

	if (l != NULL && r != NULL)
		return l->value == r->value && l->name_offset == r->name_offset;
	return l == NULL && r == NULL && left->function_start != 0 &&
	       left->function_start == right->function_start;
}

static int name_all(const struct elf *elf, struct hm_arena *arena, const struct hm_snapshot_module *module,
		    const struct findings *findings, struct hm_location_name *ret_names)
{
	for (uint32_t i = 0; i < findings->count; i++) {
		if (i > 0 && has_same_name(&findings->items[i - 1], &findings->items[i])) {
			ret_names[i] = ret_names[i - 1];
			continue;
		}
		bool placeholder;
		const struct hm_line *const line =
			name_address(elf, arena, module, &findings->items[i], &placeholder);

		if (line == NULL)
			return -ENOMEM;
		ret_names[i] = (struct hm_location_name){ line, 1, placeholder };
	}
	return 0;
}

static enum hm_names_outcome find_names(struct elf *elf, const struct hm_snapshot_module *module,
					struct findings *findings)
{
	const enum hm_names_outcome opened =
		hm_elf_file_open(&elf->file, &elf->scratch, module->path, module);

	if (opened != HM_NAMES_FOUND)
		return opened;
	scan_tables(elf, findings, module->start_address - module->load_bias);
	find_function_starts(elf, findings);
	return HM_NAMES_FOUND;
}

static bool begin(struct elf *elf, struct findings *findings, const struct hm_snapshot_module *module,
		  const uint64_t *addresses, uint32_t count)
{
	hm_arena_init(&elf->scratch, SIZE_MAX);
	if (!hm_elf_file_init(&elf->file, &elf->scratch))
		return false;
	elf->names[0] = hm_arena_allocate(&elf->scratch, NAME_BYTES_MAX + 1);
	elf->names[1] = hm_arena_allocate(&elf->scratch, NAME_BYTES_MAX + 1);
	findings->items = hm_arena_allocate_array(&elf->scratch, count, sizeof(*findings->items));
	findings->count = count;
	findings->firsts = hm_arena_allocate_array(&elf->scratch, SPANS + 1, sizeof(*findings->firsts));
	if (elf->names[0] == NULL || elf->names[1] == NULL || findings->items == NULL ||
	    findings->firsts == NULL)
		return false;
	for (uint32_t i = 0; i < count; i++)
		findings->items[i].address = addresses[i] - module->load_bias;
	divide_into_spans(findings);
	return true;
}

static int resolve(void *context, struct hm_arena *arena, const struct hm_snapshot_module *module,
		   const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
		   enum hm_names_outcome *ret_outcome)
{
	struct elf elf = { .file = { .descriptor = -1 } };
	struct findings findings = { 0 };
	int error = -ENOMEM;

	(void)context;
	if (begin(&elf, &findings, module, addresses, count)) {
		/* A bias beyond the addresses is nonsense, and would put them out of order. */
		*ret_outcome = module->load_bias > module->start_address
				       ? HM_NAMES_NOT_ELF
				       : find_names(&elf, module, &findings);
		error = name_all(&elf, arena, module, &findings, ret_names);
	}
	hm_elf_file_close(&elf.file);
	hm_arena_done(&elf.scratch);
	return error;
}

struct hm_resolver hm_elf_resolver(void)
{
	return (struct hm_resolver){ .resolve = resolve };
}

int hm_elf_resolve_at(const char *path, struct hm_arena *arena, const struct hm_snapshot_module *module,
		      const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
		      enum hm_names_outcome *ret_outcome)
{
	struct hm_snapshot_module moved = *module;

	moved.path = path;
	return resolve(NULL, arena, &moved, addresses, count, ret_names, ret_outcome);
}
