// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package deploy

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const kubernetes = "../../examples/kubernetes"

// podSpec is what the tests look at of a DaemonSet's pods.
type podSpec struct {
	HostNetwork, HostPID bool
	Containers           []struct {
		Args            []string
		SecurityContext struct {
			RunAsUser, RunAsGroup                int
			Privileged, AllowPrivilegeEscalation *bool
			ReadOnlyRootFilesystem               bool
			Capabilities                         struct{ Add, Drop []string }
			SeccompProfile, AppArmorProfile      struct{ Type string }
		}
		Resources    struct{ Limits struct{ Memory string } }
		VolumeMounts []struct {
			Name, MountPath string
			ReadOnly        bool
		}
	}
	Volumes []struct {
		Name      string
		HostPath  *struct{ Path string }
		ConfigMap *struct{ Name string }
	}
}

// tool runs one of the programs of tools/deploy.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", append([]string{"run", "./" + name}, args...)...)
	cmd.Dir = "../../tools/deploy"
	out, err := cmd.Output()
	if err != nil {
		var stderr string
		if exit, ok := err.(*exec.ExitError); ok {
			stderr = string(exit.Stderr)
		}
		t.Fatalf("%s: %v %s", name, err, stderr)
	}
	return out
}

// daemonSet builds the example as kubectl does, and reads the pods' part of it.
func daemonSet(t *testing.T) *podSpec {
	t.Helper()
	dir, err := filepath.Abs(kubernetes)
	require.NoError(t, err)
	var objects []struct {
		Kind string
		Spec struct{ Template struct{ Spec podSpec } }
	}
	require.NoError(t, json.Unmarshal(tool(t, "manifests", dir), &objects))
	for _, o := range objects {
		if o.Kind == "DaemonSet" {
			require.Len(t, o.Spec.Template.Spec.Containers, 1)
			return &o.Spec.Template.Spec
		}
	}
	t.Fatal("there is no DaemonSet")
	return nil
}

// What containerd mounts over /proc in a container that is not privileged.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
	}
	readOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// bundle is what the kubelet and containerd make of the pod.
func (s *podSpec) bundle(t *testing.T) *bundle {
	t.Helper()
	c, sc := s.Containers[0], s.Containers[0].SecurityContext
	// What the sandbox below takes for granted.
	require.True(t, s.HostNetwork && s.HostPID)
	require.Nil(t, sc.Privileged)
	require.True(t, sc.ReadOnlyRootFilesystem)
	require.Equal(t, []string{"ALL"}, sc.Capabilities.Drop)
	require.Equal(t, "RuntimeDefault", sc.SeccompProfile.Type)
	require.NotNil(t, sc.AllowPrivilegeEscalation)

	b := &bundle{
		args:       append([]string{"/otelcol-flowmonitor"}, c.Args...),
		user:       sc.RunAsUser,
		group:      sc.RunAsGroup,
		noNewPrivs: !*sc.AllowPrivilegeEscalation,
		mounts:     append(slices.Clone(kernelFiles[:2]), mount{from: binary(t), to: "/otelcol-flowmonitor"}),
		masked:     maskedPaths,
		readOnly:   readOnlyPaths,
		memory:     bytesOf(t, c.Resources.Limits.Memory),
	}
	for _, name := range sc.Capabilities.Add {
		b.capabilities = append(b.capabilities, "CAP_"+name)
	}
	b.seccomp = json.RawMessage(tool(t, "seccomp", b.capabilities...))
	for _, m := range c.VolumeMounts {
		for _, v := range s.Volumes {
			if v.Name == m.Name && v.HostPath != nil {
				b.mounts = append(b.mounts, mount{from: v.HostPath.Path, to: m.MountPath, writable: !m.ReadOnly})
			}
		}
	}
	return b
}

// bytesOf reads a quantity of memory.
func bytesOf(t *testing.T, quantity string) int64 {
	t.Helper()
	mi, ok := strings.CutSuffix(quantity, "Mi")
	if !ok {
		mi, ok = strings.CutSuffix(quantity, "M") // systemd's are powers of two as well
	}
	require.True(t, ok, quantity)
	n, err := strconv.ParseInt(mi, 10, 64)
	require.NoError(t, err)
	return n << 20
}

func TestTheContainersSecurityContextSuffices(t *testing.T) {
	spec := daemonSet(t)
	suffices(t, filepath.Join(kubernetes, "config.yaml"), "/host/sys/fs/cgroup", func() *bundle { return spec.bundle(t) }, func(b *bundle) {
		// containerd's profile follows the capabilities.
		b.seccomp = json.RawMessage(tool(t, "seccomp", b.capabilities...))
	})
}

// None of the capabilities is there for nothing: without it the start fails.
func TestTheStartNeedsEachOfItsCapabilities(t *testing.T) {
	spec := daemonSet(t)
	for _, without := range []string{"CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"} {
		t.Run(without, func(t *testing.T) {
			b := spec.bundle(t)
			b.capabilities = slices.DeleteFunc(b.capabilities, func(c string) bool { return c == "CAP_SYS_ADMIN" || c == without })
			b.args = []string{"/otelcol-flowmonitor", "--config", "/config.yaml"}
			config, err := filepath.Abs(filepath.Join(kubernetes, "config.yaml"))
			require.NoError(t, err)
			b.mounts = append(b.mounts, mount{from: config, to: "/config.yaml"})
			b.environment = []string{"AWS_EC2_METADATA_DISABLED=true"}
			c := start(t, b)
			<-c.done
			assert.NotZero(t, c.cmd.ProcessState.ExitCode())
			assert.Contains(t, c.output.String(), "missing: "+without)
		})
	}
}
