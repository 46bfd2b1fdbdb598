// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// programs is the kernel's statistics of a process's eBPF programs, all added up. They are
// kept only while BPF statistics are enabled.
type programs struct {
	time time.Duration // that they ran
	runs uint64
}

func (p programs) since(before programs) programs {
	return programs{p.time - before.time, p.runs - before.runs}
}

// programsOf reads /proc/PID/fdinfo: of any process, a collector for instance, and only what
// it has loaded itself.
func programsOf(pid int) (sum programs, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		return sum, err
	}
	seen := map[string]bool{}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			continue // closed meanwhile
		}
		id, p, err := parseProgram(f)
		f.Close()
		if err != nil {
			return sum, fmt.Errorf("%s: %w", name, err)
		}
		if id != "" && !seen[id] {
			seen[id] = true
			sum.time += p.time
			sum.runs += p.runs
		}
	}
	return sum, nil
}

// parseProgram reads the fdinfo of one descriptor. The id is empty if it is not a program:
// a link names one too, but has no statistics.
func parseProgram(r io.Reader) (id string, p programs, err error) {
	known := false
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		var n uint64
		switch key {
		case "prog_id":
			id = value
		case "run_time_ns":
			known = true
			n, err = strconv.ParseUint(value, 10, 63)
			p.time = time.Duration(n)
		case "run_cnt":
			p.runs, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil {
			return "", p, fmt.Errorf("%s: %w", key, err)
		}
	}
	if !known {
		return "", programs{}, lines.Err()
	}
	return id, p, lines.Err()
}

// attached says whether a process holds a program attached to a cgroup.
func attached(pid int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), "link_type:\tcgroup") {
			return true
		}
	}
	return false
}
