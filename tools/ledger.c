// SPDX-License-Identifier: Apache-2.0
#include "tools/ledger.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_SECOND = 1000000000 };

bool hm_ledger_identify(int descriptor, struct hm_ledger_identity *ret_identity)
{
	/* Copied as bytes: the fields are atomic, and an atomic load wants the mapping and not a copy. */
	uint8_t start[offsetof(struct hm_ledger_header, comm)];
	uint32_t word = 0;

	if (pread(descriptor, start, sizeof(start), 0) != (ssize_t)sizeof(start) ||
	    memcmp(start, HM_LEDGER_MAGIC, strlen(HM_LEDGER_MAGIC)) != 0)
		return false;
	memcpy(&word, start + offsetof(struct hm_ledger_header, version), sizeof(word));
	if (word != HM_LEDGER_VERSION)
		return false;
	memcpy(&word, start + offsetof(struct hm_ledger_header, state), sizeof(word));
	ret_identity->state = (enum hm_ledger_state)word;
	memcpy(&word, start + offsetof(struct hm_ledger_header, pid), sizeof(word));
	ret_identity->pid = (pid_t)word;
	memcpy(&ret_identity->run_id, start + offsetof(struct hm_ledger_header, run_id), sizeof(uint64_t));
	memcpy(&ret_identity->process_start_ticks,
	       start + offsetof(struct hm_ledger_header, process_start_ticks), sizeof(uint64_t));
	return true;
}

static uint64_t to_ns(struct timespec time)
{
	return (uint64_t)time.tv_sec * NS_PER_SECOND + (uint64_t)time.tv_nsec;
}

/* As the library counts them: proto/ledger.h, start_ticks. */
static uint64_t monotonic_ticks(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * HM_TICKS_PER_SECOND +
	       (uint64_t)now.tv_nsec / (NS_PER_SECOND / HM_TICKS_PER_SECOND);
}

static uint64_t word_at(int descriptor, size_t offset)
{
	uint64_t word = 0;

	return pread(descriptor, &word, sizeof(word), (off_t)offset) == (ssize_t)sizeof(word) ? word : 0;
}

/*
 * The last moment of which the ledger of a process that was killed tells.  A page of a mapped file sets the
 * file's time of modification when it is first written to and not again until it was written back, which may
 * be half a minute later: the last sample may be younger.
 */
static uint64_t last_moment_ns(int descriptor, uint64_t modified_ns, uint64_t now_ns)
{
	const uint64_t tick_ns = NS_PER_SECOND / HM_TICKS_PER_SECOND;
	const uint64_t ticks = word_at(descriptor, offsetof(struct hm_ledger_header, sampled_ticks));
	const uint64_t start_ns = word_at(descriptor, offsetof(struct hm_ledger_header, start_realtime_ns));
	uint64_t sampled_ns = start_ns + ticks * tick_ns;

	if (start_ns > now_ns || ticks > (now_ns - start_ns) / tick_ns + 1)
		return modified_ns; /* damage: a sample of the future */
	if (sampled_ns > now_ns)
		sampled_ns = now_ns; /* within its tick */
	return sampled_ns > modified_ns ? sampled_ns : modified_ns;
}

int hm_ledger_snapshot(int descriptor, bool is_running, unsigned int extras, struct hm_snapshot *ret_snapshot,
		       enum hm_snapshot_fault *ret_fault)
{
	struct hm_snapshot_options options = {
		.live_samples = (extras & HM_LEDGER_LIVE) != 0,
		.ages = (extras & HM_LEDGER_AGES) != 0,
	};
	struct hm_source source;
	struct stat status;
	struct timespec now;
	const int error = hm_source_from_descriptor(descriptor, &source);

	if (error != 0) {
		*ret_fault = HM_SNAPSHOT_UNREADABLE;
		return error;
	}
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (is_running) {
		options.realtime_ns = to_ns(now);
		options.monotonic_ticks = monotonic_ticks();
	} else if (fstat(descriptor, &status) == 0) {
		options.realtime_ns = last_moment_ns(descriptor, to_ns(status.st_mtim), to_ns(now));
	}
	return hm_snapshot_take(&source, &options, ret_snapshot, ret_fault);
}

bool hm_ledger_is_damaged(const struct hm_snapshot *snapshot)
{
	const struct hm_snapshot_skipped *const skipped = &snapshot->skipped;

	/* skipped.live and .modules count what was being written, skipped.late what came while we read */
	return snapshot->cut_off || skipped->references != 0 || skipped->records != 0 ||
	       skipped->counters != 0 || skipped->strings != 0;
}

/* One word that the process reads: in one write, so that it never sees half of it. */
static int write_word(int descriptor, uint64_t word, size_t offset)
{
	const ssize_t size = pwrite(descriptor, &word, sizeof(word), (off_t)offset);

	if (size == (ssize_t)sizeof(word))
		return 0;
	return size < 0 ? -errno : -EIO;
}

int hm_ledger_set_interval(int descriptor, uint64_t interval_bytes, uint64_t asleep_bytes, uint64_t *ret_was)
{
	const size_t offset = offsetof(struct hm_ledger_header, control_interval_bytes);
	struct timespec now;
	uint64_t was = 0;
	const ssize_t size = pread(descriptor, &was, sizeof(was), (off_t)offset);
	int error = 0;

	if (size != (ssize_t)sizeof(was))
		return size < 0 ? -errno : -EBADMSG;
	if (was == 0 && interval_bytes != 0) {
		(void)clock_gettime(CLOCK_REALTIME, &now);
		error = write_word(descriptor, to_ns(now),
				   offsetof(struct hm_ledger_header, control_woken_ns));
		if (error == 0)
			error = write_word(descriptor, asleep_bytes,
					   offsetof(struct hm_ledger_header, control_asleep_bytes));
	}
	if (error == 0)
		error = write_word(descriptor, interval_bytes, offset);
	if (error == 0)
		*ret_was = was;
	return error;
}

int hm_ledger_release(int descriptor)
{
	return write_word(descriptor, 0, offsetof(struct hm_ledger_header, control_supervised));
}
