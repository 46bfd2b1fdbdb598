// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

// synAcks tells, by network namespace, the SYN-ACKs sent again for handshakes that will
// not be completed from those of handshakes that only take their time: what was there a
// round ago and still is. The kernel takes off what a completed handshake has retransmitted.
type synAcks struct {
	before   map[uint32]int64 // a round ago
	reported map[uint32]int64
	untold   map[uint32]int64 // of those, what the kernel side does not know yet
}

// grown gives what there is to report. In the last round nothing is waited for.
func (s *synAcks) grown(now map[uint32]int64, last bool) map[uint32]uint64 {
	if s.reported == nil {
		s.reported, s.untold = map[uint32]int64{}, map[uint32]int64{}
	}
	grown := map[uint32]uint64{}
	for netns, n := range now {
		if !last {
			n = min(n, s.before[netns])
		}
		if n > s.reported[netns] {
			grown[netns] = uint64(n - s.reported[netns])
			s.reported[netns], s.untold[netns] = n, n
		}
	}
	s.before = now
	return grown
}

// tell has the kernel side remember what was reported, for the next process.
func (s *synAcks) tell(source source) error {
	if len(s.untold) == 0 {
		return nil
	}
	if err := source.TellSynAcks(s.untold); err != nil {
		return err
	}
	clear(s.untold)
	return nil
}

func (l *loop) harvestSynAcks(last bool) error {
	now, err := l.source.SynAcks()
	if err != nil {
		return err
	}
	for netns, n := range l.synAcks.grown(now, last) {
		l.table.AddSynAcks(netns, n)
	}
	return nil
}
