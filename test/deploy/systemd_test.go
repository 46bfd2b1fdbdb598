// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	systemd  = "../../examples/systemd"
	unitName = "otelcol-flowmonitor.service"
)

// unit is the section [Service] of a unit.
type unit map[string]string

func readUnit(t *testing.T) unit {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(systemd, unitName))
	require.NoError(t, err)
	u, section := unit{}, ""
	for line := range strings.Lines(string(file)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = line
		case section == "[Service]":
			name, value, ok := strings.Cut(line, "=")
			require.True(t, ok, line)
			require.NotContains(t, u, name, "this test reads each but once")
			u[name] = value
		}
	}
	return u
}

// Directives that take nothing from the collector beyond what the sandbox takes, and what
// stands for them there.
var elsewhere = map[string]string{
	"ExecStart":             "the bundle's arguments",
	"EnvironmentFile":       "optional, and not there",
	"Restart":               "nothing of the process",
	"RestartSec":            "nothing of the process",
	"DynamicUser":           "the bundle's user",
	"AmbientCapabilities":   "the bundle's capabilities",
	"CapabilityBoundingSet": "the bundle's capabilities",
	"NoNewPrivileges":       "no_new_privs",
	"ProtectSystem":         "the root is read-only, and holds no more than what is mounted",
	"ProtectHome":           "there is none",
	"PrivateTmp":            "a tmpfs",
	"PrivateDevices":        "there is none",
	"ProtectKernelTunables": "read-only paths",
	"ProtectControlGroups":  "a read-only mount",
	// Of these four the capabilities are not there either, and the filter below has no call that they forbid.
	"ProtectKernelModules":    "no CAP_SYS_MODULE, no @module",
	"ProtectKernelLogs":       "no CAP_SYSLOG, no syslog",
	"ProtectClock":            "no CAP_SYS_TIME, no @clock",
	"ProtectHostname":         "no sethostname",
	"RestrictNamespaces":      "arguments in the filter",
	"RestrictAddressFamilies": "arguments in the filter",
	"MemoryDenyWriteExecute":  "arguments in the filter",
	"LockPersonality":         "no personality in the filter",
	"RestrictRealtime":        "no sched_setscheduler in the filter",
	"RestrictSUIDSGID":        "no user's files are made",
	"SystemCallArchitectures": "the filter's",
	"SystemCallFilter":        "the filter",
	"SystemCallErrorNumber":   "the filter's",
	"UMask":                   "files of the output only",
	"MemoryMax":               "a limit of the cgroup",
	"TasksMax":                "a limit of the cgroup",
	"LimitNOFILE":             "a limit of the process",
	"Environment":             "the bundle's environment",
}

// bundle is what systemd makes of the unit.
func (u unit) bundle(t *testing.T) *bundle {
	t.Helper()
	for name := range u {
		require.Contains(t, elsewhere, name, "this test does not know what that does")
	}
	for name, value := range map[string]string{
		"DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "PrivateTmp": "yes", "PrivateDevices": "yes",
		"ProtectKernelTunables": "yes", "ProtectControlGroups": "yes", "MemoryDenyWriteExecute": "yes",
		"SystemCallArchitectures": "native", "SystemCallErrorNumber": "EPERM", "RestrictNamespaces": "net",
		"CapabilityBoundingSet": u["AmbientCapabilities"],
	} {
		require.Equal(t, value, u[name], name)
	}
	number := func(name string) int64 {
		n, err := strconv.ParseInt(u[name], 10, 64)
		require.NoError(t, err, name)
		return n
	}
	args := strings.Fields(u["ExecStart"])
	return &bundle{
		args:         args,
		environment:  strings.Fields(u["Environment"]),
		user:         61184, // the first of those that systemd gives out (systemd.exec(5), DynamicUser)
		group:        61184,
		capabilities: strings.Fields(u["AmbientCapabilities"]),
		ambient:      true,
		noNewPrivs:   true,
		seccomp:      u.filter(t),
		mounts: append(slices.Clone(kernelFiles),
			mount{from: binary(t), to: args[0]},
			mount{from: "/sys/fs/cgroup", to: "/sys/fs/cgroup"},
			mount{from: "/etc/machine-id", to: "/etc/machine-id"},
		),
		readOnly: []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/kcore"},
		memory:   bytesOf(t, u["MemoryMax"]),
		files:    number("LimitNOFILE"),
		tasks:    number("TasksMax"),
	}
}

// call allows a system call where its arguments are so.
type call struct {
	Names  []string   `json:"names"`
	Action string     `json:"action"`
	Args   []argument `json:"args,omitempty"`
}

type argument struct {
	Index    int    `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo"`
	Op       string `json:"op"`
}

func equals(index int, value uint64) argument {
	return argument{index, value, 0, "SCMP_CMP_EQ"}
}

// has says that of the bits in mask those in value are set.
func has(index int, mask, value uint64) argument {
	return argument{index, mask, value, "SCMP_CMP_MASKED_EQ"}
}

// filter is the unit's seccomp filter: SystemCallFilter with its groups spelled out, and
// what the Restrict… directives do to the arguments.
func (u unit) filter(t *testing.T) any {
	t.Helper()
	names := expand(t, strings.Fields(u["SystemCallFilter"]), map[string]bool{})
	for _, name := range []string{"bpf", "openat", "socket", "mmap", "clone", "epoll_pwait"} {
		require.Contains(t, names, name)
	}
	// What is allowed below by its arguments, and what RestrictNamespaces, LockPersonality and
	// RestrictRealtime forbid. clone3 hides its flags, and gets ENOSYS from systemd.
	names = slices.DeleteFunc(names, func(name string) bool {
		return slices.Contains([]string{
			"socket", "setns", "clone", "clone3", "unshare", "mmap", "mmap2", "mprotect", "pkey_mprotect", "shmat",
			"personality", "sched_setscheduler", "sched_setattr",
		}, name)
	})
	const allow = "SCMP_ACT_ALLOW"
	calls := []call{{Names: names, Action: allow}}
	for family := range strings.FieldsSeq(u["RestrictAddressFamilies"]) {
		number, ok := map[string]uint64{"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}[family]
		require.True(t, ok, family)
		calls = append(calls, call{[]string{"socket"}, allow, []argument{equals(0, number)}})
	}
	const (
		newNetwork = 0x40000000
		namespaces = 0x7e020080 | newNetwork // CLONE_NEW… of sched.h
		write      = 2
		execute    = 4
	)
	if strings.Contains(u["SystemCallFilter"], "setns") {
		calls = append(calls, call{[]string{"setns"}, allow, []argument{equals(1, newNetwork)}})
	}
	calls = append(calls,
		call{[]string{"clone"}, allow, []argument{has(0, namespaces, 0)}},
		call{[]string{"mmap"}, allow, []argument{has(2, write|execute, 0)}},
		call{[]string{"mmap"}, allow, []argument{has(2, write|execute, write)}},
		call{[]string{"mmap"}, allow, []argument{has(2, write|execute, execute)}},
		call{[]string{"mprotect", "pkey_mprotect"}, allow, []argument{has(2, execute, 0)}},
	)
	return map[string]any{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": calls}
}

// expand spells out groups of system calls, as systemd-analyze knows them.
func expand(t *testing.T, names []string, seen map[string]bool) (all []string) {
	t.Helper()
	for _, name := range names {
		if name == "" || name[0] != '@' {
			all = append(all, name)
			continue
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		out, err := exec.Command("systemd-analyze", "syscall-filter", "--no-pager", name).Output()
		if err != nil {
			missing(t, err)
		}
		var group []string
		for line := range strings.Lines(string(out)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line != name {
				group = append(group, line)
			}
		}
		all = append(all, expand(t, group, seen)...)
	}
	return all
}

func TestTheUnitsPrivilegesSuffice(t *testing.T) {
	u := readUnit(t)
	suffices(t, filepath.Join(systemd, "config.yaml"), "/sys/fs/cgroup", func() *bundle { return u.bundle(t) }, func(*bundle) {})
}

// The sandbox enforces the filter: a call that is not in it is refused.
func TestTheUnitsFilterIsEnforced(t *testing.T) {
	u := readUnit(t)
	u["SystemCallFilter"] = strings.Replace(u["SystemCallFilter"], " setns", "", 1)
	p := newPod(t)
	b := u.bundle(t)
	a := startAgent(t, b, filepath.Join(systemd, "config.yaml"), options{})
	a.watches(p, false)
	a.stop()
}

func TestSystemdTakesTheUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		missing(t, err)
	}
	for _, file := range []string{filepath.Join(systemd, unitName), "../../examples/ec2/otelcol-flowmonitor-gateway.service"} {
		// Where the unit says that the binary is there is none here.
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		name := filepath.Base(file)
		path := filepath.Join(t.TempDir(), name)
		changed := regexp.MustCompile(`(?m)^ExecStart=\S+/otelcol-flowmonitor `).ReplaceAllString(string(text), "ExecStart=/bin/true ")
		require.NotEqual(t, string(text), changed)
		require.NoError(t, os.WriteFile(path, []byte(changed), 0o644))
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
		assert.NoError(t, err)
		for line := range strings.Lines(string(out)) {
			assert.NotContains(t, line, name, "a complaint about this unit, and not about one of this machine")
		}

		// Of 10: below 3 the unit "should be OK". CAP_SYS_ADMIN and CAP_SYS_PTRACE make most of the agent's.
		out, err = exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", path).CombinedOutput()
		require.NoError(t, err, string(out))
		level := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
		require.NotNil(t, level, string(out))
		exposure, err := strconv.ParseFloat(string(level[1]), 64)
		require.NoError(t, err)
		assert.LessOrEqual(t, exposure, 3.0, name)
	}
}
