// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

const (
	// maxFilterValues is how many values one filter takes.
	maxFilterValues = 200

	// lookupTimeout bounds what one part takes of a round of look-ups: one that does not
	// answer must not hold up the others for long.
	lookupTimeout = 30 * time.Second

	// instancePause is how soon an instance that was found is looked up again: containers'
	// addresses that no interface has must not make it a poll.
	instancePause = time.Minute
)

// lookups runs until ctx ends: it waits for misses, gathers more for a while, and asks.
func (s *Source) lookups(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.misses.ready:
		}
		if !sleep(ctx, jitter(s.o.LookupDelay)) {
			return
		}
		s.lookUp(ctx, s.misses.take())
	}
}

// lookUp asks every part that may have what is missing.
func (s *Source) lookUp(ctx context.Context, wanted map[Miss]int) {
	missing := map[Miss]int{} // what nobody has
	failed := map[Miss]bool{}
	byPart := map[*part][]Miss{}
	for m, failures := range wanted {
		missing[m] = failures
		for _, p := range s.parts {
			if p.mayHave(m) {
				byPart[p] = append(byPart[p], m)
			}
		}
	}
	for p, list := range byPart {
		found, unanswered := p.lookUp(ctx, list)
		if ctx.Err() != nil {
			return
		}
		for _, m := range unanswered {
			failed[m] = true
		}
		if len(found.NetworkInterfaces) == 0 {
			continue
		}
		p.patch(found)
		n := 0
		for _, m := range list {
			if _, is := missing[m]; is && has(found, m) {
				delete(missing, m)
				n++
				if m.Instance != "" {
					// It is there, and yet it may not have the address that was missed.
					s.misses.absent(m, time.Now().Add(jitter(min(instancePause, s.o.RefreshInterval))))
				}
			}
		}
		s.o.Lookups(LookupFound, n)
	}
	until := time.Now().Add(jitter(s.o.RefreshInterval))
	for m, failures := range missing {
		switch {
		case !failed[m]:
			s.misses.absent(m, until)
			s.o.Lookups(LookupNotFound, 1)
		case !s.misses.again(m, failures):
			s.o.Lookups(LookupFailed, 1)
		}
	}
}

// mayHave tells whether it makes sense to ask here.
func (p *part) mayHave(m Miss) bool {
	if m.Instance != "" {
		return p.region == m.Region && (m.Account == "" || p.account() == m.Account)
	}
	return p.knows(m.VPC)
}

func has(t *topology.Topology, m Miss) bool {
	return slices.ContainsFunc(t.NetworkInterfaces, func(n topology.NetworkInterface) bool {
		if m.Instance != "" {
			return n.InstanceID == m.Instance
		}
		return n.VPCID == m.VPC && (slices.Contains(n.PrivateIPAddresses, m.Address) || slices.Contains(n.IPv6Addresses, m.Address))
	})
}

// lookUp asks one account in one Region for interfaces, by the filters that EC2 has. It
// has none for delegated prefixes: an address in one is found by its instance, or at the
// next refresh.
func (p *part) lookUp(ctx context.Context, list []Miss) (found *topology.Topology, unanswered []Miss) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found = &topology.Topology{}
	f, err := p.open(ctx)
	if err != nil {
		return found, list
	}
	for _, kind := range []struct {
		filter string
		is     func(Miss) bool
	}{
		{"addresses.private-ip-address", func(m Miss) bool { return m.Instance == "" && m.Address.Is4() }},
		{"ipv6-addresses.ipv6-address", func(m Miss) bool { return m.Instance == "" && m.Address.Is6() }},
		{"attachment.instance-id", func(m Miss) bool { return m.Instance != "" }},
	} {
		some := slices.DeleteFunc(slices.Clone(list), func(m Miss) bool { return !kind.is(m) })
		for chunk := range slices.Chunk(some, maxFilterValues) {
			if err := f.lookUp(ctx, kind.filter, chunk, found); err != nil {
				if !errors.Is(err, context.Canceled) {
					p.source.o.Logger.Debug("A look-up failed.", zap.Error(p.wrap(err)))
				}
				unanswered = append(unanswered, chunk...)
			}
		}
	}
	return found, unanswered
}

func (f *fetch) lookUp(ctx context.Context, filter string, list []Miss, found *topology.Topology) error {
	values := make([]string, 0, len(list))
	vpcs := map[string]bool{}
	for _, m := range list {
		if m.Instance != "" {
			values = append(values, m.Instance)
			continue
		}
		values = append(values, m.Address.String())
		vpcs[m.VPC] = true
	}
	slices.Sort(values)
	filters := []types.Filter{{Name: aws.String(filter), Values: slices.Compact(values)}}
	if names := sortedKeys(vpcs); len(names) > 0 {
		filters = append(filters, types.Filter{Name: aws.String("vpc-id"), Values: names})
	}
	known := map[string]bool{}
	for i := range found.NetworkInterfaces {
		known[found.NetworkInterfaces[i].NetworkInterfaceID] = true
	}
	return f.describeInterfaces(ctx, filters, func(n *types.NetworkInterface) {
		if !known[aws.ToString(n.NetworkInterfaceId)] {
			f.addInterface(found, n)
		}
	})
}

func sortedKeys(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for k := range set {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
