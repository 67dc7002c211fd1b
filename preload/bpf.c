// SPDX-License-Identifier: Apache-2.0
#include "preload/bpf.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

/* A filter that is being run. */
struct machine {
	const struct hm_system_call *call;
	uint32_t accumulator;
	uint32_t index; /* the register that BPF calls X */
	uint32_t memory[BPF_MEMWORDS];
	size_t next; /* the instruction after this one */
};

enum progress {
	GOES_ON,
	ANSWERS, /* in the accumulator */
	FAULTS,  /* not a filter, or not one that can be run here */
};

/* One of the words of struct seccomp_data; false where it is not known. */
static bool load_word(const struct hm_system_call *call, uint32_t offset, uint32_t *ret_word)
{
	enum {
		NUMBER = offsetof(struct seccomp_data, nr),
		ARCHITECTURE = offsetof(struct seccomp_data, arch),
		ARGUMENTS = offsetof(struct seccomp_data, args),
		WORD_BYTES = 4
	};

	if (offset == NUMBER) {
		*ret_word = (uint32_t)call->number;
		return true;
	}
	if (offset == ARCHITECTURE) {
		*ret_word = AUDIT_ARCH_X86_64;
		return true;
	}
	if (offset < ARGUMENTS || offset >= sizeof(struct seccomp_data) || offset % WORD_BYTES != 0)
		return false;

	const uint32_t argument = (offset - ARGUMENTS) / sizeof(uint64_t);
	const bool is_upper_half = (offset - ARGUMENTS) % sizeof(uint64_t) != 0;

	if ((call->known_arguments >> argument & 1) == 0)
		return false;
	*ret_word = (uint32_t)(call->arguments[argument] >> (is_upper_half ? 32 : 0));
	return true;
}

static enum progress load(struct machine *machine, const struct sock_filter *instruction, uint32_t *ret_word)
{
	switch (BPF_MODE(instruction->code)) {
	case BPF_IMM:
		*ret_word = instruction->k;
		return GOES_ON;
	case BPF_LEN:
		*ret_word = sizeof(struct seccomp_data);
		return GOES_ON;
	case BPF_MEM:
		if (instruction->k >= BPF_MEMWORDS)
			return FAULTS;
		*ret_word = machine->memory[instruction->k];
		return GOES_ON;
	case BPF_ABS:
		return load_word(machine->call, instruction->k, ret_word) ? GOES_ON : FAULTS;
	default:
		return FAULTS;
	}
}

static enum progress store(struct machine *machine, uint32_t position, uint32_t word)
{
	if (position >= BPF_MEMWORDS)
		return FAULTS;
	machine->memory[position] = word;
	return GOES_ON;
}

static uint32_t operand_of(const struct machine *machine, const struct sock_filter *instruction)
{
	return BPF_SRC(instruction->code) == BPF_X ? machine->index : instruction->k;
}

static enum progress compute(struct machine *machine, const struct sock_filter *instruction)
{
	enum { SHIFT_MASK = 31 };
	const uint32_t operand = operand_of(machine, instruction);
	uint32_t *const accumulator = &machine->accumulator;

	switch (BPF_OP(instruction->code)) {
	case BPF_ADD:
		*accumulator += operand;
		return GOES_ON;
	case BPF_SUB:
		*accumulator -= operand;
		return GOES_ON;
	case BPF_MUL:
		*accumulator *= operand;
		return GOES_ON;
	case BPF_DIV:
		if (operand == 0)
			return FAULTS; /* the kernel takes it for SECCOMP_RET_KILL_THREAD */
		*accumulator /= operand;
		return GOES_ON;
	case BPF_AND:
		*accumulator &= operand;
		return GOES_ON;
	case BPF_OR:
		*accumulator |= operand;
		return GOES_ON;
	case BPF_XOR:
		*accumulator ^= operand;
		return GOES_ON;
	case BPF_LSH:
		*accumulator <<= operand & SHIFT_MASK;
		return GOES_ON;
	case BPF_RSH:
		*accumulator >>= operand & SHIFT_MASK;
		return GOES_ON;
	case BPF_NEG:
		*accumulator = -*accumulator;
		return GOES_ON;
	default:
		return FAULTS;
	}
}

static enum progress jump(struct machine *machine, const struct sock_filter *instruction)
{
	const uint32_t operand = operand_of(machine, instruction);
	bool holds;

	switch (BPF_OP(instruction->code)) {
	case BPF_JA:
		machine->next += instruction->k;
		return GOES_ON;
	case BPF_JEQ:
		holds = machine->accumulator == operand;
		break;
	case BPF_JGT:
		holds = machine->accumulator > operand;
		break;
	case BPF_JGE:
		holds = machine->accumulator >= operand;
		break;
	case BPF_JSET:
		holds = (machine->accumulator & operand) != 0;
		break;
	default:
		return FAULTS;
	}
	machine->next += holds ? instruction->jt : instruction->jf;
	return GOES_ON;
}

static enum progress run(struct machine *machine, const struct sock_filter *instruction)
{
	switch (BPF_CLASS(instruction->code)) {
	case BPF_LD:
		return load(machine, instruction, &machine->accumulator);
	case BPF_LDX:
		return BPF_MODE(instruction->code) == BPF_ABS ? FAULTS
							      : load(machine, instruction, &machine->index);
	case BPF_ST:
		return store(machine, instruction->k, machine->accumulator);
	case BPF_STX:
		return store(machine, instruction->k, machine->index);
	case BPF_ALU:
		return compute(machine, instruction);
	case BPF_JMP:
		return jump(machine, instruction);
	case BPF_RET:
		if (BPF_RVAL(instruction->code) == BPF_K)
			machine->accumulator = instruction->k;
		return ANSWERS;
	default: /* BPF_MISC */
		if (BPF_MISCOP(instruction->code) == BPF_TAX)
			machine->index = machine->accumulator;
		else
			machine->accumulator = machine->index;
		return GOES_ON;
	}
}

static enum hm_bpf_verdict verdict_of(uint32_t answer)
{
	switch (answer & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
	case SECCOMP_RET_LOG:
		return HM_BPF_ALLOWS;
	case SECCOMP_RET_ERRNO:
		/* Error 0 makes a call look as if it had succeeded. */
		return (answer & SECCOMP_RET_DATA) != 0 ? HM_BPF_FAILS : HM_BPF_FORBIDS;
	default:
		return HM_BPF_FORBIDS;
	}
}

enum hm_bpf_verdict hm_bpf_ask(const struct sock_filter *program, size_t instruction_count,
			       const struct hm_system_call *call)
{
	struct machine machine = { .call = call };
	enum progress progress = GOES_ON;

	while (progress == GOES_ON) {
		if (machine.next >= instruction_count)
			return HM_BPF_FORBIDS;
		/* Read once, so that what is checked is what is used. */
		const struct sock_filter instruction =
			*(const volatile struct sock_filter *)&program[machine.next++];

		progress = run(&machine, &instruction);
	}
	return progress == ANSWERS ? verdict_of(machine.accumulator) : HM_BPF_FORBIDS;
}
