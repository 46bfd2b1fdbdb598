// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0
package main

import ("os";"fmt";"encoding/json";"time";"context";"io";"path/filepath"; "github.com/otel-flowmonitor/flowmonitor/test/kernels/plan")

func must(err error) { if err != nil { panic(err) } }
func main() {
	k := os.Args[1]
	dir := "out/kernels/"+k
	ms, err := findModules(dir+"/modules"); must(err)
	mods, err := ms.load([]string{"sch_netem","veth","tcp_diag"}); must(err)
	var p plan.Plan
	f, _ := os.Create(dir+"/initrd")
	a := newArchive(f)
	a.device("/dev/console", 5, 1)
	a.program("/init", dir+"/../guest")
	for _, m := range mods { n := "/modules/"+m.name+".ko"; a.add(n, modeProgram, 0, 0, m.content); p.Modules = append(p.Modules, n) }
	for _, t := range os.Args[2:] {
		a.program("/tests/"+filepath.Base(t), t)
		p.Jobs = append(p.Jobs, plan.Job{Name: filepath.Base(t), Command: []string{"/tests/"+filepath.Base(t), "-test.v"}, Folder: "/tests", Timeout: 600*time.Second})
	}
	j, _ := json.Marshal(p)
	a.add(plan.Path, 0o100644, 0, 0, j)
	must(a.close())
	f.Close()
	l, _ := os.Create(dir+"/log")
	fmt.Println(machines["amd64"].boot(context.Background(), dir+"/vmlinuz", dir+"/initrd", io.MultiWriter(l, os.Stdout)))
}
