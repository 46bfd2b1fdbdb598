// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/otel-flowmonitor/flowmonitor/internal/netlab"
)

// fleet is the lab of topology.yaml: the transit gateway is a router of its own, so
// that a fault on its cable is a fault of the gateway.
type fleet struct {
	lab              *netlab.Lab
	gateway          *netlab.Link // between the client VPC and the transit gateway
	clients, servers []*netlab.Node
	web              string // the folder of the web servers' files and configurations
}

func newFleet(ctx context.Context, dir string) (*fleet, error) {
	f := &fleet{lab: netlab.New(), web: dir}
	clients, servers, tgw := f.lab.Router("vpc-clients"), f.lab.Router("vpc-servers"), f.lab.Router("tgw-hub")
	f.gateway = f.lab.Link(clients, tgw)
	f.lab.Link(tgw, servers)
	for i := 1; i <= 3; i++ {
		f.clients = append(f.clients, clients.Host(fmt.Sprintf("client-%d", i), fmt.Sprintf("10.1.0.1%d", i)))
		f.servers = append(f.servers, servers.Host(fmt.Sprintf("server-%d", i), fmt.Sprintf("10.2.0.2%d", i)))
	}
	return f, f.lab.Start(ctx)
}

func (f *fleet) hosts() []*netlab.Node {
	return append(append([]*netlab.Node(nil), f.clients...), f.servers...)
}

// page is what the web servers serve: 45 segments, an ordinary picture.
const page = 64 << 10

// startTraffic runs nginx on every host and a visitor for each pair: clients visit all
// servers, and hosts of one VPC, lightly, each other. Without the latter every flow would
// cross gateway and subnets alike, and no evidence could tell them apart.
func (f *fleet) startTraffic(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(f.web, "page"), make([]byte, page), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(f.web, 0o755); err != nil { // nginx's workers are not root
		return err
	}
	for _, h := range f.hosts() {
		if err := f.serve(ctx, h); err != nil {
			return err
		}
	}
	for _, c := range f.clients {
		if err := f.visit(ctx, c, f.servers, "15"); err != nil {
			return err
		}
	}
	for _, vpc := range [][]*netlab.Node{f.clients, f.servers} {
		for i, h := range vpc {
			others := append(append([]*netlab.Node(nil), vpc[:i]...), vpc[i+1:]...)
			if err := f.visit(ctx, h, others, "8"); err != nil {
				return err
			}
		}
	}
	return nil
}

// serve runs nginx: it sends the page and takes whatever is posted.
func (f *fleet) serve(ctx context.Context, h *netlab.Node) error {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		return fmt.Errorf("no web server: %w (make demo installs nginx-light)", err)
	}
	dir := filepath.Join(f.web, h.Name())
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	config := fmt.Sprintf(`daemon off;
pid %[1]s/pid;
error_log %[1]s/error.log;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  keepalive_requests 100;
  server {
    listen 80;
    location = /page { root %[2]s; }
    location = /post { client_max_body_size 10m; return 204; }
  }
}
`, dir, f.web)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	cmd := h.Command(ctx, nginx, "-c", file, "-e", filepath.Join(dir, "error.log"))
	cmd.Stderr = os.Stderr
	return cmd.Start()
}

// visit runs a visitor of this program on a host.
func (f *fleet) visit(ctx context.Context, h *netlab.Node, to []*netlab.Node, perSecond string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{perSecond}
	for _, s := range to {
		args = append(args, s.Addr4().String())
	}
	cmd := h.Command(ctx, self, args...)
	cmd.Env = append(os.Environ(), visitorEnv+"=1")
	cmd.Stderr = os.Stderr
	return cmd.Start()
}
