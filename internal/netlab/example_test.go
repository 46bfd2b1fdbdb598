// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// Two VPCs joined by a transit gateway; for a while the gateway loses 3 % of what
// goes from one to the other.
func Example() {
	// In main, or TestMain, before anything else: netlab.Main()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	lab := netlab.New()
	vpcA, tgw, vpcB := lab.Router("vpc-a"), lab.Router("tgw"), lab.Router("vpc-b")
	attachment := lab.Link(vpcA, tgw)
	lab.Link(tgw, vpcB)
	client := vpcA.Host("client", "10.1.0.10", "fd00:a::10")
	web := vpcB.Host("web", "10.2.0.10", "fd00:b::10")
	if err := lab.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer lab.Close()

	// A collector that plays the client takes this for its cgroup_path.
	fmt.Fprintln(os.Stderr, "the client's cgroup is", client.CgroupPath())

	server, err := web.StartServer(ctx, netlab.ServerConfig{Listen: netip.MustParseAddrPort("[::]:8080")})
	if err != nil {
		log.Fatal(err)
	}
	final, err := client.WatchDestroyed(ctx)
	if err != nil {
		log.Fatal(err)
	}
	loss, err := attachment.Fault(netlab.Loss{Rate: 0.03}, netlab.FromA)
	if err != nil {
		log.Fatal(err)
	}
	report, err := client.RunClient(ctx, netlab.ClientConfig{
		Targets:     []netip.AddrPort{netip.AddrPortFrom(web.Addr4(), server.Port())},
		Connections: 20, Concurrency: 5, Seed: 1,
		Upload: netlab.Size{Min: 1000, Max: 500_000}, Download: netlab.Exactly(1000),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := loss.Clear(); err != nil {
		log.Fatal(err)
	}
	sockets, err := final.Wait(ctx, report.Attempted)
	if err != nil {
		log.Fatal(err)
	}
	lost, err := loss.Counts()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "%d connections wrote %d bytes; %d of %d packets were lost, %d segments sent again\n",
		report.Opened, report.Written, lost.Hit, lost.Seen, netlab.Sum(sockets).TotalRetrans)
}

// A program in a host, as "nsenter --net" would start it, but in its cgroup too.
func ExampleNode_Command() {
	lab := netlab.New()
	a, b := lab.Host("a", "10.0.0.1"), lab.Host("b", "10.0.0.2")
	lab.Link(a, b)
	if err := lab.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	defer lab.Close()
	out, err := a.Command(context.Background(), "ip", "route", "get", "10.0.0.2").Output()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "%s", out)
}

// Examples without root cannot skip: they run from here.
func TestExamples(t *testing.T) {
	if err := netlab.Supported(); err != nil {
		t.Skip(err)
	}
	Example()
	ExampleNode_Command()
}
