// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package privileges

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// dropEnv makes this binary a process that gives up its capabilities, but for those named.
const dropEnv = "FLOWMONITOR_TEST_DROP"

func TestMain(m *testing.M) {
	if keep, ok := os.LookupEnv(dropEnv); ok {
		os.Exit(drop(keep))
	}
	goleak.VerifyTestMain(m)
}

// state is what /proc says of a thread: the lines of its status that are about privileges.
type state map[string]string

// dropped is what the process that dropped tells of itself.
type dropped struct {
	Threads []state // all of its own, those included that were made before and after
	Child   state   // of a program that it started
	Names   []string
}

// drop runs in a process of its own.
func drop(keep string) int {
	var values []cap.Value
	for name := range strings.FieldsSeq(keep) {
		v, err := cap.FromName(name)
		if err != nil {
			return fail(err)
		}
		values = append(values, v)
	}
	// Threads that live, each held by a goroutine.
	var ready, done sync.WaitGroup
	release := make(chan struct{})
	spawn := func(n int) {
		for range n {
			ready.Add(1)
			done.Go(func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				ready.Done()
				<-release
			})
		}
		ready.Wait()
	}
	spawn(8)
	if err := Drop(values...); err != nil {
		return fail(err)
	}
	spawn(4)
	var d dropped
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		return fail(err)
	}
	for _, task := range tasks {
		s, err := readState(task)
		if err != nil {
			return fail(err)
		}
		d.Threads = append(d.Threads, s)
	}
	out, err := exec.Command("cat", "/proc/self/status").Output()
	if err != nil {
		return fail(err)
	}
	d.Child = parseState(string(out))
	if d.Names, err = Names(); err != nil {
		return fail(err)
	}
	close(release)
	done.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(d); err != nil {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func readState(path string) (state, error) {
	b, err := os.ReadFile(path)
	return parseState(string(b)), err
}

func parseState(status string) state {
	s := state{}
	for line := range strings.Lines(status) {
		if name, value, ok := strings.Cut(line, ":"); ok && (strings.HasPrefix(name, "Cap") || name == "NoNewPrivs") {
			s[name] = strings.TrimLeft(strings.TrimSpace(value), "0")
		}
	}
	return s
}

// mask gives a set as /proc writes it.
func mask(values ...cap.Value) string {
	var bits uint64
	for _, v := range values {
		bits |= 1 << v
	}
	if bits == 0 {
		return ""
	}
	return fmt.Sprintf("%x", bits)
}

// run starts the process that drops, by a command before it or by itself.
func run(t *testing.T, keep string, before ...string) dropped {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root: it starts processes with given capabilities")
		}
		t.Skip("needs root: it starts processes with given capabilities")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	if len(before) > 0 && before[0] == "setpriv" { // another user cannot look into our folders
		copied := filepath.Join("/tmp", filepath.Base(t.TempDir())+"-"+filepath.Base(self))
		b, err := os.ReadFile(self)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(copied, b, 0o755)) //nolint:gosec // for another user to run
		t.Cleanup(func() { os.Remove(copied) })
		self = copied
	}
	args := append(before, self)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), dropEnv+"="+keep)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var d dropped
	require.NoError(t, json.Unmarshal(out, &d))
	return d
}

func TestRootGivesUpEverything(t *testing.T) {
	d := run(t, "")
	nothing := state{"CapInh": "", "CapPrm": "", "CapEff": "", "CapBnd": "", "CapAmb": "", "NoNewPrivs": "1"}
	assert.GreaterOrEqual(t, len(d.Threads), 12)
	for _, s := range d.Threads {
		assert.Equal(t, nothing, s)
	}
	assert.Equal(t, nothing, d.Child, "nor does a program of root's get any back")
	assert.Empty(t, d.Names)
}

func TestWhatIsKeptStaysInTheProcess(t *testing.T) {
	d := run(t, "cap_net_admin cap_sys_ptrace")
	kept := mask(cap.NET_ADMIN, cap.SYS_PTRACE)
	for _, s := range d.Threads {
		assert.Equal(t, state{"CapInh": "", "CapPrm": kept, "CapEff": kept, "CapBnd": kept, "CapAmb": "", "NoNewPrivs": "1"}, s)
	}
	assert.Equal(t, kept, d.Child["CapBnd"], "root's programs get what the process itself has, and no more")
	assert.Equal(t, kept, d.Child["CapEff"])
	assert.Equal(t, []string{"cap_net_admin", "cap_sys_ptrace"}, d.Names)
}

// As the unit of systemd has it: a user with ambient capabilities, which would go on to
// every program that is started.
func TestAUserWithAmbientCapabilitiesGivesThemUp(t *testing.T) {
	set := "-all,+bpf,+perfmon,+net_admin"
	d := run(t, "cap_bpf cap_sys_admin", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
		"--inh-caps", set, "--ambient-caps", set, "--bounding-set", set)
	kept := mask(cap.BPF)
	all := mask(cap.BPF, cap.PERFMON, cap.NET_ADMIN)
	for _, s := range d.Threads {
		// Without CAP_SETPCAP the bounding set is as it was; cap_sys_admin was not there to keep.
		assert.Equal(t, state{"CapInh": "", "CapPrm": kept, "CapEff": kept, "CapBnd": all, "CapAmb": "", "NoNewPrivs": "1"}, s)
	}
	assert.Equal(t, state{"CapInh": "", "CapPrm": "", "CapEff": "", "CapBnd": all, "CapAmb": "", "NoNewPrivs": "1"}, d.Child)
}

// What no_new_privs is for: root's programs would get the whole bounding set back.
func TestRootWithoutSetpcapGetsNothingBack(t *testing.T) {
	set := "-all,+bpf,+perfmon,+net_admin"
	d := run(t, "", "setpriv", "--inh-caps", set, "--bounding-set", set)
	assert.Equal(t, mask(cap.BPF, cap.PERFMON, cap.NET_ADMIN), d.Threads[0]["CapBnd"])
	assert.Equal(t, "", d.Threads[0]["CapEff"])
	assert.Equal(t, "", d.Child["CapEff"])
	assert.Equal(t, "", d.Child["CapPrm"])
}
