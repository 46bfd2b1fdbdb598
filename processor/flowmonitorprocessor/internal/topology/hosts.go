// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"iter"
)

// A topology has up to millions of interfaces, and as many instances. They are kept in
// lists without a pointer, tied together by numbers, so that the garbage collector need not
// look at them however often it runs; all ids stand in one text each. What is handed out
// is the number with its Index.

// InterfaceNode is an elastic network interface; the zero InterfaceNode is none. Two of one
// Index can be compared.
type InterfaceNode struct {
	x *Index
	n uint32
}

// interfaceData is 24 bytes. The ids of the interfaces stand in the order of their
// numbers, so that one ends where the next begins.
type interfaceData struct {
	id       uint32 // where it begins in Index.interfaceIDs
	owner    uint32 // in Index.owners; 0: not said
	subnet   uint32 // in Index.subnetList
	instance uint32 // 0: none
	extra    uint32 // in Index.extras; 0: none
	next     uint32 // of the same instance
}

type instanceData struct {
	id    uint32 // where it begins in Index.instanceIDs
	owner uint32
	k8s   uint32 // in Index.k8s; 0: none
	first uint32 // of its interfaces; 0: none
}

// Exists is false for none.
func (n InterfaceNode) Exists() bool { return n.n != 0 }

func (n InterfaceNode) data() *interfaceData { return &n.x.interfaces[n.n] }

// ID is "" for what stands for an address of a NAT gateway whose interface is not listed.
func (n InterfaceNode) ID() string {
	x := n.x
	end := uint32(len(x.interfaceIDs))
	if int(n.n)+1 < len(x.interfaces) {
		end = x.interfaces[n.n+1].id
	}
	return x.interfaceIDs[n.data().id:end]
}

// Owner is the account that has the interface, by its own description or by that of its
// instance; "" when nobody said.
func (n InterfaceNode) Owner() string {
	d := n.data()
	return n.x.owners[cmp.Or(d.owner, n.x.instances[d.instance].owner)]
}

// Subnet is where the interface is.
func (n InterfaceNode) Subnet() *SubnetNode { return n.x.subnetList[n.data().subnet] }

// Instance is the host that has the interface, if any.
func (n InterfaceNode) Instance() InstanceNode { return InstanceNode{n.x, n.data().instance} }

// Extra is never nil.
func (n InterfaceNode) Extra() *InterfaceExtra { return &n.x.extras[n.data().extra] }

// Plain tells an interface that no service, endpoint or gateway has for itself.
func (n InterfaceNode) Plain() bool {
	e := n.Extra()
	return e.Service == "" && e.Endpoint == nil && e.NATGateway == ""
}

// place is the interface with its subnet.
func (n InterfaceNode) place() Place { return Place{n.Subnet(), n} }

// InstanceNode is a host; the zero InstanceNode is none. Two of one Index can be compared.
type InstanceNode struct {
	x *Index
	n uint32
}

// Exists is false for none.
func (n InstanceNode) Exists() bool { return n.n != 0 }

func (n InstanceNode) data() *instanceData { return &n.x.instances[n.n] }

// ID is the instance's.
func (n InstanceNode) ID() string { return n.x.instanceID(n.n) }

// Owner is the account that has the instance, where its own description says so.
func (n InstanceNode) Owner() string { return n.x.owners[n.data().owner] }

// K8S is what runs on it; nil when nobody said.
func (n InstanceNode) K8S() *K8S { return n.x.k8s[n.data().k8s] }

// First gives one of its interfaces, the first that is listed.
func (n InstanceNode) First() InterfaceNode { return InterfaceNode{n.x, n.data().first} }

// Interfaces gives the interfaces, in the order in which they are listed.
func (n InstanceNode) Interfaces() iter.Seq[InterfaceNode] {
	return func(yield func(InterfaceNode) bool) {
		for i := n.First(); i.Exists(); i.n = i.data().next {
			if !yield(i) {
				return
			}
		}
	}
}

// Place is what holds an address in a VPC: an interface, or only the subnet.
type Place struct {
	Subnet    *SubnetNode
	Interface InterfaceNode // none: the subnet is all that is known
}

// VPC is the place's; nil for the zero Place.
func (p Place) VPC() *VPCNode {
	if p.Subnet == nil {
		return nil
	}
	return p.Subnet.VPC
}
