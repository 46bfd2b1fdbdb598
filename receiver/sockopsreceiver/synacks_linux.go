// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

// synAcks tells, by network namespace, the SYN-ACKs sent again for handshakes that will
// not be completed from those of handshakes that only take their time: what was there a
// round ago and still is. The kernel takes off what a completed handshake has retransmitted.
type synAcks struct {
	before   map[uint32]int64 // a round ago
	reported map[uint32]int64
}

// grown gives what there is to report. In the last round nothing is waited for.
func (s *synAcks) grown(now map[uint32]int64, last bool) map[uint32]uint64 {
	if s.reported == nil {
		s.reported = map[uint32]int64{}
	}
	grown := map[uint32]uint64{}
	for netns, n := range now {
		if !last {
			n = min(n, s.before[netns])
		}
		if n > s.reported[netns] {
			grown[netns] = uint64(n - s.reported[netns])
			s.reported[netns] = n
		}
	}
	s.before = now
	return grown
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
