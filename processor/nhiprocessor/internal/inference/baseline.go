// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

const (
	// priorRate is the background loss that is expected while nothing is known. Healthy
	// data center and cloud networks lose between 10⁻⁵ and 10⁻³ of their segments; the upper
	// end makes the first windows cautious.
	priorRate = 1e-3
	// priorLosses is how many losses an expectation is worth, the prior one or that of
	// earlier windows: a count of ten has a standard error of a third, and the background of a
	// network changes by as much from one window to another.
	priorLosses   = 10
	priorSegments = priorLosses / priorRate

	// queueDispersion is the variance of the number of losses over its mean. For bursts of
	// geometric length B it is 2B−1, with the mean burst of 3 that losses in queues are modelled
	// by. Before loss is held against anybody, twice that is assumed.
	queueDispersion = 5
	priorDispersion = 2 * queueDispersion
	// priorExpected is how many expected losses that dispersion is worth: the estimate
	// from ten has a standard error of about its own size.
	priorExpected = 10
	// Outside of these, dispersion is not believed: lone losses (1) happen only by chance
	// in a row, and 25 are bursts of 13.
	minDispersion, maxDispersion = 1.25, 25

	// outlier is how many times the losses that count in the background a row has at most where the
	// dispersion is estimated. There the rows with most losses are what is looked for: forty losses, four
	// times the least that is limited, come in bursts of ten by chance once in seventy.
	outlier = 4

	// memory is how many windows the baseline remembers: enough to average bursts, few
	// enough to follow a working day (a quarter of an hour of windows of one minute).
	memory = 16
	// knownAfter is how many windows have to have been decided before their loss is what others are held against.
	knownAfter = 3
	// growth is how fast the expectation may grow from window to window once it is settled:
	// twofold in two hours and a half of windows of a minute, so that a fault that grows
	// over an hour is not taken for the background.
	growth = 1.005
)

// Baseline is what earlier windows showed of the background. It only sharpens the
// inference: the zero value is the prior. One window with plenty of clean rows outweighs it.
type Baseline struct {
	segments, lost     float64
	windows            int
	squares, expected  float64 // squared deviations and the means they were taken from
	currentSq, current float64
}

// expectation is the background that is expected before the window is looked at, as
// losses among segments.
func (b *Baseline) expectation() (segments, lost float64) {
	segments = b.segments + priorSegments
	rate := (b.lost + priorLosses) / segments
	segments = min(segments, priorLosses/rate)
	return segments, segments * rate
}

func (b *Baseline) dispersion() float64 {
	d := (b.squares + b.currentSq + priorExpected*priorDispersion) / (b.expected + b.current + priorExpected)
	return min(max(d, minDispersion), maxDispersion)
}

// burstiness is the dispersion without the caution that a suspicion asks for: what is
// likeliest for losses in queues while nothing is known.
func (b *Baseline) burstiness() float64 {
	d := (b.squares + b.currentSq + priorExpected*queueDispersion) / (b.expected + b.current + priorExpected)
	return min(max(d, minDispersion), maxDispersion)
}

// look takes the dispersion of the rows of this window around what the explanation expects of
// them: were only the rows looked at that nothing is blamed for, the burstiest ones would be
// left out.
func (b *Baseline) look(p *Problem, e *Explanation) {
	b.currentSq, b.current = 0, 0
	for i := range p.Rows {
		rate, lost := e.Background, min(p.Rows[i].Lost, outlier*e.mostLost)
		if e.Blame[i] >= 0 {
			rate, lost = e.Suspects[e.Blame[i]].Rate, p.Rows[i].Lost
		}
		mean := p.Rows[i].Segments * rate
		d := lost - mean
		b.currentSq += d * d
		b.current += mean
	}
}

// learn adds a window that was decided.
func (b *Baseline) learn(p *Problem, e *Explanation) {
	b.look(p, e)
	const keep = 1 - 1.0/memory
	b.squares = (b.squares + b.currentSq) * keep
	b.expected = (b.expected + b.current) * keep
	b.currentSq, b.current = 0, 0
	var n, k float64
	clean, blamed := make([]unit, len(p.Classes)), make([]unit, len(p.Classes))
	for i := range p.Rows {
		r := &p.Rows[i]
		of := blamed
		if e.Blame[i] < 0 {
			of = clean
		}
		// What is unexplained may be how it is from now on.
		if at := e.Blame[i]; at < 0 || e.Suspects[at].unexplained() {
			n += r.Segments
			k += min(r.Lost, e.mostLost)
		}
		if r.Class >= 0 {
			of[r.Class].n += r.Segments
			of[r.Class].k += min(r.Lost, e.mostLost)
		}
	}
	for c := range p.Classes {
		p.Classes[c].Usual.learn(clean[c], blamed[c])
	}
	if b.windows > 0 && n > b.segments+priorSegments {
		// A window is no more than all that were before.
		k *= (b.segments + priorSegments) / n
		n = b.segments + priorSegments
	}
	before := b.lost / b.segments
	b.segments = (b.segments + n) * keep
	b.lost = (b.lost + k) * keep
	if b.windows++; b.windows > memory && before > 0 {
		b.lost = min(b.lost, before*growth*b.segments)
	}
}
