// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package streams

import (
	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// Translate gives the identity of a flow of the kernel beyond network address
// translation, and what its sockets hold. What it is given is read during the call only.
type Translate func(*bpf.FlowKey, *bpf.Flow) (bpf.FlowKey, Held)

// identity is keyOf beyond network address translation.
func (t *Table) identity(k *bpf.FlowKey, f *bpf.Flow) key {
	if t.settings.Translate == nil {
		return t.keyOf(k)
	}
	translated, held := t.settings.Translate(k, f)
	id := t.keyOf(&translated)
	if id.kind == kindFlow && id.role != flowattr.RoleListener {
		id.held = held
	}
	return id
}
