// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"math"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/nhiprocessor/internal/evidence"
)

// Evidence adds a window to an evidence window, without data points between.
func Evidence(t *evidence.Table, w *evidence.Window, window []Observed) {
	var id evidence.Identity
	for i := range window {
		o := &window[i]
		o.identity(&id)
		key, _, refusal := t.Lookup(&id)
		if refusal != evidence.Accepted {
			panic("the simulated fleet is larger than the table")
		}
		c := w.Row(key, math.MaxInt)
		c.Add(evidence.Segments, uint64(o.Segments))
		c.Add(evidence.Retransmitted, uint64(o.Lost))
		c.Add(evidence.Sent, uint64(o.Segments-o.Lost)*segmentBytes)
		c.Add(evidence.Opened, uint64(o.Connections-o.Refused))
		c.Add(evidence.ClosedOrderly, uint64(o.Connections-o.Refused-o.Reset))
		c.Add(evidence.ClosedReset, uint64(o.Reset))
		if o.Up {
			c.Add(evidence.Attempted, uint64(o.Connections))
			c.Add(evidence.FailedRefused, uint64(o.Refused))
		}
	}
}

func (o *Observed) identity(id *evidence.Identity) {
	id.Reset()
	local, remote := o.Local(), o.Remote()
	id.LocalHost, id.LocalAddress, id.LocalVPC = local.ID, local.Address, local.VPC
	id.RemoteHost, id.RemoteAddress, id.RemoteVPC = remote.ID, remote.Address, remote.VPC
	if remote.Nameless {
		id.RemoteHost = "" // its own collector knows its name, others do not
	}
	id.LocalZone, id.RemoteZone = local.AZ, remote.AZ
	id.Role = evidence.RoleServer
	if o.Up {
		id.Role, id.Service = evidence.RoleClient, o.Flow.Service
	}
	id.Category = o.Flow.Category
	id.Path = append(id.Path, flowattr.ComponentENI+"/eni-"+local.Address)
	id.Path = append(id.Path, o.Path()...)
	id.Path = append(id.Path, flowattr.ComponentENI+"/eni-"+remote.Address)
	monitors := o.Flow.Monitors
	if !o.Up {
		monitors = o.Flow.ServerMonitors
	}
	id.Monitors = append(id.Monitors, monitors...)
}
