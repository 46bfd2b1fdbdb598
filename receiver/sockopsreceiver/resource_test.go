// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheHostsIdentity(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	const machine, dbus, dmi = "etc/machine-id", "var/lib/dbus/machine-id", "sys/class/dmi/id/product_uuid"
	for name, c := range map[string]struct {
		root fstest.MapFS
		want string
	}{
		"the machine id":                      {fstest.MapFS{machine: file("0123\n"), dbus: file("d"), dmi: file("u")}, "0123"},
		"else that of D-Bus":                  {fstest.MapFS{dbus: file("d\n"), dmi: file("u")}, "d"},
		"else that of the firmware":           {fstest.MapFS{dmi: file("EC2F-1\n")}, "EC2F-1"},
		"else the host's name":                {fstest.MapFS{}, "name"},
		"an empty file says nothing":          {fstest.MapFS{machine: file("\n"), dbus: file("d")}, "d"},
		"nor does one that is not filled yet": {fstest.MapFS{machine: file("uninitialized\n"), dmi: file("u")}, "u"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, hostID(c.root, "name"))
		})
	}
}

func TestTheResource(t *testing.T) {
	name, err := os.Hostname()
	require.NoError(t, err)
	id := hostID(os.DirFS("/"), name)
	for title, c := range map[string]struct {
		version   string
		overrides map[string]string
		want      map[string]any
	}{
		"is this host": {
			"1.2.3", nil,
			map[string]any{"service.name": "flowmonitor-agent", "service.instance.id": id, "host.id": id, "host.name": name, "service.version": "1.2.3"},
		},
		"may have no version": {
			"", nil,
			map[string]any{"service.name": "flowmonitor-agent", "service.instance.id": id, "host.id": id, "host.name": name},
		},
		"is another instance when the host's id is overridden": {
			"", map[string]string{"host.id": "i-1"},
			map[string]any{"service.name": "flowmonitor-agent", "service.instance.id": "i-1", "host.id": "i-1", "host.name": name},
		},
		"takes every override, and more": {
			"", map[string]string{"host.id": "i-1", "service.instance.id": "x", "host.name": "h", "service.name": "s", "cloud.region": "r"},
			map[string]any{"service.name": "s", "service.instance.id": "x", "host.id": "i-1", "host.name": "h", "cloud.region": "r"},
		},
	} {
		t.Run(title, func(t *testing.T) {
			assert.Equal(t, c.want, newResource(c.version, c.overrides).Attributes().AsRaw())
		})
	}
}
