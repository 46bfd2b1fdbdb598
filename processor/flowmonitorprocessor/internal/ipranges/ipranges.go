// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package ipranges leads a public address to the AWS service and Region that it
// belongs to, by the ranges that AWS publishes (ip-ranges.json). A snapshot of them is
// part of the binary.
package ipranges // import "github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gaissmai/bart"
)

// Range is what AWS says of a prefix.
type Range struct {
	Service string // S3, DYNAMODB, CLOUDFRONT, …; EC2 or AMAZON when nothing more is said
	Region  string // "" for GLOBAL
	// BorderGroup is the network border group: the Region again, or the local or
	// wavelength zone where the addresses are announced.
	BorderGroup string
}

// LocalZone tells addresses that are announced in a local zone. A wavelength zone's
// group has "wl" in its name (us-east-1-wl1-bos-wlz-1).
func (r Range) LocalZone() bool {
	return r.Region != "" && r.BorderGroup != "" && r.BorderGroup != r.Region && !strings.Contains(r.BorderGroup, "-wl")
}

// Table is an immutable set of ranges, safe for concurrent use.
type Table struct {
	created  string
	token    int64 // the file's number of its version, which grows: a Unix time
	table    bart.Table[Range]
	services map[string]bool
	regions  map[string]bool
	blocks   map[block][]netip.Prefix
}

type block struct{ service, region string }

// document is the layout of ip-ranges.json.
type document struct {
	SyncToken    string   `json:"syncToken"`
	CreateDate   string   `json:"createDate"`
	Prefixes     prefixes `json:"prefixes"`
	IPv6Prefixes prefixes `json:"ipv6_prefixes"`
}

// maxPrefixes bounds a list: some twenty times that of today. An entry without anything in it
// takes 3 bytes in the file and a hundred here: the size of the file bounds no memory.
const maxPrefixes = 200_000

type prefixes []prefix

// UnmarshalJSON reads entry by entry; data is valid JSON.
func (l *prefixes) UnmarshalJSON(data []byte) error {
	if !bytes.HasPrefix(data, []byte("[")) {
		return json.Unmarshal(data, (*[]prefix)(l)) // null, or an error that names what it is
	}
	*l = nil
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		if len(*l) == maxPrefixes {
			return fmt.Errorf("a list has more than %d prefixes", maxPrefixes)
		}
		var p prefix
		if err := d.Decode(&p); err != nil {
			return err
		}
		*l = append(*l, p)
	}
	return nil
}

type prefix struct {
	IPPrefix    string `json:"ip_prefix"`
	IPv6Prefix  string `json:"ipv6_prefix"`
	Region      string `json:"region"`
	Service     string `json:"service"`
	BorderGroup string `json:"network_border_group"`
}

// maxErrors bounds what one broken file says.
const maxErrors = 20

// Parse reads ip-ranges.json. All that is wrong with it is one joined error, each part
// naming the list, the index and the field.
func Parse(data []byte) (*Table, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("AWS ranges: not the JSON of ip-ranges.json: %w", err)
	}
	if len(d.Prefixes)+len(d.IPv6Prefixes) == 0 {
		return nil, errors.New("AWS ranges: neither 'prefixes' nor 'ipv6_prefixes' has an entry")
	}
	t := &Table{created: d.CreateDate, services: map[string]bool{}, regions: map[string]bool{}, blocks: map[block][]netip.Prefix{}}
	t.token, _ = strconv.ParseInt(d.SyncToken, 10, 64) // absent from files that somebody wrote
	var errs []error
	size := map[string]float64{}
	var entries []entry
	add := func(list, field string, i int, text string, p *prefix) {
		if len(errs) == maxErrors {
			return
		}
		cidr, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("AWS ranges: %s[%d].%s: %w", list, i, field, err))
			return
		case cidr != cidr.Masked() || cidr.Addr().Is4In6():
			errs = append(errs, fmt.Errorf("AWS ranges: %s[%d].%s: %s is not a plain network prefix", list, i, field, cidr))
			return
		case p.Service == "":
			errs = append(errs, fmt.Errorf("AWS ranges: %s[%d].service: is required", list, i))
			return
		}
		region := p.Region
		if region == "GLOBAL" {
			region = ""
		}
		entries = append(entries, entry{cidr, Range{p.Service, region, p.BorderGroup}})
		size[p.Service] += hosts(cidr)
		t.services[p.Service] = true
		if region != "" {
			t.regions[region] = true
		}
		k := block{p.Service, region}
		t.blocks[k] = append(t.blocks[k], cidr)
	}
	for i := range d.Prefixes {
		add("prefixes", "ip_prefix", i, d.Prefixes[i].IPPrefix, &d.Prefixes[i])
	}
	for i := range d.IPv6Prefixes {
		add("ipv6_prefixes", "ipv6_prefix", i, d.IPv6Prefixes[i].IPv6Prefix, &d.IPv6Prefixes[i])
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	t.fill(entries, size)
	return t, nil
}

type entry struct {
	cidr netip.Prefix
	r    Range
}

// fill inserts the entries so that of those with the same prefix the most specific
// service stays: AMAZON says least, then EC2, then the service that has more addresses
// in all (CLOUDFRONT before CLOUDFRONT_ORIGIN_FACING, which is a part of it).
func (t *Table) fill(entries []entry, size map[string]float64) {
	rank := func(service string) int {
		switch service {
		case "AMAZON":
			return 0
		case "EC2":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(
			cmp.Compare(rank(a.r.Service), rank(b.r.Service)),
			cmp.Compare(size[b.r.Service], size[a.r.Service]),
			cmp.Compare(b.r.Service, a.r.Service),
		)
	})
	for _, e := range entries {
		t.table.Insert(e.cidr, e.r)
	}
}

// hosts weighs a prefix: its share of its family's addresses, so that both count alike.
func hosts(p netip.Prefix) float64 {
	f := 1.0
	for range p.Bits() {
		f /= 2
	}
	return f
}

// Lookup gives the most specific range around an address. It does not allocate.
func (t *Table) Lookup(a netip.Addr) (Range, bool) { return t.table.Lookup(a) }

// Created is the date that the file gives itself, such as 2026-08-22-15-17-05.
func (t *Table) Created() string { return t.created }

// Len is the number of distinct prefixes.
func (t *Table) Len() int { return t.table.Size() }

// HasService tells whether the ranges know a service, by its exact name.
func (t *Table) HasService(name string) bool { return t.services[name] }

// HasRegion tells whether the ranges know a Region.
func (t *Table) HasRegion(name string) bool { return t.regions[name] }

// Services are the names of all services, sorted.
func (t *Table) Services() []string {
	names := make([]string, 0, len(t.services))
	for s := range t.services {
		names = append(names, s)
	}
	slices.Sort(names)
	return names
}

// Blocks are the prefixes of a service in a Region; the caller does not change them.
func (t *Table) Blocks(service, region string) []netip.Prefix {
	return t.blocks[block{service, region}]
}
