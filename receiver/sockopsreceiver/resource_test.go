// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sockopsreceiver

import (
	"context"
	"os"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"

	"github.com/otel-flowmonitor/flowmonitor/bpf"
	"github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/identity"
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
	ec2 := identity.Instance{ID: "i-2", Account: "012345678901", Region: "eu-west-1", Zone: "eu-west-1a"}
	for title, c := range map[string]struct {
		version   string
		ec2       identity.Instance
		overrides map[string]string
		want      map[string]any
	}{
		"is the EC2 instance": {
			"", ec2, nil,
			map[string]any{
				"service.name": "flowmonitor-agent", "service.instance.id": "i-2", "host.id": "i-2", "host.name": name,
				"cloud.provider": "aws", "cloud.platform": "aws_ec2", "cloud.account.id": "012345678901",
				"cloud.region": "eu-west-1", "cloud.availability_zone": "eu-west-1a",
			},
		},
		"takes overrides over what the EC2 instance says": {
			"", ec2, map[string]string{"host.id": "i-1", "cloud.account.id": "a"},
			map[string]any{
				"service.name": "flowmonitor-agent", "service.instance.id": "i-1", "host.id": "i-1", "host.name": name,
				"cloud.provider": "aws", "cloud.platform": "aws_ec2", "cloud.account.id": "a",
				"cloud.region": "eu-west-1", "cloud.availability_zone": "eu-west-1a",
			},
		},
		"has no empty attribute": {
			"", identity.Instance{ID: "i-2"}, nil,
			map[string]any{
				"service.name": "flowmonitor-agent", "service.instance.id": "i-2", "host.id": "i-2", "host.name": name,
				"cloud.provider": "aws", "cloud.platform": "aws_ec2",
			},
		},
		"is else this host": {
			"1.2.3", identity.Instance{}, nil,
			map[string]any{"service.name": "flowmonitor-agent", "service.instance.id": id, "host.id": id, "host.name": name, "service.version": "1.2.3"},
		},
		"may have no version": {
			"", identity.Instance{}, nil,
			map[string]any{"service.name": "flowmonitor-agent", "service.instance.id": id, "host.id": id, "host.name": name},
		},
		"is another instance when the host's id is overridden": {
			"", identity.Instance{}, map[string]string{"host.id": "i-1"},
			map[string]any{"service.name": "flowmonitor-agent", "service.instance.id": "i-1", "host.id": "i-1", "host.name": name},
		},
		"takes every override, and more": {
			"", identity.Instance{}, map[string]string{"host.id": "i-1", "service.instance.id": "x", "host.name": "h", "service.name": "s", "cloud.region": "r"},
			map[string]any{"service.name": "s", "service.instance.id": "x", "host.id": "i-1", "host.name": "h", "cloud.region": "r"},
		},
	} {
		t.Run(title, func(t *testing.T) {
			assert.Equal(t, c.want, newResource(c.version, c.ec2, c.overrides).Attributes().AsRaw())
		})
	}
}

// ids gives the host.id of each batch.
func ids(t *testing.T, sink *consumertest.MetricsSink) (all []string) {
	for _, md := range sink.AllMetrics() {
		id, ok := md.ResourceMetrics().At(0).Resource().Attributes().Get("host.id")
		require.True(t, ok)
		all = append(all, id.Str())
	}
	return all
}

func TestTheIdentityIsSettledBeforeTheFirstRoundAndStays(t *testing.T) {
	round := []counted{{key: web, flow: bpf.Flow{Sent: 1}}}
	noResource := func(c *Config) { c.Resource = nil }
	own := newResource("", identity.Instance{}, nil)
	machine, _ := own.Attributes().Get("host.id")
	for title, c := range map[string]struct {
		answer time.Duration
		err    error
		want   string
	}{
		"an instance that answers at once":             {0, nil, "i-2"},
		"one that answers after the first round's due": {61 * time.Second, nil, "i-2"},
		"none":                   {0, errKernel, machine.Str()},
		"none, after some while": {61 * time.Second, errKernel, machine.Str()},
	} {
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sink consumertest.MetricsSink
				k := &fakeKernel{rounds: [][]counted{round, round, round}}
				asked := 0
				r := newTestReceiver(t, k, &sink, noResource)
				r.instance = func(context.Context) (identity.Instance, error) {
					asked++
					time.Sleep(c.answer)
					return map[bool]identity.Instance{true: {ID: "i-2"}}[c.err == nil], c.err
				}
				began := time.Now()
				require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
				assert.Zero(t, time.Since(began), "the start does not wait")
				time.Sleep(3*time.Minute + 10*time.Second)
				require.NoError(t, r.Shutdown(t.Context()))
				assert.Equal(t, []string{c.want, c.want, c.want}, ids(t, &sink))
				assert.Equal(t, 1, asked)
			})
		})
	}
}

func TestShutdownDoesNotWaitForTheIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestReceiver(t, &fakeKernel{}, consumertest.NewNop())
		r.instance = func(ctx context.Context) (identity.Instance, error) {
			<-ctx.Done()
			return identity.Instance{}, ctx.Err()
		}
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		began := time.Now()
		require.NoError(t, r.Shutdown(t.Context()))
		assert.Zero(t, time.Since(began))
	})
}
