// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Command guest is the first process of a kernel that make test-kernels boots. It makes
// what a distribution would have made (file systems, loopback, modules), runs the jobs of
// its plan and switches the machine off.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/otel-flowmonitor/flowmonitor/test/kernels/plan"
)

func main() {
	if os.Getpid() != 1 {
		work()
		return
	}
	// Processes whose parent has ended become ours. Reaping them here and the jobs in a
	// process of their own keeps the two from taking each other's exit status.
	worker := exec.Command("/proc/self/exe")
	mount()
	worker.Stdout, worker.Stderr = os.Stdout, os.Stderr
	if err := worker.Start(); err != nil {
		problem(err)
	} else {
		reapUntil(worker.Process.Pid)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {} // a first process that ends is a panic
}

func reapUntil(worker int) {
	for {
		pid, err := unix.Wait4(-1, nil, 0, nil)
		if pid == worker || errors.Is(err, unix.ECHILD) {
			return
		}
	}
}

// say writes a line for the host. What a job left of its last line ends first.
func say(kind, format string, words ...any) {
	fmt.Printf("\n%s %s %s\n", plan.Mark, kind, fmt.Sprintf(format, words...))
}

func problem(err error) { say(plan.Problem, "%v", err) }

func work() {
	defer say(plan.Done, "")
	var release unix.Utsname
	var up unix.Sysinfo_t
	if err := errors.Join(unix.Uname(&release), unix.Sysinfo(&up)); err != nil {
		problem(err)
	}
	say(plan.Booted, "%s %d", unix.ByteSliceToString(release.Release[:]), up.Uptime)

	var p plan.Plan
	file, err := os.ReadFile(plan.Path)
	if err == nil {
		err = json.Unmarshal(file, &p)
	}
	if err != nil {
		problem(fmt.Errorf("read the plan: %w", err))
		return
	}
	for _, module := range p.Modules {
		if err := load(module); err != nil {
			problem(err)
		}
	}
	prepare()
	for _, job := range p.Jobs {
		say(plan.Running, "%s", job.Name)
		began := time.Now()
		status := run(job)
		say(plan.Ended, "%s %d %.1f", job.Name, status, time.Since(began).Seconds())
	}
}

// run gives the exit status of a job, 124 (as timeout(1) does) when it took too long.
func run(job plan.Job) int {
	ctx, cancel := context.WithTimeout(context.Background(), job.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, job.Command[0], job.Command[1:]...)
	cmd.Dir = job.Folder
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	cmd.WaitDelay = time.Second // for what the job has left behind, with its output
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return 124
	case cmd.ProcessState == nil:
		problem(err)
		return 127
	}
	return cmd.ProcessState.ExitCode()
}

func load(module string) error {
	file, err := os.Open(module)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.FinitModule(int(file.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", module, err)
	}
	return nil
}
