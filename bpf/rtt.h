/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Copyright The flow monitor Authors */
/*
 * Round-trip times on their way into a histogram. A socket's samples lie close together
 * and come in the thousands a second, so they are cached in the socket's storage: eight
 * neighbouring buckets (a factor of four) hold nearly all samples between two folds.
 */
#ifndef RTT_H
#define RTT_H

#include "flow.h"

#define CACHED_BUCKETS 8 /* direct-mapped: bucket b lives in slot b % 8 */

struct rtt_cache {
	__u64 sum_us;
	__u32 max_us;
	__u32 min_us_inverted;
	__u16 count[CACHED_BUCKETS];
	__u8 bucket[CACHED_BUCKETS];
};

/*
 * rtt_bucket gives the bucket of a time in microseconds: the i with
 * 2^(i/4 - 16) s < us <= 2^((i+1)/4 - 16) s. It counts in units of 2^-36 s, in which every
 * octave begins at a power of two; a bucket's upper bound belongs to it (OpenTelemetry
 * data model), hence the decrement before the division.
 */
static __always_inline __u32 rtt_bucket(__u64 us)
{
	__u32 octave = 0, quarter;
	__u64 units, top;

	if (us <= 15) /* 2^-16 s = 15.26 us */
		return 0;
	if (us > 64000000) /* 2^6 s; beyond it the product below would overflow */
		return BUCKETS - 1;
	units = ((us << 36) - 1) / 1000000;

	top = units >> 20; /* in units of 2^-16 s: its highest bit is the octave */
	if (top >> 16) { octave += 16; top >>= 16; }
	if (top >> 8) { octave += 8; top >>= 8; }
	if (top >> 4) { octave += 4; top >>= 4; }
	if (top >> 2) { octave += 2; top >>= 2; }
	if (top >> 1) octave += 1;

	/* All of the mantissa, 2^41 <= units < 2^42, against 2^(41 + 1/4), 2^(41 + 2/4), 2^(41 + 3/4). */
	units <<= OCTAVES - 1 - octave;
	quarter = (units > 2615094101558ULL) + (units > 3109888511975ULL) + (units > 3698301545306ULL);
	return octave * BUCKETS_PER_OCTAVE + quarter;
}

/* rtt_cache_add says whether the sample found room. */
static __always_inline bool rtt_cache_add(struct rtt_cache *c, __u32 us, __u32 bucket)
{
	__u32 slot = bucket % CACHED_BUCKETS;

	if (c->count[slot] && (c->bucket[slot] != bucket || c->count[slot] == 0xffff))
		return false;
	c->bucket[slot] = bucket;
	c->count[slot]++;
	c->sum_us += us;
	if (us > c->max_us)
		c->max_us = us;
	if (~us > c->min_us_inverted)
		c->min_us_inverted = ~us;
	return true;
}

/* raise makes *p at least v, also against other CPUs. */
static __always_inline void raise(__u32 *p, __u32 v)
{
	__u32 seen = *(volatile __u32 *)p;

	/* Each lost race raised *p; more than a few in a row would need as many CPUs. */
	for (int i = 0; i < 16 && seen < v; i++) {
		__u32 found = __sync_val_compare_and_swap(p, seen, v);

		if (found == seen)
			return;
		seen = found;
	}
}

static __always_inline void histogram_extremes(struct histogram *h, __u32 max_us, __u32 min_inverted)
{
	if (max_us > *(volatile __u32 *)&h->max_us)
		raise(&h->max_us, max_us);
	if (min_inverted > *(volatile __u32 *)&h->min_us_inverted)
		raise(&h->min_us_inverted, min_inverted);
}

static __always_inline void histogram_add_cache(struct histogram *h, const struct rtt_cache *c)
{
	__u64 n = 0;

	for (int i = 0; i < CACHED_BUCKETS; i++) {
		__u32 bucket = c->bucket[i];

		if (!c->count[i] || bucket >= BUCKETS)
			continue;
		__sync_fetch_and_add(&h->buckets[bucket], c->count[i]);
		n += c->count[i];
	}
	if (!n)
		return;
	__sync_fetch_and_add(&h->count, n);
	__sync_fetch_and_add(&h->sum_us, c->sum_us);
	histogram_extremes(h, c->max_us, c->min_us_inverted);
}

static __always_inline void histogram_add(struct histogram *h, __u32 us)
{
	__u32 bucket = rtt_bucket(us);

	if (bucket < BUCKETS)
		__sync_fetch_and_add(&h->buckets[bucket], 1);
	__sync_fetch_and_add(&h->count, 1);
	__sync_fetch_and_add(&h->sum_us, us);
	histogram_extremes(h, us, ~us);
}

#endif
