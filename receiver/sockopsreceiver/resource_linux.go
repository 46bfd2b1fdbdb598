// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/metadata"
)

// serviceName, together with the instance, is all by which Prometheus's exporter knows
// an agent.
const serviceName = "flowmonitor-agent"

// machineIDs are the files that may hold an identity of this machine, the best first:
// those of systemd and D-Bus belong to the installation; the firmware's is for root to
// read, and some boards have a constant there.
var machineIDs = []string{
	"etc/machine-id",
	"var/lib/dbus/machine-id",
	"sys/class/dmi/id/product_uuid",
}

// newResource gives the identity of this host. Overrides come last; one of host.id is
// the instance too, unless that is overridden itself.
func newResource(version string, overrides map[string]string) pcommon.Resource {
	name, _ := os.Hostname() // no name: none is reported
	id := hostID(os.DirFS("/"), name)
	if o, ok := overrides[flowattr.HostID]; ok {
		id = o
	}

	b := metadata.NewResourceBuilder(metadata.DefaultResourceAttributesConfig())
	b.SetServiceName(serviceName)
	b.SetServiceInstanceID(id)
	b.SetHostID(id)
	if name != "" {
		b.SetHostName(name)
	}
	if version != "" {
		b.SetServiceVersion(version)
	}
	r := b.Emit()
	for _, k := range slices.Sorted(maps.Keys(overrides)) {
		r.Attributes().PutStr(k, overrides[k])
	}
	return r
}

// hostID gives the id of the machine whose root is root, or else its name.
func hostID(root fs.FS, name string) string {
	for _, path := range machineIDs {
		b, err := fs.ReadFile(root, path)
		if err != nil {
			continue
		}
		// systemd writes "uninitialized" until the first boot is done.
		if id := strings.TrimSpace(string(b)); id != "" && id != "uninitialized" {
			return id
		}
	}
	return name
}
