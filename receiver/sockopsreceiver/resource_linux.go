// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package sockopsreceiver

import (
	"cmp"
	"context"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.uber.org/zap"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/identity"
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

// newResource gives the identity of this host: the EC2 instance, if it is one. Overrides
// come last; one of host.id is the service's instance too, unless that is overridden
// itself.
func newResource(version string, ec2 identity.Instance, overrides map[string]string) pcommon.Resource {
	name, _ := os.Hostname() // no name: none is reported
	id := cmp.Or(overrides[flowattr.HostID], ec2.ID, hostID(os.DirFS("/"), name))

	b := metadata.NewResourceBuilder(metadata.DefaultResourceAttributesConfig())
	b.SetServiceName(serviceName)
	b.SetServiceInstanceID(id)
	b.SetServiceVersion(version)
	b.SetHostID(id)
	b.SetHostName(name)
	if ec2.ID != "" {
		b.SetCloudProviderAws()
		b.SetCloudPlatformAwsEc2()
		b.SetCloudAccountID(ec2.Account)
		b.SetCloudRegion(ec2.Region)
		b.SetCloudAvailabilityZone(ec2.Zone)
	}
	r := b.Emit()
	r.Attributes().RemoveIf(func(_ string, v pcommon.Value) bool { return v.Str() == "" })
	for _, k := range slices.Sorted(maps.Keys(overrides)) {
		r.Attributes().PutStr(k, overrides[k])
	}
	return r
}

// identify asks who this host is, and gives the answer once, within identity.Timeout.
func (r *sockopsReceiver) identify(ctx context.Context) <-chan pcommon.Resource {
	answer := make(chan pcommon.Resource, 1)
	go func() {
		ec2, err := r.instance(ctx)
		if err != nil {
			r.settings.Logger.Info("Not known as an EC2 instance: 'host.id' is the machine's own, unless 'resource' says otherwise.", zap.Error(err))
		}
		answer <- newResource(r.settings.BuildInfo.Version, ec2, r.config.Resource)
	}()
	return answer
}

// settle waits for the identity of this host. It is for all the life of the receiver:
// one that changed would make every stream a new one.
func (l *loop) settle() {
	if l.identity != nil {
		l.resource, l.identity = <-l.identity, nil
	}
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
