// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/test/kernels/plan"
)

// runHere runs a job on this machine's kernel, and says of it what a guest would say.
func runHere(ctx context.Context, binaries string, job plan.Job, console io.Writer) error {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	say := func(format string, words ...any) { fmt.Fprintf(console, "\n"+plan.Mark+" "+format+"\n", words...) }
	say("%s %s 0", plan.Booted, strings.TrimSpace(string(release)))
	say("%s %s", plan.Running, job.Name)
	began := time.Now()
	binaries, err = filepath.Abs(binaries)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, filepath.Base(job.Command[0])), job.Command[1:]...)
	cmd.Env = append(os.Environ(), "CI=true", "FLOWMONITOR_COLLECTOR="+filepath.Join(binaries, filepath.Base(plan.Collector)))
	cmd.Stdout, cmd.Stderr = console, console
	runErr := cmd.Run()
	if exit := (*exec.ExitError)(nil); runErr != nil && !errors.As(runErr, &exit) {
		return runErr
	}
	say("%s %s %d %.1f", plan.Ended, job.Name, cmd.ProcessState.ExitCode(), time.Since(began).Seconds())
	say("%s", plan.Done)
	return nil
}
