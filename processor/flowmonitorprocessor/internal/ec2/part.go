// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// part is one account in one Region, with what was last read of it.
type part struct {
	source      *Source
	key         parts.Key
	region      string
	credentials *credentials

	writing sync.Mutex // whoever puts a new state in place
	mu      sync.Mutex
	last    parts.Part      // zero before the first good refresh
	vpcs    map[string]bool // those that it knows
	denied  string          // what was last said about missing permissions
}

// restore takes what a snapshot has of the part.
func (p *part) restore(last parts.Part) { p.take(last) }

func (p *part) set(last parts.Part) {
	p.last = last
	p.vpcs = map[string]bool{}
	for _, t := range []*topology.Topology{last.Own, last.Shared} {
		if t == nil {
			continue
		}
		for i := range t.VPCs {
			p.vpcs[t.VPCs[i].VPCID] = true
		}
	}
}

// open makes the reader.
func (p *part) open(ctx context.Context) (*fetch, error) {
	cfg, account, err := p.credentials.open(ctx, p.region)
	if err != nil {
		return nil, err
	}
	return &fetch{client: p.credentials.ec2(cfg, account), account: account, region: p.region}, nil
}

// refresh reads the part whole.
func (p *part) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	ctx = watched(ctx, func(err error) { p.source.o.Trouble(p.key, p.wrap(err)) })
	f, err := p.open(ctx)
	if err != nil {
		return err
	}
	begun := time.Now() // what changes while it is read is seen at the next refresh
	if err := f.all(ctx); err != nil {
		return err
	}
	p.sayDenied(f.denied)
	p.put(parts.Part{Key: p.key, Account: f.account, Region: p.region, Current: begun, Own: f.own, Shared: f.shared})
	return nil
}

func (p *part) sayDenied(sections []string) {
	said := strings.Join(sections, ", ")
	if said != "" && said != p.denied {
		p.source.o.Logger.Warn("The role lacks permissions: these sections of the topology are left out, and flows through them end there.",
			zap.String("account_and_region", p.key.Name), zap.Strings("sections", sections))
	}
	p.denied = said
}

func (p *part) put(next parts.Part) {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.take(p.source.o.Put(next))
}

func (p *part) take(last parts.Part) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(last)
}

// patch adds interfaces that a look-up found to what was read before.
func (p *part) patch(found *topology.Topology) {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	next := p.last
	p.mu.Unlock()
	if next.Own == nil {
		return
	}
	own := *next.Own
	own.NetworkInterfaces = replace(own.NetworkInterfaces, found.NetworkInterfaces)
	own.Instances = replaceInstances(own.Instances, found.Instances)
	sortInterfaces(&own)
	next.Own = &own // Current stays: most of the part is as old as it was
	p.take(p.source.o.Put(next))
}

// replace gives a list with the new interfaces in it. An address that one of them has has
// left whoever had it before.
func replace(old, found []topology.NetworkInterface) []topology.NetworkInterface {
	type key struct {
		vpc string
		ip  netip.Addr
	}
	ids := map[string]bool{}
	taken := map[key]bool{}
	for i := range found {
		ids[found[i].NetworkInterfaceID] = true
		for _, list := range [][]netip.Addr{found[i].PrivateIPAddresses, found[i].IPv6Addresses} {
			for _, a := range list {
				taken[key{found[i].VPCID, a}] = true
			}
		}
	}
	out := make([]topology.NetworkInterface, 0, len(old)+len(found))
	for i := range old {
		n := old[i]
		if ids[n.NetworkInterfaceID] {
			continue
		}
		left := func(list []netip.Addr) []netip.Addr {
			gone := func(a netip.Addr) bool { return taken[key{n.VPCID, a}] }
			if !slices.ContainsFunc(list, gone) {
				return list
			}
			return slices.DeleteFunc(slices.Clone(list), gone)
		}
		n.PrivateIPAddresses, n.IPv6Addresses = left(n.PrivateIPAddresses), left(n.IPv6Addresses)
		out = append(out, n)
	}
	return append(out, found...)
}

// replaceInstances gives a list with the new instances in it, each once.
func replaceInstances(old, found []topology.Instance) []topology.Instance {
	ids := map[string]bool{}
	for i := range found {
		ids[found[i].InstanceID] = true
	}
	out := make([]topology.Instance, 0, len(old)+len(found))
	for i := range old {
		if !ids[old[i].InstanceID] {
			out = append(out, old[i])
		}
	}
	return append(out, found...)
}

// knows tells whether a VPC was seen in the part.
func (p *part) knows(vpc string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.vpcs[vpc]
}

func (p *part) account() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last.Account
}

func (p *part) wrap(err error) error { return fmt.Errorf("EC2 API, %s: %w", p.key.Name, err) }
