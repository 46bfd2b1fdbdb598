// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/inference"
)

// Decision is what one window led to.
type Decision struct {
	Monitors   []Monitor   // by name
	Components []Component // by set
}

// Monitor is the verdict on one monitor.
type Monitor struct {
	Name  string
	State string // a flowattr.State…
	Cause string // a flowattr.Cause…
	// Names are the components to blame, when there are any.
	Names []string
	// Alternatives are other explanations of the same that were nearly as likely.
	Alternatives [][]string
	// Changed says that state or cause are others than in the window before.
	Changed bool
	// Lack is the reason of insufficient_data.
	Lack Lack
	// Forgotten says that the monitor was silent for so long that this is its last mention.
	Forgotten bool
}

// Component is the verdict on one component, or several that cannot be told apart.
type Component struct {
	Names      []string // "type/id", sorted
	Suspected  bool
	Confidence float64
	Evidence   Evidence
}

// Evidence is what crossed a component in the window.
type Evidence struct {
	Segments, Retransmissions, Timeouts uint64
	LocalHosts, RemoteHosts, HostPairs  int
}

// clearedWindows is for how many windows a component that is no longer suspected is
// reported as clear.
const clearedWindows = 3

// Config is what a [Judge] is set up with.
type Config struct {
	FalseAlarmRate float64       // wanted, per monitor and window
	Memory         time.Duration // for how long a silent monitor is remembered
	Monitors       int           // how many are remembered at most
}

// Judge turns evidence into decisions. It is to be given the windows in their order, and
// is not safe for concurrent use.
type Judge struct {
	config      Config
	baseline    inference.Baseline
	past        past
	loads       loads
	deployments deployments
	monitors    map[string]*monitor
	components  map[string]*component
}

type monitor struct {
	steady       steady
	state, cause string
	names        []string // of the network fault that it is degraded for
	alternatives [][]string
	heard        time.Time
}

type component struct {
	names   []string
	cleared int
}

// NewJudge makes a judge that knows nothing yet.
func NewJudge(c Config) *Judge {
	return &Judge{config: c, monitors: map[string]*monitor{}, components: map[string]*component{}, loads: loads{of: map[*evidence.Class]*classLoad{}},
		deployments: deployments{running: map[string]*rejection{}},
	}
}

// Known says how many monitors are remembered.
func (j *Judge) Known() int { return len(j.monitors) }

// Decide judges the evidence of the window that ended at end. Monitors without evidence
// are in the decision as long as they are remembered.
func (j *Judge) Decide(w *evidence.Window, end time.Time) *Decision {
	a := assemble(w)
	for m := range w.Extra {
		a.of(m)
	}
	for m := range w.RTT {
		a.of(m)
	}
	where, views := j.look(a, end)
	d := &Decision{}
	j.judgeMonitors(d, a, where, views, end)
	j.judgeComponents(d, a, views)
	return d
}

// look explains the window: its losses and its delays.
func (j *Judge) look(a *assembly, end time.Time) (*sides, []*view) {
	limited := inference.Limited(a.problem)
	// Two halves side by side, which only read what both need: what is lost; what is slow, who waits, and who is
	// where. A decision at scale is a quarter shorter by that.
	var slow []*view
	var where *sides
	var others sync.WaitGroup
	others.Go(func() {
		a.waits = waits(a)
		slow = j.slow(a)
		where = newSides(a, limited)
	})
	views := j.lost(a, limited)
	others.Wait()
	views = append(views, slow...)
	for _, v := range views {
		j.loads.excuse(v, a)
	}
	j.deployments.excuse(views, a, j.config.FalseAlarmRate, end)
	j.loads.learn(a)
	learnDelays(a)
	return where, views
}

// lost explains the losses of the window, and together with those of the window before when either alone
// leaves a doubt.
func (j *Judge) lost(a *assembly, limited *inference.Problem) []*view {
	losses := &view{problem: limited, byClass: a.byClass, e: inference.Explain(limited, j.config.FalseAlarmRate, &j.baseline)}
	views := []*view{losses}
	if losses.e.Doubtful && j.past.doubtful {
		if v := j.past.both(a, limited); v != nil {
			v.e = inference.Review(v.problem, j.config.FalseAlarmRate, &j.baseline, losses.e)
			v.e.Windows = 2
			keepLasting(v, limited)
			views = append(views, v)
		}
	}
	j.past = past{keys: a.keys, rows: limited.Rows, doubtful: losses.e.Doubtful}
	return views
}

// slow explains the delays of the window, and together with those of the windows before.
func (j *Judge) slow(a *assembly) []*view {
	views := delays(a)
	for _, v := range views {
		if v.windows == 1 {
			v.e = inference.ExplainDelay(v.problem, j.config.FalseAlarmRate)
		} else {
			v.e = inference.ReviewDelay(v.problem, j.config.FalseAlarmRate)
			v.e.Windows = v.windows
		}
	}
	return views
}

func (j *Judge) judgeMonitors(d *Decision, a *assembly, where *sides, views []*view, end time.Time) {
	d.Monitors = j.admit(a, end)
	on := newJudgement(where, j.config.FalseAlarmRate, views)
	for _, name := range slices.Sorted(maps.Keys(j.monitors)) {
		m := j.monitors[name]
		f := finding{outcome: thin, cause: flowattr.CauseNone, lack: LackFlows}
		if o := a.monitors[name]; o != nil {
			f = on.on(o)
			m.heard = end
		} else if end.Sub(m.heard) >= j.config.Memory {
			delete(j.monitors, name)
			d.Monitors = append(d.Monitors, Monitor{Name: name, Forgotten: true})
			continue
		}
		m.steady.step(f.outcome, f.twice)
		d.Monitors = append(d.Monitors, m.verdict(name, f))
	}
	slices.SortFunc(d.Monitors, func(a, b Monitor) int { return strings.Compare(a.Name, b.Name) })
}

// admit takes in monitors that are heard for the first time. When there are too many, those
// that have been silent for longest are forgotten; the evidence bounds how many are not silent.
func (j *Judge) admit(a *assembly, end time.Time) (forgotten []Monitor) {
	for name := range a.monitors {
		if j.monitors[name] == nil {
			j.monitors[name] = &monitor{heard: end}
		}
	}
	over := len(j.monitors) - j.config.Monitors
	if over <= 0 {
		return nil
	}
	silent := make([]string, 0, len(j.monitors))
	for name := range j.monitors {
		if a.monitors[name] == nil {
			silent = append(silent, name)
		}
	}
	slices.SortFunc(silent, func(x, y string) int {
		return cmp.Or(j.monitors[x].heard.Compare(j.monitors[y].heard), strings.Compare(x, y))
	})
	for _, name := range silent[:min(over, len(silent))] {
		delete(j.monitors, name)
		forgotten = append(forgotten, Monitor{Name: name, Forgotten: true})
	}
	return forgotten
}

// verdict combines the finding of the window with the steadied state. While a monitor is
// degraded, its cause is the network and the components are those of the last bad window,
// also in the clean windows that it takes to leave. A bad window that does not suffice yet
// has no cause: what cannot be held against an end is not put down to one.
func (m *monitor) verdict(name string, f finding) Monitor {
	v := Monitor{Name: name, State: flowattr.StateHealthy, Cause: f.cause, Names: f.names, Alternatives: f.alternatives}
	if f.outcome == bad {
		m.names, m.alternatives = f.network, f.alternatives
	}
	switch {
	case f.outcome == thin && (f.lack != LackDistinction || !m.steady.degraded):
		v.State, v.Lack = flowattr.StateInsufficientData, f.lack
	case m.steady.degraded:
		v.State, v.Cause, v.Names = flowattr.StateDegraded, flowattr.CauseNetwork, m.names
		v.Alternatives = m.alternatives
	}
	if v.State == flowattr.StateInsufficientData {
		v.Cause = flowattr.CauseNone // what else there is may be to blame as well
	}
	if v.Cause == flowattr.CauseNone || v.Cause == flowattr.CauseApplication {
		v.Names, v.Alternatives = nil, nil
	}
	v.Changed = v.State != m.state || v.Cause != m.cause
	m.state, m.cause = v.State, v.Cause
	return v
}

func (j *Judge) judgeComponents(d *Decision, a *assembly, views []*view) {
	suspected := map[string]*inference.Suspect{}
	for _, v := range views {
		for i := range v.e.Suspects {
			s := &v.e.Suspects[i]
			if s.Kind == inference.Undetermined || s.Kind == inference.Demand {
				continue
			}
			// A host may be suspected for what it sends and, apart, for what it receives.
			set := strings.Join(s.Names, "\x00")
			if known := suspected[set]; known == nil || known.Confidence < s.Confidence {
				suspected[set] = s
			}
			j.components[set] = &component{names: s.Names}
		}
	}
	for _, set := range slices.Sorted(maps.Keys(j.components)) {
		c := j.components[set]
		v := Component{Names: c.names, Evidence: a.crossing(c.names)}
		if s := suspected[set]; s != nil {
			v.Suspected, v.Confidence = true, s.Confidence
		} else if c.cleared++; c.cleared >= clearedWindows {
			delete(j.components, set)
		}
		d.Components = append(d.Components, v)
	}
}

// crossing sums up the rows that cross all of the named components.
func (a *assembly) crossing(names []string) (e Evidence) {
	p := a.problem
	on := func(slot []string, i int32) int {
		if i >= 0 && slices.Contains(names, slot[i]) {
			return 1
		}
		return 0
	}
	ofClass := make([]int, len(p.Classes))
	for c := range p.Classes {
		for _, i := range p.Classes[c].Components {
			ofClass[c] += on(p.Components, i)
		}
	}
	type pair [2]int32
	local, remote, pairs := map[int32]bool{}, map[int32]bool{}, map[pair]bool{}
	for i := range p.Rows {
		r := &p.Rows[i]
		crossed := ofClass[r.Class] + on(p.Services, r.Service) + on(p.Hosts, r.Local)
		if r.Remote != r.Local {
			crossed += on(p.Hosts, r.Remote)
		}
		if crossed < len(names) {
			continue
		}
		c := a.counts[i]
		e.Segments += c.N[evidence.Segments]
		e.Retransmissions += c.N[evidence.Retransmitted]
		e.Timeouts += c.N[evidence.Timeouts]
		if r.Segments > 0 {
			local[r.Local], remote[r.Remote], pairs[pair{r.Local, r.Remote}] = true, true, true
		}
	}
	e.LocalHosts, e.RemoteHosts, e.HostPairs = len(local), len(remote), len(pairs)
	return e
}
