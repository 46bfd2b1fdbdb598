// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"reflect"
	"slices"
)

// Merge makes one topology of what several sources know, the one with precedence first.
// Of a thing that several describe, each field is that of the first which says anything in
// it; lists are one field, but for what a shared thing shows to each account only in part
// (the attachments and route tables of a transit gateway, the accounts that a subnet is
// shared with). The result shares memory with the parts: neither is changed afterwards.
func Merge(parts ...*Topology) *Topology {
	parts = slices.DeleteFunc(slices.Clone(parts), func(t *Topology) bool { return t == nil })
	switch len(parts) {
	case 0:
		return &Topology{}
	case 1:
		return parts[0]
	}
	type zone struct{ id, account string }
	type cluster struct{ name, region, account string }
	return &Topology{
		Accounts:          merge(parts, func(t *Topology) []Account { return t.Accounts }, func(a *Account) string { return a.AccountID }, fill),
		Regions:           merge(parts, func(t *Topology) []Region { return t.Regions }, func(r *Region) string { return r.RegionName }, fill),
		AvailabilityZones: merge(parts, func(t *Topology) []AvailabilityZone { return t.AvailabilityZones }, func(z *AvailabilityZone) zone { return zone{z.ZoneID, z.AccountID} }, fill),
		VPCs:              merge(parts, func(t *Topology) []VPC { return t.VPCs }, func(v *VPC) string { return v.VPCID }, fill),
		Subnets:           merge(parts, func(t *Topology) []Subnet { return t.Subnets }, func(s *Subnet) string { return s.SubnetID }, fillSubnet),
		NetworkInterfaces: merge(parts, func(t *Topology) []NetworkInterface { return t.NetworkInterfaces }, func(n *NetworkInterface) string { return n.NetworkInterfaceID }, fill),
		Instances:         merge(parts, func(t *Topology) []Instance { return t.Instances }, func(i *Instance) string { return i.InstanceID }, fill),
		RouteTables:       merge(parts, func(t *Topology) []RouteTable { return t.RouteTables }, func(r *RouteTable) string { return r.RouteTableID }, fill),
		TransitGateways:   merge(parts, func(t *Topology) []TransitGateway { return t.TransitGateways }, func(g *TransitGateway) string { return g.TransitGatewayID }, fillTransitGateway),
		VPCPeeringConnections: merge(parts, func(t *Topology) []VPCPeeringConnection { return t.VPCPeeringConnections },
			func(p *VPCPeeringConnection) string { return p.VPCPeeringConnectionID }, fill),
		NATGateways:      merge(parts, func(t *Topology) []NATGateway { return t.NATGateways }, func(g *NATGateway) string { return g.NATGatewayID }, fill),
		InternetGateways: merge(parts, func(t *Topology) []InternetGateway { return t.InternetGateways }, func(g *InternetGateway) string { return g.InternetGatewayID }, fill),
		EgressOnlyInternetGateways: merge(parts, func(t *Topology) []EgressOnlyInternetGateway { return t.EgressOnlyInternetGateways },
			func(g *EgressOnlyInternetGateway) string { return g.EgressOnlyInternetGatewayID }, fill),
		VPNGateways:    merge(parts, func(t *Topology) []VPNGateway { return t.VPNGateways }, func(g *VPNGateway) string { return g.VPNGatewayID }, fill),
		VPNConnections: merge(parts, func(t *Topology) []VPNConnection { return t.VPNConnections }, func(v *VPNConnection) string { return v.VPNConnectionID }, fill),
		LocalGateways:  merge(parts, func(t *Topology) []LocalGateway { return t.LocalGateways }, func(g *LocalGateway) string { return g.LocalGatewayID }, fill),
		VPCEndpoints:   merge(parts, func(t *Topology) []VPCEndpoint { return t.VPCEndpoints }, func(e *VPCEndpoint) string { return e.VPCEndpointID }, fill),
		PrefixLists:    merge(parts, func(t *Topology) []PrefixList { return t.PrefixLists }, func(l *PrefixList) string { return l.PrefixListID }, fill),
		EKSClusters: merge(parts, func(t *Topology) []EKSCluster { return t.EKSClusters },
			func(k *EKSCluster) cluster { return cluster{k.Name, k.Region, k.OwnerID} }, fill),
	}
}

// merge joins one section. What only one part has is taken as it is, without a copy: a
// million network interfaces are most often those of one file, or of accounts that do not
// see each other's.
func merge[E any, K comparable](parts []*Topology, section func(*Topology) []E, key func(*E) K, join func(dst, src *E)) []E {
	n, lists := 0, 0
	var only []E
	for _, p := range parts {
		if list := section(p); len(list) > 0 {
			n, lists, only = n+len(list), lists+1, list
		}
	}
	if lists < 2 {
		return only
	}
	all := make([]E, 0, n)
	at := make(map[K]int, n)
	for _, p := range parts {
		list := section(p)
		for i := range list {
			k := key(&list[i])
			if j, known := at[k]; known {
				join(&all[j], &list[i])
				continue
			}
			at[k] = len(all)
			all = append(all, list[i])
		}
	}
	return all
}

// fill sets the fields of dst that say nothing to those of src.
func fill[E any](dst, src *E) {
	d, s := reflect.ValueOf(dst).Elem(), reflect.ValueOf(src).Elem()
	for i := range d.NumField() {
		if f := d.Field(i); f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0 {
			f.Set(s.Field(i))
		}
	}
}

func fillSubnet(dst, src *Subnet) {
	shared := union(dst.SharedWith, src.SharedWith, func(a *string) string { return *a })
	fill(dst, src)
	dst.SharedWith = shared
}

func fillTransitGateway(dst, src *TransitGateway) {
	attachments := union(dst.Attachments, src.Attachments, func(a *TransitGatewayAttachment) string { return a.TransitGatewayAttachmentID })
	tables := union(dst.RouteTables, src.RouteTables, func(t *TransitGatewayRouteTable) string { return t.TransitGatewayRouteTableID })
	fill(dst, src)
	dst.Attachments, dst.RouteTables = attachments, tables
}

// union adds to a what only b has, and changes neither.
func union[E any](a, b []E, key func(*E) string) []E {
	known := make(map[string]bool, len(a))
	for i := range a {
		known[key(&a[i])] = true
	}
	all := slices.Clip(a)
	for i := range b {
		if !known[key(&b[i])] {
			known[key(&b[i])] = true
			all = append(all, b[i])
		}
	}
	return all
}
