// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"strings"
)

// alias is a name of a zone.
type alias struct{ account, region, name string }

// describedZones learns the zones that are listed, and the names that subnets give
// together with an id.
func (b *builder) describedZones() {
	b.described = make(map[string]*AvailabilityZone, len(b.t.AvailabilityZones))
	b.aliases = map[alias]string{}
	for i := range b.t.AvailabilityZones {
		z := &b.t.AvailabilityZones[i]
		if b.described[z.ZoneID] == nil {
			b.described[z.ZoneID] = z
		}
		b.x.regions[z.RegionName] = true
		b.nameZone(z.ZoneID, z.AccountID, z.ZoneName)
		b.alias(z.AccountID, z.RegionName, z.ZoneName, z.ZoneID)
	}
}

// zoneOwner is whose the names of zones are that the subnets of a VPC give: an account's,
// or that of the unknown owner of this VPC, which is not everybody's.
func zoneOwner(account string, v *VPCNode) string {
	return cmp.Or(account, "owner of "+v.ID)
}

func (b *builder) alias(account, region, name, id string) {
	key := alias{account, region, name}
	if _, known := b.aliases[key]; !known && name != "" && id != "" {
		b.aliases[key] = id
	}
}

func (b *builder) nameZone(id, account, name string) {
	x := b.x
	x.zoneNames[id] = true
	if name == "" {
		return
	}
	x.zoneNames[name] = true
	if x.zones[id] == nil {
		x.zones[id] = map[string]string{}
	}
	if _, ok := x.zones[id][account]; !ok {
		x.zones[id][account] = name
	}
}

// onlyZoneNames finds the names that mean one zone, whoever says them, and are all that
// it is called.
func (b *builder) onlyZoneNames() {
	ids := map[string]map[string]bool{} // by name
	for id, names := range b.x.zones {
		for _, name := range names {
			if ids[name] == nil {
				ids[name] = map[string]bool{}
			}
			ids[name][id] = true
		}
	}
	b.x.onlyNames = map[string]string{}
	for name, zones := range ids {
		for id := range zones {
			if len(zones) == 1 && !b.unnumbered[name] && allCalled(b.x.zones[id], name) {
				b.x.onlyNames[id] = name
			}
		}
	}
}

func allCalled(names map[string]string, name string) bool {
	for _, other := range names {
		if other != name {
			return false
		}
	}
	return true
}

func (b *builder) zoneOf(s *SubnetNode, m *Subnet) {
	id := m.AvailabilityZoneID
	if id == "" { // the owner's name may lead to the id
		id = cmp.Or(b.aliases[alias{zoneOwner(s.Account, s.VPC), s.VPC.Region, m.AvailabilityZone}], b.aliases[alias{"", s.VPC.Region, m.AvailabilityZone}])
	}
	if id == "" {
		b.x.zoneNames[m.AvailabilityZone] = true
		b.unnumbered[m.AvailabilityZone] = true
		s.Zone = &ZoneNode{Region: s.VPC.Region, Type: zoneTypeOf(m.AvailabilityZone)}
		return
	}
	if b.zones[id] == nil {
		z := &ZoneNode{ID: id, Region: s.VPC.Region, Type: zoneTypeOf(id)}
		if d := b.described[id]; d != nil {
			z.Region = d.RegionName
			if d.ZoneType != ZoneUnspecified {
				z.Type = d.ZoneType
			}
		}
		b.zones[id] = z
	}
	s.Zone = b.zones[id]
	b.x.zoneNames[id] = true
	if m.AvailabilityZone == "" {
		s.ZoneName = b.x.ZoneName(s, zoneOwner(s.Account, s.VPC))
	}
}

// zoneTypeOf tells the type by the form of a zone's id or name: euw1-az1 and eu-west-1a,
// usw2-lax1-az1 and us-west-2-lax-1a, use1-wl1-bos-wlz1 and us-east-1-wl1-bos-wlz-1.
func zoneTypeOf(zone string) ZoneType {
	parts := strings.Split(zone, "-")
	last := parts[len(parts)-1]
	switch {
	case strings.Contains(zone, "-wl"):
		return ZoneWavelength
	case strings.HasPrefix(last, "az"):
		if len(parts) > 2 {
			return ZoneLocal
		}
	case len(last) == 2 && last[0] >= '0' && last[0] <= '9' && len(parts) >= 5 && len(parts[len(parts)-2]) == 3:
		return ZoneLocal
	}
	return ZoneAvailability
}
