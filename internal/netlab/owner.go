// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
)

// namePrefix begins the name of everything that a lab leaves visible to the
// machine: namespaces, cgroups and folders. [Sweep] trusts it.
const namePrefix = "netlab-"

// labName finds the owner in a name: process id, start time of that process in
// clock ticks since boot, number of the lab in it; then the node, if any.
var labName = regexp.MustCompile(`^netlab-(\d+)\.(\d+)\.(\d+)(?:-.*)?$`)

// labCount numbers the labs of this process.
var labCount atomic.Uint64

// newID names a lab after its owner. The start time is there because process ids
// come again: without it a dead lab could hide behind a stranger.
func newID() (string, error) {
	start, err := startTime(os.Getpid())
	if err != nil {
		return "", fmt.Errorf("read the start time of this process: %w", err)
	}
	return fmt.Sprintf("%s%d.%d.%d", namePrefix, os.Getpid(), start, labCount.Add(1)), nil
}

// orphaned reports whether name was made by a lab whose process is gone.
// It is false for every name that is not a lab's, and when in doubt.
func orphaned(name string) bool {
	m := labName.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil {
		return false
	}
	start, err := startTime(pid)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errDead) {
		return true
	}
	return err == nil && strconv.FormatUint(start, 10) != m[2]
}

// errDead is the state of a process that was killed and not yet waited for.
var errDead = errors.New("process is dead")

// startTime reads when a process started, in clock ticks since boot.
func startTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		// ESRCH: the process ended between open and read.
		if strings.Contains(err.Error(), "no such process") {
			return 0, errDead
		}
		return 0, err
	}
	return parseStartTime(stat)
}

// parseStartTime takes field 22 of /proc/PID/stat. Field 2, the command, may hold
// blanks and brackets: counting begins after the last bracket.
func parseStartTime(stat []byte) (uint64, error) {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, errors.New("no command in process status")
	}
	fields := bytes.Fields(stat[i+1:])
	const state, starttime = 0, 19 // fields 3 and 22, counted after the command
	if len(fields) <= starttime {
		return 0, errors.New("process status is too short")
	}
	if s := fields[state][0]; s == 'Z' || s == 'X' {
		return 0, errDead
	}
	return strconv.ParseUint(string(fields[starttime]), 10, 64)
}
