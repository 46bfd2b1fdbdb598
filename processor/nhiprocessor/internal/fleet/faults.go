// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import "slices"

// On is a fault of a shared component.
func On(component string, l Loss) Fault {
	return Fault{Loss: l, Hits: func(f *Flow, _ bool) bool { return slices.Contains(f.Components, component) }}
}

// OneWay is a fault of a shared component for what is sent out of one subnet.
func OneWay(component, fromSubnet string, l Loss) Fault {
	return Fault{Loss: l, Hits: func(f *Flow, up bool) bool {
		o := Observed{Flow: f, Up: up}
		return slices.Contains(f.Components, component) && o.Local().Subnet == fromSubnet
	}}
}

// AtHost is a fault of one host, in what it sends and receives.
func AtHost(h *Host, l Loss) Fault {
	return Fault{Loss: l, Hits: func(f *Flow, _ bool) bool { return f.Client == h || f.Server == h }}
}

// SentBy is a fault of one host in what it sends.
func SentBy(h *Host, l Loss) Fault {
	return Fault{Loss: l, Hits: func(f *Flow, up bool) bool { o := Observed{Flow: f, Up: up}; return o.Local() == h }}
}

// OfService is a fault of the front ends of a service.
func OfService(service string, l Loss) Fault {
	return Fault{Loss: l, Hits: func(f *Flow, _ bool) bool { return f.Service == service }}
}

// Between is a fault of one pair of hosts.
func Between(a, b *Host, l Loss) Fault {
	return Fault{Loss: l, Hits: func(f *Flow, _ bool) bool {
		return (f.Client == a && f.Server == b) || (f.Client == b && f.Server == a)
	}}
}

// Across is a fault of what passes between two subnets, in both directions.
func Across(a, b string, l Loss) Fault {
	return Fault{Loss: l, Hits: func(f *Flow, _ bool) bool {
		return (f.Client.Subnet == a && f.Server.Subnet == b) || (f.Client.Subnet == b && f.Server.Subnet == a)
	}}
}
