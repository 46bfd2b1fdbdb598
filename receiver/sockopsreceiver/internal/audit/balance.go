// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package audit

// balance holds one counter of one namespace against what was covered of it.
type balance struct {
	// The kernel's counter before and after the harvest in which the audit began; what is
	// covered counts from some moment between them.
	first, base uint64
	covered     int64

	lost    int64 // acknowledged; never goes down
	claimed int64 // what seemed lost a round ago
	excess  int64 // covered, but never seen; never goes down
	surplus int64 // what seemed to be excess a round ago

	// What may explain a loss: segments that no socket sent (segments.go).
	allowance int64
	explained int64
	widest    int64 // of the windows so far
}

// settle draws the balance of a round. before and after are the kernel's counter around
// the harvest. spare may explain a loss too: it was covered, but not told where.
func (b *balance) settle(before, after uint64, spare *spare) {
	claim := int64(before-b.base) - b.covered - b.explained
	if n := min(claim-b.lost, b.allowance); n > 0 {
		b.allowance -= n
		b.explained += n
		claim -= n
	}
	// Last: other namespaces need of it too.
	if n := spare.take(claim - b.lost); n > 0 {
		b.covered += n
		claim -= n
	}
	// What no longer seems lost a round later was only late.
	b.lost = max(b.lost, min(claim, b.claimed))
	b.claimed = claim
	// Soon forgotten, so that it does not hide a loss to come; but what is still within the
	// windows may be needed yet.
	b.widest = max(b.widest, b.window(before, after))
	b.allowance = max(b.allowance/2, min(b.allowance, b.widest))

	surplus := b.covered + b.explained - int64(after-b.first)
	if n := min(surplus, b.explained); n > 0 { // it needed no explanation: it was late
		b.explained -= n
		surplus -= n
	}
	b.excess = max(b.excess, min(surplus, b.surplus))
	b.surplus = surplus
}

// seen is what the kernel counted since the balance began, without what no socket sent.
func (b *balance) seen() int64 { return b.covered + b.lost - b.excess }

// window is how much the kernel's counter moved during the harvest, and during the one in
// which the audit began: so much more or less may be covered than seen.
func (b *balance) window(before, after uint64) int64 {
	return int64(after-before) + int64(b.base-b.first)
}

// spare is what overflow flows covered: in some namespace, but not told in which.
type spare struct {
	left   int64
	widest int64 // of the windows of a round, of all namespaces together
}

func (s *spare) add(n int64) { s.left += n }

// take takes out at most n.
func (s *spare) take(n int64) int64 {
	n = max(0, min(n, s.left))
	s.left -= n
	return n
}

// age ends a round. What the namespaces of the audit did not need may be claimed later, as
// far as it is within their windows; the rest belongs to others.
func (s *spare) age(windows int64) {
	s.widest = max(s.widest, windows)
	s.left = min(s.left, s.widest)
}
