// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Command kernels boots kernels of Debian under QEMU, has each run the tests of the
// kernel side, and reports what works on which. make test-kernels builds what it needs.
//
//	scripts/fetch-kernel.sh ──► out/kernels/NAME/{vmlinuz,modules}
//	go test -c              ──► out/kernels/bin-ARCHITECTURE/*.test ─► initial file system
//	                                                                         │
//	console of the guest ◄── test/kernels/guest is its first process ◄── qemu-system-…
//	   │
//	   ▼
//	verdicts, and the table of features
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

// Limit of a kernel's whole run: some four times what it takes when nothing else runs.
const limit = 40 * time.Minute

func main() {
	short := flag.Bool("short", false, "the features only, and a receiver on the real kernel")
	out := flag.String("out", "out/kernels", "folder of the unpacked kernels, the binaries and the logs")
	list := flag.String("list", "test/kernels/kernels.txt", "file that names the kernels")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	wanted, err := kernels(*list, *out, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(2)
	}
	var t table
	failed := false
	for _, k := range wanted {
		began := time.Now()
		res, faults := k.run(ctx, *out, *short)
		verdict := "ok  "
		if len(faults) > 0 {
			verdict, failed = "FAIL", true
		}
		fmt.Printf("%s  %s (%s), booted in %d s, %.0f s in all\n", verdict, k.name, res.release, res.boot, time.Since(began).Seconds())
		for _, j := range res.jobs {
			fmt.Printf("      %-10s %3d passed  %3d failed  %6.1f s\n", j.name, len(j.passed), len(j.failed), j.seconds)
		}
		for _, f := range faults {
			fmt.Println("      " + f)
		}
		if len(faults) > 0 {
			fmt.Println("      the console is in " + k.log())
		}
		t.add(k, res)
		if ctx.Err() != nil {
			break
		}
	}
	fmt.Println()
	t.write(os.Stdout)
	if failed {
		os.Exit(1)
	}
}

func (k kernel) log() string { return filepath.Join(k.dir, "console.log") }

// run boots a kernel and gives what it told, and why that is not good.
func (k kernel) run(ctx context.Context, out string, short bool) (res result, faults []string) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	jobs := k.jobs(short)
	initial := filepath.Join(k.dir, "initial.cpio")
	userland := filepath.Join(out, "userland-"+k.architecture)
	if short {
		userland = "" // nothing is called
	}
	if err := k.pack(initial, userland, filepath.Join(out, "bin-"+k.architecture), jobs); err != nil {
		return res, []string{fmt.Sprintf("pack the initial file system: %v", err)}
	}
	defer os.Remove(initial)
	log, err := os.Create(k.log())
	if err != nil {
		return res, []string{err.Error()}
	}
	defer log.Close()
	bootErr := machines[k.architecture].boot(ctx, k.image(), initial, log)
	if _, err := log.Seek(0, 0); err != nil {
		return res, []string{err.Error()}
	}
	res, err = parseConsole(log)
	faults = res.faults(jobs)
	for _, err := range []error{err, bootErr, ctx.Err()} {
		if err != nil {
			faults = append(faults, err.Error())
		}
	}
	return res, faults
}
