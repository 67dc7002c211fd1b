// SPDX-License-Identifier: Apache-2.0
/*
 * Functions in assembly that call `visit(argument)` from frames that no compiler makes (hand_written.S).
 * `frame_pointer` is what RBP holds during the call.
 */
#ifndef HM_TESTS_HAND_WRITTEN_H
#define HM_TESTS_HAND_WRITTEN_H

#include <stdint.h>

typedef void visit_function(void *argument);

/* Its call-frame information counts from RBP, which no longer points to the frame. */
void hand_written_lying_fp(visit_function *visit, void *argument, uintptr_t frame_pointer);

/* Its call-frame information counts from RSP and does not say that RBP is saved: the caller's RBP is lost. */
void hand_written_lost_fp(visit_function *visit, void *argument, uintptr_t frame_pointer);

/* No call-frame information, and a frame pointer. */
void hand_written_no_cfi(visit_function *visit, void *argument);
extern const char hand_written_no_cfi_end[];

/* No call-frame information, and RBP holds anything. */
void hand_written_no_cfi_no_fp(visit_function *visit, void *argument, uintptr_t frame_pointer);

/* Its call-frame information counts from RBX. */
void hand_written_on_rbx(visit_function *visit, void *argument);

/* Raises SIGTRAP when it has restored RBP and is about to return: what it saved lies below RSP then. */
void hand_written_trap(void);

/* Its last instruction is the call, which must not return, and after it comes other call-frame information.
 */
void hand_written_last_call(visit_function *visit, void *argument);

/* Raises SIGTRAP at an instruction about which nothing true is said, the next is to be believed. */
void hand_written_trap_before(void);

/* Jumps to visit, which must not return: it finds 0 for its return address. */
void hand_written_no_return(visit_function *visit, void *argument);

/*
 * Instructions that never run, each with call-frame information of its own: what rules are made of.
 * CFA is at...
 */
extern const char rule_entry[];         /* SP + 8 */
extern const char rule_pushed[];        /* SP + 24, FP saved at CFA - 24 */
extern const char rule_on_fp[];         /* FP + 16, FP saved at CFA - 16 */
extern const char rule_large[];         /* SP + 2^30 */
extern const char rule_odd[];           /* SP + 12 */
extern const char rule_far_fp[];        /* SP + 8, FP saved at CFA - 2^20 */
extern const char rule_fp_at_cfa[];     /* SP + 8, FP saved at CFA */
extern const char rule_realigned[];     /* the word at FP - 8, FP saved at FP */
extern const char rule_added[];         /* the word at FP - 8, plus 8 */
extern const char rule_realigned_odd[]; /* the word at FP - 8, return address at CFA - 16 */
extern const char rule_fp_added[];      /* SP + 24, FP is the word at SP, plus 8 */
extern const char rule_on_rbx[];        /* RBX + 16 */
extern const char rule_outermost[];     /* no return address */
extern const char rule_no_cfi[];        /* nothing is said */
extern const char rule_saves_rbx[];     /* SP + 24, RBX saved at CFA - 16 */
extern const char rule_loses_rbx[];     /* SP + 24, RBX is lost */
extern const char rule_rbx_in_r12[];    /* SP + 24, RBX is in R12; and so on */
extern const char rule_rbx_in_r13[];
extern const char rule_rbx_in_r14[];
extern const char rule_rbx_in_r15[];
extern const char rule_rbx_computed[];    /* SP + 24, RBX was RBX + 8 */
extern const char rule_on_rbx_computed[]; /* RBX + 16, by an expression */
extern const char rule_no_frame[];        /* SP */
extern const char rule_damaged[];         /* a row is recalled that was not remembered */
extern const char rule_signal_frame[];    /* SP + 16; whoever was interrupted has not called */
extern const char rule_linkage[];         /* nothing is said, but it is an entry of a linkage table: SP + 8 */
extern const char rule_no_linkage[];      /* four times nearly one, RULE_NO_LINKAGE_BYTES each */
enum { RULE_NO_LINKAGE_BYTES = 16 };

#endif
