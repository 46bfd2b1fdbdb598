// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Command kernels boots kernels of Debian under QEMU, has each run the tests of the
// kernel side, and holds what works on which against the table that is documented. make
// test-kernels builds what it needs.
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

// limit of a kernel's whole run: twice what it takes on a machine that does much else.
const limit = 90 * time.Minute

func main() {
	short := flag.Bool("short", false, "the features only, and a receiver on the real kernel")
	update := flag.Bool("update", false, "write the table into the document")
	document := flag.String("document", "receiver/sockopsreceiver/README.md", "file with the table of kernels")
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
		report(k, res, faults, time.Since(began))
		failed = failed || len(faults) > 0
		t.set(title(k.column(res)), res.features)
		if ctx.Err() != nil {
			break
		}
	}
	fmt.Printf("\n%s\n", &t)
	if err := documented(*document, &t, *update); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		failed = true
	}
	if failed {
		os.Exit(1)
	}
}

func report(k kernel, res result, faults []string, took time.Duration) {
	verdict := "ok  "
	if len(faults) > 0 {
		verdict = "FAIL"
	}
	fmt.Printf("%s  %s (%s), booted in %d s, %.0f s in all\n", verdict, k.name, res.release, res.boot, took.Seconds())
	for _, j := range res.jobs {
		fmt.Printf("      %-10s %3d passed  %3d failed  %6.1f s\n", j.name, len(j.passed), len(j.failed), j.seconds)
	}
	for _, f := range faults {
		fmt.Println("      " + f)
	}
	if len(faults) > 0 {
		fmt.Println("      the console is in " + k.log())
	}
}

// documented compares the table with the one in a document, or writes it there.
func documented(file string, t *table, update bool) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, inside, after, err := cut(string(content))
	if err != nil {
		return fmt.Errorf("%s %w", file, err)
	}
	known := parseTable(inside)
	if !update {
		if lines := t.drift(known); len(lines) > 0 {
			return fmt.Errorf("%s says something else (make test-kernels UPDATE=1 writes it):\n%s", file, joinLines(lines))
		}
		return nil
	}
	for _, column := range t.columns {
		var found []feature
		for _, row := range t.rows {
			if what := t.cells[cell{row, column}]; what != "" {
				found = append(found, feature{row, what})
			}
		}
		known.set(column, found)
	}
	return os.WriteFile(file, []byte(before+known.String()+after), 0o644)
}

func joinLines(lines []string) (all string) {
	for _, line := range lines {
		all += "  " + line + "\n"
	}
	return all
}

func (k kernel) log() string { return filepath.Join(k.dir, "console.log") }

// run boots a kernel and gives what it told, and why that is not good.
func (k kernel) run(ctx context.Context, out string, short bool) (res result, faults []string) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	log, err := k.openLog()
	if err != nil {
		return res, []string{err.Error()}
	}
	defer log.Close()
	binaries := filepath.Join(out, "bin-"+k.architecture)
	jobs := k.jobs(short)
	var runErr error
	if k.here {
		jobs = jobs[:1]
		runErr = runHere(ctx, binaries, jobs[0], log)
	} else {
		userland := filepath.Join(out, "userland-"+k.architecture)
		if short {
			userland = "" // nothing is called
		}
		initial := filepath.Join(k.dir, "initial.cpio")
		defer os.Remove(initial)
		if err := k.pack(initial, userland, binaries, jobs); err != nil {
			return res, []string{fmt.Sprintf("pack the initial file system: %v", err)}
		}
		runErr = machines[k.architecture].boot(ctx, k.image(), initial, log)
	}
	if _, err := log.Seek(0, 0); err != nil {
		return res, []string{err.Error()}
	}
	res, err = parseConsole(log)
	faults = res.faults(jobs)
	for _, err := range []error{err, runErr, ctx.Err()} {
		if err != nil {
			faults = append(faults, err.Error())
		}
	}
	return res, faults
}

func (k kernel) openLog() (*os.File, error) {
	if err := os.MkdirAll(k.dir, 0o755); err != nil {
		return nil, err
	}
	return os.Create(k.log())
}
