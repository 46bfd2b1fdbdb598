// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/test/kernels/plan"
)

// wantedModules are drivers that the tests use and that nothing in the guest would load on demand.
var wantedModules = []string{
	"veth", "sch_netem", // cables, and what goes wrong on them
	"tcp_diag", "inet_diag", // the announcements of sockets that end
	"crc32c_generic", // libcrc32c, which nf_tables depends on, asks for it at run time
	"nf_tables", "nft_numgen", "nft_ct", "nft_nat", "nft_chain_nat", "nf_conntrack_netlink",
}

// jobs are what a kernel has to pass. binaries is the folder that holds what is built for
// its architecture.
func (k kernel) jobs(short bool) []plan.Job {
	test := func(name string, timeout time.Duration, args ...string) plan.Job {
		return plan.Job{
			Name:    name,
			Command: append([]string{"/tests/" + name + ".test", "-test.v", "-test.timeout=" + timeout.String()}, args...),
			Folder:  "/tests",
			Tests:   true,
			Timeout: timeout + 10*time.Second, // a test that takes too long says where it was
		}
	}
	if k.tooOld() {
		return []plan.Job{test("features", time.Minute, "-test.run=TestAKernelThatIsTooOldIsRefusedInOneLine")}
	}
	features := test("features", 10*time.Minute)
	if short {
		return []plan.Job{features, test("receiver", 5*time.Minute, "-test.run=ARealConnection|StartAndStopOnARealKernel")}
	}
	return []plan.Job{
		features,
		test("bpf", 40*time.Minute, "-test.short"),
		test("rtt", 10*time.Minute),
		test("receiver", 10*time.Minute, "-test.run=Real"),
	}
}

// pack writes the initial file system: programs of Debian, the guest, its plan, the
// modules, the tests.
func (k kernel) pack(to, userland, binaries string, jobs []plan.Job) (err error) {
	found, err := findModules(filepath.Join(k.dir, "modules"))
	if err != nil {
		return fmt.Errorf("find the modules: %w", err)
	}
	modules, err := found.load(wantedModules)
	if err != nil {
		return err
	}
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	a := newArchive(file)
	a.device("/dev/console", 5, 1)
	if userland != "" {
		a.tree(userland)
	}
	a.program("/init", filepath.Join(binaries, "guest"))
	p := plan.Plan{Jobs: jobs}
	for _, m := range modules {
		name := "/modules/" + m.name + ".ko"
		a.add(name, modeFile, 0, 0, m.content)
		p.Modules = append(p.Modules, name)
	}
	a.program(plan.Collector, filepath.Join(binaries, filepath.Base(plan.Collector)))
	packed := map[string]bool{}
	for _, j := range jobs {
		if name := j.Command[0]; !packed[name] {
			packed[name] = true
			a.program(name, filepath.Join(binaries, filepath.Base(name)))
		}
	}
	encoded, err := json.Marshal(p)
	if err != nil {
		return err
	}
	a.add(plan.Path, modeFile, 0, 0, encoded)
	return a.close()
}
