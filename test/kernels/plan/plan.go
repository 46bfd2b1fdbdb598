// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package plan is what the two sides of a booted kernel agree on: the host puts a [Plan]
// into the initial file system, the guest carries it out and says on the console, in
// lines of its own, how far it is.
package plan

import "time"

// Path of the plan in the guest, as JSON, and of the built collector.
const (
	Path      = "/plan.json"
	Collector = "/tests/otelcol-flowmonitor"
)

// Plan is what a guest does from its boot to its power-off.
type Plan struct {
	Modules []string // files of kernel modules, in the order in which they are loaded
	Jobs    []Job    // run one after the other, whatever becomes of each
}

// Job is a program and what it is called with.
type Job struct {
	Name    string
	Command []string
	Folder  string // in which it runs
	Tests   bool   // it is a test binary
	Timeout time.Duration
}

// Mark begins the console's lines that are for the host; a kind and words follow.
const Mark = "@@"

// Kinds of such lines.
const (
	Booted  = "booted"  // release of the kernel, seconds since its boot
	Running = "running" // name of the job
	Ended   = "ended"   // name of the job, its exit status, seconds
	Problem = "problem" // of the guest itself, in words
	Feature = "feature" // name of a feature, ": ", what is found
	Done    = "done"    // nothing comes after it
)
