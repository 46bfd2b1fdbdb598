// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/test/internal/collector"
)

// bundle is what a program is run with. Network, PID and IPC namespaces are the host's.
type bundle struct {
	args         []string
	environment  []string
	user, group  int
	capabilities []string // CAP_…: bounding, permitted and effective
	ambient      bool     // inheritable and ambient too
	noNewPrivs   bool
	seccomp      any // of the runtime specification
	mounts       []mount
	readOnly     []string // paths
	masked       []string
	memory       int64 // bytes; 0: no limit
	files, tasks int64
}

// mount of a host's file or folder, or of a file system if it has a kind.
type mount struct {
	kind, from, to string
	writable       bool
}

// kernelFiles are the file systems of the kernel that every process has.
var kernelFiles = []mount{
	{kind: "proc", from: "proc", to: "/proc", writable: true},
	{kind: "sysfs", from: "sysfs", to: "/sys"},
	{kind: "tmpfs", from: "tmpfs", to: "/tmp", writable: true},
}

func (m mount) spec() map[string]any {
	options := []string{"nosuid", "nodev", "noexec"}
	if m.kind == "" {
		m.kind, options = "bind", []string{"rbind"}
	}
	if !m.writable {
		options = append(options, "ro")
	}
	return map[string]any{"destination": m.to, "type": m.kind, "source": m.from, "options": options}
}

// spec is the bundle's config.json (https://github.com/opencontainers/runtime-spec).
func (b *bundle) spec(cgroup string) map[string]any {
	held := map[string]any{"bounding": b.capabilities, "permitted": b.capabilities, "effective": b.capabilities}
	if b.ambient {
		held["inheritable"], held["ambient"] = b.capabilities, b.capabilities
	}
	mounts := []any{}
	for _, m := range b.mounts {
		mounts = append(mounts, m.spec())
	}
	resources := map[string]any{"devices": []any{map[string]any{"allow": true, "access": "rwm"}}}
	if b.memory > 0 {
		resources["memory"] = map[string]any{"limit": b.memory}
	}
	if b.tasks > 0 {
		resources["pids"] = map[string]any{"limit": b.tasks}
	}
	process := map[string]any{
		"args": b.args, "cwd": "/", "env": b.environment,
		"user":            map[string]any{"uid": b.user, "gid": b.group},
		"capabilities":    held,
		"noNewPrivileges": b.noNewPrivs,
	}
	if b.files > 0 {
		process["rlimits"] = []any{map[string]any{"type": "RLIMIT_NOFILE", "hard": b.files, "soft": b.files}}
	}
	linux := map[string]any{
		"namespaces":    []any{map[string]any{"type": "mount"}},
		"cgroupsPath":   cgroup,
		"resources":     resources,
		"readonlyPaths": b.readOnly,
		"maskedPaths":   b.masked,
	}
	if b.seccomp != nil {
		linux["seccomp"] = b.seccomp
	}
	return map[string]any{
		"ociVersion": "1.0.2",
		"process":    process,
		"root":       map[string]any{"path": "rootfs", "readonly": true},
		"mounts":     mounts,
		"linux":      linux,
	}
}

// container is a running bundle.
type container struct {
	t      *testing.T
	id     string
	root   string // of runc's state
	cmd    *exec.Cmd
	output bytes.Buffer
	done   chan struct{}
}

// runc names its state and its cgroups by this.
var containers int

// start runs a bundle under runc until the test ends.
func start(t *testing.T, b *bundle) *container {
	t.Helper()
	runc, err := exec.LookPath("runc")
	if err != nil {
		missing(t, err)
	}
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "rootfs"), 0o755))
	containers++
	c := &container{t: t, id: fmt.Sprintf("flowmonitor-test-%d-%d", os.Getpid(), containers), root: filepath.Join(dir, "runc"), done: make(chan struct{})}
	config, err := json.Marshal(b.spec("/" + c.id))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600))
	c.cmd = exec.Command(runc, "--root", c.root, "run", "--bundle", dir, "--pid-file", filepath.Join(dir, "pid"), c.id)
	c.cmd.Stdout, c.cmd.Stderr = &c.output, &c.output
	require.NoError(t, c.cmd.Start())
	go func() {
		_ = c.cmd.Wait()
		close(c.done)
	}()
	t.Cleanup(func() {
		_ = exec.Command(runc, "--root", c.root, "delete", "--force", c.id).Run()
		<-c.done
		if t.Failed() {
			t.Logf("collector: %s", c.output.String())
		}
	})
	return c
}

func (c *container) exited() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// pid is the collector's.
func (c *container) pid() int {
	c.t.Helper()
	out, err := exec.Command("runc", "--root", c.root, "state", c.id).Output()
	require.NoError(c.t, err)
	var state struct{ Pid int }
	require.NoError(c.t, json.Unmarshal(out, &state))
	return state.Pid
}

// stop ends the collector as an init system does.
func (c *container) stop() {
	c.t.Helper()
	require.NoError(c.t, syscall.Kill(c.pid(), syscall.SIGTERM))
	select {
	case <-c.done:
		assert.Zero(c.t, c.cmd.ProcessState.ExitCode())
	case <-time.After(30 * time.Second):
		c.t.Fatal("the collector did not end within 30 s of SIGTERM")
	}
}

// threads gives what /proc says of the privileges of each thread.
func (c *container) threads() (all []map[string]string) {
	c.t.Helper()
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(c.pid()) + "/task/*/status")
	require.NoError(c.t, err)
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err != nil {
			continue // it has ended
		}
		s := map[string]string{}
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(line, ":")
			if strings.HasPrefix(name, "Cap") || name == "NoNewPrivs" || name == "Seccomp" || name == "Uid" {
				s[name] = strings.Join(strings.Fields(value), " ")
			}
		}
		all = append(all, s)
	}
	return all
}

// missing skips a test for want of something, but not in CI.
func missing(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// binary is the collector where every user can run it.
func binary(t *testing.T) string {
	t.Helper()
	path := collector.Binary(t)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&0o001, "%s is not for others to run", path)
	return path
}
