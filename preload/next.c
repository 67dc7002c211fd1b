// SPDX-License-Identifier: Apache-2.0
#include "preload/next.h"

#include "preload/filter.h"
#include "preload/say.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What dlsym needs at most: a message of a failed look-up, some 100 bytes; and whatever runs before us. */
enum { ARENA_BYTES = 64 * 1024, ARENA_ALIGNMENT = 16 };

/* Lies before each block of the arena. */
struct arena_header {
	_Alignas(ARENA_ALIGNMENT) size_t size_bytes;
};

static _Alignas(4096) char arena[ARENA_BYTES];
static _Atomic size_t arena_used_bytes;

static void *arena_allocate(size_t alignment, size_t size_bytes)
{
	if (alignment < ARENA_ALIGNMENT)
		alignment = ARENA_ALIGNMENT;
	if (alignment > ARENA_BYTES || size_bytes > ARENA_BYTES) {
		errno = ENOMEM;
		return NULL;
	}

	/* relaxed: the bytes are zero, and each is given out once */
	const size_t wanted = sizeof(struct arena_header) + alignment +
			      (size_bytes + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
	const size_t start = atomic_fetch_add_explicit(&arena_used_bytes, wanted, memory_order_relaxed);

	if (start > ARENA_BYTES || wanted > ARENA_BYTES - start) {
		errno = ENOMEM;
		return NULL;
	}

	const uintptr_t first = (uintptr_t)arena + start + sizeof(struct arena_header);
	char *const block = arena + (((first + alignment - 1) & ~(alignment - 1)) - (uintptr_t)arena);

	((struct arena_header *)(void *)(block - sizeof(struct arena_header)))->size_bytes = size_bytes;
	hm_filter_pin((uintptr_t)block);
	return block;
}

bool hm_next_owns(const void *block)
{
	return (uintptr_t)block - (uintptr_t)arena < ARENA_BYTES;
}

size_t hm_next_owned_size(const void *block)
{
	return ((const struct arena_header *)(const void *)((const char *)block -
							    sizeof(struct arena_header)))
		->size_bytes;
}

/*
 * The functions before they are known.  Each looks all of them up and passes the call on; a call that comes
 * from inside the look-up (`resolving`) is served by the arena.
 */
/* By the one thread there is when the process starts. */
static bool resolving;
static bool is_resolved;

static bool resolve_now(void)
{
	if (resolving)
		return false;
	hm_next_resolve();
	return true;
}

static void *early_memalign(size_t alignment, size_t size_bytes)
{
	return resolve_now() ? hm_next.memalign(alignment, size_bytes)
			     : arena_allocate(alignment, size_bytes);
}

static void *early_malloc(size_t size_bytes)
{
	return resolve_now() ? hm_next.malloc(size_bytes) : arena_allocate(0, size_bytes);
}

static void *early_calloc(size_t count, size_t size_bytes)
{
	size_t total_bytes;

	if (resolve_now())
		return hm_next.calloc(count, size_bytes);
	if (__builtin_mul_overflow(count, size_bytes, &total_bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return arena_allocate(0, total_bytes);
}

static void early_free(void *block)
{
	if (block != NULL && !hm_next_owns(block) && resolve_now())
		hm_next.free(block);
}

/* Of the arena's own blocks realloc takes care in the shim; before the look-up there are no others. */
static void *early_realloc(void *block, size_t size_bytes)
{
	return resolve_now() ? hm_next.realloc(block, size_bytes) : arena_allocate(0, size_bytes);
}

static void *early_aligned_alloc(size_t alignment, size_t size_bytes)
{
	return resolve_now() ? hm_next.aligned_alloc(alignment, size_bytes)
			     : arena_allocate(alignment, size_bytes);
}

static int early_posix_memalign(void **ret_block, size_t alignment, size_t size_bytes)
{
	if (resolve_now())
		return hm_next.posix_memalign(ret_block, alignment, size_bytes);
	*ret_block = arena_allocate(alignment, size_bytes);
	return *ret_block == NULL ? ENOMEM : 0;
}

static void *early_valloc(size_t size_bytes)
{
	return resolve_now() ? hm_next.valloc(size_bytes) : arena_allocate(4096, size_bytes);
}

static void *early_pvalloc(size_t size_bytes)
{
	return resolve_now() ? hm_next.pvalloc(size_bytes)
			     : arena_allocate(4096, (size_bytes + 4095) & ~(size_t)4095);
}

static void *early_visible_realloc(void *block, size_t size_bytes)
{
	return resolve_now() ? hm_next.visible_realloc(block, size_bytes) : arena_allocate(0, size_bytes);
}

static void early_visible_free(void *block)
{
	if (resolve_now())
		hm_next.visible_free(block);
}

static int early_dlclose(void *handle)
{
	hm_next_resolve();
	return hm_next.dlclose(handle);
}

static void early_exit(int status)
{
	hm_next_resolve();
	hm_next.exit_now(status);
}

static pid_t early_bare_fork(void)
{
	hm_next_resolve();
	return hm_next.bare_fork();
}

static int early_mlockall(int flags)
{
	hm_next_resolve();
	return hm_next.mlockall(flags);
}

static void *early_mmap(void *start, size_t size_bytes, int protection, int flags, int descriptor,
			off_t offset)
{
	hm_next_resolve();
	return hm_next.mmap(start, size_bytes, protection, flags, descriptor, offset);
}

static int early_munmap(void *start, size_t size_bytes)
{
	hm_next_resolve();
	return hm_next.munmap(start, size_bytes);
}

static int early_mprotect(void *start, size_t size_bytes, int protection)
{
	hm_next_resolve();
	return hm_next.mprotect(start, size_bytes, protection);
}

/* The fifth is there always: the shim passes it on. */
static void *early_mremap(void *start, size_t size_bytes, size_t new_size_bytes, int flags, ...)
{
	va_list arguments;

	va_start(arguments, flags);

	void *const new_start = va_arg(arguments, void *);

	va_end(arguments);
	hm_next_resolve();
	return hm_next.mremap(start, size_bytes, new_size_bytes, flags, new_start);
}

struct hm_next hm_next = {
	.malloc = early_malloc,
	.free = early_free,
	.calloc = early_calloc,
	.realloc = early_realloc,
	.memalign = early_memalign,
	.aligned_alloc = early_aligned_alloc,
	.posix_memalign = early_posix_memalign,
	.valloc = early_valloc,
	.pvalloc = early_pvalloc,
	.visible_realloc = early_visible_realloc,
	.visible_free = early_visible_free,
	.dlclose = early_dlclose,
	.exit_now = early_exit,
	.Exit = early_exit,
	.bare_fork = early_bare_fork,
	.mlockall = early_mlockall,
	.mmap = early_mmap,
	.munmap = early_munmap,
	.mprotect = early_mprotect,
	.mremap = early_mremap,
};

/*
 * Of prctl nothing is known but that all may be in the registers, seven arguments and the count
 * of vector registers, and more on the stack.  So the stack is left as it was found.
 */
HM_HIDDEN int hm_next_early_prctl(int option, ...);

__asm__(".pushsection .text\n"
	".globl hm_next_early_prctl\n"
	".hidden hm_next_early_prctl\n"
	".type hm_next_early_prctl, @function\n"
	"hm_next_early_prctl:\n"
	".cfi_startproc\n"
	".irp register, rdi, rsi, rdx, rcx, r8, r9, rax\n"
	"	pushq %\\register\n"
	".cfi_adjust_cfa_offset 8\n"
	".endr\n"
	"	callq hm_next_resolve\n" /* SP is a multiple of 16 after seven words and the return address */
	".irp register, rax, r9, r8, rcx, rdx, rsi, rdi\n"
	"	popq %\\register\n"
	".cfi_adjust_cfa_offset -8\n"
	".endr\n"
	"	jmpq *hm_next_prctl(%rip)\n"
	".cfi_endproc\n"
	".size hm_next_early_prctl, . - hm_next_early_prctl\n"
	".popsection\n");

/* As the C library ends a system call that failed. */
HM_HIDDEN long hm_next_syscall_failed(long result);
long hm_next_syscall_failed(long result)
{
	errno = (int)-result;
	return -1;
}

/*
 * Nothing is looked up for syscall: an allocator in front of us calls it while it starts (jemalloc opens
 * files by it), and dlsym, which allocates a message where a name is missing, would wait for that allocator's
 * lock.
 */
HM_HIDDEN long hm_next_early_syscall(long number, ...);

__asm__(".pushsection .text\n"
	".globl hm_next_early_syscall\n"
	".hidden hm_next_early_syscall\n"
	".type hm_next_early_syscall, @function\n"
	"hm_next_early_syscall:\n"
	".cfi_startproc\n"
	"	movq %rdi, %rax\n"
	"	movq %rsi, %rdi\n"
	"	movq %rdx, %rsi\n"
	"	movq %rcx, %rdx\n"
	"	movq %r8, %r10\n"
	"	movq %r9, %r8\n"
	"	movq 8(%rsp), %r9\n"
	"	syscall\n"
	"	cmpq $-4095, %rax\n"
	"	jae 1f\n"
	"	ret\n"
	"1:	movq %rax, %rdi\n"
	"	jmp hm_next_syscall_failed\n"
	".cfi_endproc\n"
	".size hm_next_early_syscall, . - hm_next_early_syscall\n"
	".popsection\n");

int (*hm_next_prctl)(int option, ...) = hm_next_early_prctl;
long (*hm_next_syscall)(long number, ...) = hm_next_early_syscall;

/* dlsym speaks of objects; ISO C has no way to say that this one is a function (POSIX: dlsym, rationale). */
static void look_up(void *scope, const char *name, void *ret_function, bool required)
{
	void *const function = dlsym(scope, name);

	if (function != NULL) {
		memcpy(ret_function, &function, sizeof(function));
	} else if (required) {
		hm_say("no %s() after libheapmark.so in the search order; is the program linked against a C "
		       "library?",
		       name);
		abort();
	}
}

/* The start of the object that defines a function; NULL: of none.  Not dladdr, which goes through all its
 * symbols. */
static const void *object_of(const void *function)
{
	struct dl_find_object object;

	return _dl_find_object((void *)(uintptr_t)function, &object) == 0 ? object.dlfo_map_start : NULL;
}

bool hm_next_defines(const void *function)
{
	const void *malloc_address;

	memcpy(&malloc_address, &hm_next.malloc, sizeof(malloc_address));
	return function != NULL && object_of(function) == object_of(malloc_address);
}

/* The allocator's object; empty where it is the C library. */
static struct {
	uintptr_t start;
	uintptr_t size_bytes;
} allocator;

static void find_allocator(void)
{
	const void *malloc_address;
	const void *libc_address;
	struct dl_find_object object;

	memcpy(&malloc_address, &hm_next.malloc, sizeof(malloc_address));
	memcpy(&libc_address, &hm_next.dlclose, sizeof(libc_address));
	if (object_of(malloc_address) == object_of(libc_address) ||
	    _dl_find_object((void *)(uintptr_t)malloc_address, &object) != 0)
		return;
	allocator.start = (uintptr_t)object.dlfo_map_start;
	allocator.size_bytes = (uintptr_t)object.dlfo_map_end - allocator.start;
}

bool hm_next_is_allocator(const void *address)
{
	return (uintptr_t)address - allocator.start < allocator.size_bytes;
}

static bool allocator_has_reallocarray(void)
{
	const void *const function = dlsym(RTLD_NEXT, "reallocarray");
	const void *libc_function;

	memcpy(&libc_function, &hm_next.dlclose, sizeof(libc_function));
	return hm_next_defines(function) && object_of(function) != object_of(libc_function);
}

void hm_next_resolve(void)
{
	if (is_resolved)
		return;
	struct hm_next found = hm_next;

	resolving = true;
	/* All of this is there: such look-ups succeed, and a successful dlsym neither allocates nor frees. */
	look_up(RTLD_NEXT, "malloc", &found.malloc, true);
	look_up(RTLD_NEXT, "free", &found.free, true);
	look_up(RTLD_NEXT, "calloc", &found.calloc, true);
	look_up(RTLD_NEXT, "realloc", &found.realloc, true);
	look_up(RTLD_NEXT, "memalign", &found.memalign, true);
	look_up(RTLD_NEXT, "aligned_alloc", &found.aligned_alloc, true);
	look_up(RTLD_NEXT, "posix_memalign", &found.posix_memalign, true);
	look_up(RTLD_NEXT, "valloc", &found.valloc, true);
	look_up(RTLD_NEXT, "pvalloc", &found.pvalloc, true);
	look_up(RTLD_DEFAULT, "realloc", &found.visible_realloc, true);
	look_up(RTLD_DEFAULT, "free", &found.visible_free, true);
	look_up(RTLD_NEXT, "dlclose", &found.dlclose, true);
	look_up(RTLD_NEXT, "_exit", &found.exit_now, true);
	look_up(RTLD_NEXT, "_Exit", &found.Exit, true);
	look_up(RTLD_NEXT, "_Fork", &found.bare_fork, true);
	look_up(RTLD_NEXT, "mlockall", &found.mlockall, true);
	look_up(RTLD_NEXT, "mmap", &found.mmap, true);
	look_up(RTLD_NEXT, "munmap", &found.munmap, true);
	look_up(RTLD_NEXT, "mprotect", &found.mprotect, true);
	look_up(RTLD_NEXT, "mremap", &found.mremap, true);
	look_up(RTLD_NEXT, "prctl", &hm_next_prctl, true);
	look_up(RTLD_NEXT, "syscall", &hm_next_syscall, true);
	hm_next = found;
	hm_next.has_reallocarray = allocator_has_reallocarray();
	find_allocator();
	resolving = false;
	is_resolved = true;
}

/* Of threads that come here at once, each stores the same. */
struct hm_next_sized hm_next_sized(void)
{
	static void (*_Atomic free_sized)(void *, size_t);
	static void (*_Atomic free_aligned_sized)(void *, size_t, size_t);
	static _Atomic bool is_known;

	/* acquire: pairs with the release below; both pointers are written */
	if (!atomic_load_explicit(&is_known, memory_order_acquire)) {
		struct hm_next_sized found = { 0 };

		look_up(RTLD_NEXT, "free_sized", &found.free_sized, false);
		look_up(RTLD_NEXT, "free_aligned_sized", &found.free_aligned_sized, false);
		/* relaxed: ordered by is_known */
		atomic_store_explicit(&free_sized, found.free_sized, memory_order_relaxed);
		atomic_store_explicit(&free_aligned_sized, found.free_aligned_sized, memory_order_relaxed);
		/* release: pairs with the acquire above */
		atomic_store_explicit(&is_known, true, memory_order_release);
	}
	/* relaxed: as above */
	return (struct hm_next_sized){
		.free_sized = atomic_load_explicit(&free_sized, memory_order_relaxed),
		.free_aligned_sized = atomic_load_explicit(&free_aligned_sized, memory_order_relaxed),
	};
}
