// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

const (
	// usualLosses is what the prior of a class's usual loss is worth: one burst. What the first
	// windows show counts soon; until then the class is taken to lose what the worst healthy networks do.
	usualLosses = 3
	// usualMemory is how many windows the usual loss of a class remembers: half of a lasting change is
	// usual after 720 windows, as with the round-trip time, so that congestion that comes every day does
	// not become the rule by noon, and a way that has changed for good is judged anew after a day.
	usualMemory = 1039
)

// Usual is what a class of paths lost in earlier windows. Healthy paths differ, by a factor of
// ten and more (one through another Region from one within a rack): what a class has always lost is
// no fault of it. The zero value is the prior. It belongs to whoever gives the problem its classes.
type Usual struct {
	segments, lost float64
	windows        float64 // that they are worth
}

// rate is nothing without a memory.
func (u *Usual) rate() float64 {
	if u == nil {
		return 0
	}
	return (u.lost + usualLosses) / (u.segments + usualLosses/priorRate)
}

// learn adds a window: rows that nothing is blamed for, and rows that something is. The latter
// count for no more than any window of a long memory, however short it is yet, and for no more loss than
// healthy networks have: a path that got that bad is worth a verdict for as long as it is.
func (u *Usual) learn(clean, blamed unit) {
	if u == nil {
		return
	}
	all := clean.n + blamed.n
	if all == 0 {
		return
	}
	if most := u.segments + usualLosses/priorRate; u.windows > 0 && all > most {
		// A window is no more than all that were before.
		f := most / all
		clean, blamed, all = unit{n: f * clean.n, k: f * clean.k}, unit{n: f * blamed.n, k: f * blamed.k}, most
	}
	const keep = 1 - 1.0/usualMemory
	drift := (u.windows + 1) / usualMemory
	u.windows = (u.windows + (clean.n+drift*blamed.n)/all) * keep
	u.segments = (u.segments + clean.n + drift*blamed.n) * keep
	u.lost = (u.lost + clean.k + drift*min(blamed.k, blamed.n*priorRate)) * keep
}

// usuals lists the usual loss of each class.
func usuals(p *Problem) []float64 {
	out := make([]float64, len(p.Classes))
	for c := range p.Classes {
		out[c] = p.Classes[c].Usual.rate()
	}
	return out
}

// usual is that of the row's class.
func (r *Row) usual(of []float64) float64 { return usualOf(of, r.Class) }

func usualOf(of []float64, class int32) float64 {
	if class < 0 || len(of) == 0 {
		return 0
	}
	return of[class]
}
