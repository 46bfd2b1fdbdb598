// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import "github.com/otel-flowmonitor/flowmonitor/internal/flowattr"

// TwoVPCs is the smallest fleet in which everything can be told apart: clients in one VPC
// and servers in another, a transit gateway between, and light traffic inside each VPC, which
// the gateway is not part of. The monitor "web" watches what the clients see; scale multiplies
// the traffic.
func TwoVPCs(seed uint64, hosts int, scale float64) (f *Fleet, clients, servers []*Host) {
	f = New(seed)
	clients = f.AddHosts(hosts, "client", "vpc-a", "subnet-a", "az1")
	servers = f.AddHosts(hosts, "server", "vpc-b", "subnet-b", "az1")
	f.Connect(clients, servers, 60*scale, 300*scale, []string{"web"}, "transit_gateway/tgw-1")
	f.Connect(clients, clients, 20*scale, 60*scale, nil)
	f.Connect(servers, servers, 20*scale, 60*scale, nil)
	return f, clients, servers
}

// Services is a subnet of clients that use two AWS services, each through an endpoint of
// its own and with some front ends, which have no collector. The monitors are named like the
// services; the clients talk to each other, too.
func Services(seed uint64, hosts, frontEnds int, scale float64) (f *Fleet, clients []*Host) {
	f = New(seed)
	clients = f.AddHosts(hosts, "client", "vpc-a", "subnet-a", "az1")
	for _, service := range []struct{ name, category string }{
		{"S3", flowattr.CategoryAmazonS3}, {"DYNAMODB", flowattr.CategoryAmazonDynamoDB},
	} {
		for _, end := range f.AddHosts(frontEnds, service.name, "", "", "") {
			end.Blind, end.Nameless = true, true
			for _, c := range clients {
				f.Flows = append(f.Flows, &Flow{
					Client: c, Server: end, Service: service.name, Category: service.category, Up: 200 * scale,
					Components: []string{"subnet/subnet-a", "vpc_endpoint/vpce-" + service.name}, Monitors: []string{service.name},
				})
			}
		}
	}
	f.Connect(clients, clients, 60*scale, 60*scale, nil)
	return f, clients
}

// ThreeVPCs is hosts in three VPCs that all talk to all over one transit gateway, and
// within each VPC. The monitors are named by the VPCs, "a-b".
func ThreeVPCs(seed uint64, hosts int, scale float64) (f *Fleet, vpcs [3][]*Host) {
	f = New(seed)
	for i, name := range []string{"a", "b", "c"} {
		vpcs[i] = f.AddHosts(hosts, name, "vpc-"+name, "subnet-"+name, "az1")
		f.Connect(vpcs[i], vpcs[i], 20*scale, 60*scale, nil)
	}
	for i, name := range []string{"a-b", "b-c", "c-a"} {
		f.Connect(vpcs[i], vpcs[(i+1)%3], 60*scale, 300*scale, []string{name}, "transit_gateway/tgw-1")
	}
	return f, vpcs
}

// ThreeAZs is one VPC with hosts in three availability zones, all talking to all. The
// monitor of each pair is named by its zones, "az1-az2", and that of one zone "az1-az1".
func ThreeAZs(seed uint64, hosts int, scale float64) (f *Fleet, zones [3][]*Host) {
	f = New(seed)
	names := [3]string{"az1", "az2", "az3"}
	for i, z := range names {
		zones[i] = f.AddHosts(hosts, z+"-", "vpc-a", "subnet-"+z, z)
	}
	for i := range zones {
		for j := range zones {
			if j >= i {
				f.Connect(zones[i], zones[j], 60*scale, 300*scale, []string{names[i] + "-" + names[j]})
			}
		}
	}
	return f, zones
}
