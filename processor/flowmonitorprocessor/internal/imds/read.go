// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package imds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// maxValue bounds one value. The longest are lists of addresses: fifty of them.
const maxValue = 1 << 20

// reader is one reading. The first thing that cannot be read ends it: half a host is worse
// than the one known before.
type reader struct {
	client *imds.Client
	err    error

	instance, account, region string
	zone, zoneID              string
	topology                  topology.Topology
}

// host reads everything.
func (r *reader) host(ctx context.Context) (*topology.Topology, error) {
	r.instance = r.id(ctx, "instance-id", "i-")
	r.region = r.must(ctx, "placement/region")
	r.zone = r.must(ctx, "placement/availability-zone")
	r.zoneID = r.value(ctx, "placement/availability-zone-id")
	r.identify(ctx)
	macs := r.list(ctx, "network/interfaces/macs/")
	if r.err == nil && len(macs) == 0 {
		r.err = errors.New("it has no network interface")
	}
	for _, mac := range macs[:min(len(macs), maxInterfaces)] {
		if r.err != nil {
			break
		}
		r.networkInterface(ctx, "network/interfaces/macs/"+strings.TrimSuffix(mac, "/")+"/")
	}
	if r.err != nil {
		return nil, r.err
	}
	t := &r.topology
	slices.SortFunc(t.NetworkInterfaces, func(a, b topology.NetworkInterface) int {
		return cmp.Compare(a.NetworkInterfaceID, b.NetworkInterfaceID)
	})
	t.Regions = []topology.Region{{RegionName: r.region}}
	if r.account != "" {
		t.Accounts = []topology.Account{{AccountID: r.account}}
	}
	if r.zoneID != "" {
		// The name is this account's; whose subnet it is, is not known.
		t.AvailabilityZones = []topology.AvailabilityZone{{ZoneID: r.zoneID, ZoneName: r.zone, AccountID: r.account, RegionName: r.region}}
	}
	return t, nil
}

// identify reads the account. An interface says whose it is itself, which may be another.
func (r *reader) identify(ctx context.Context) {
	if r.err != nil {
		return
	}
	out, err := r.client.GetInstanceIdentityDocument(ctx, &imds.GetInstanceIdentityDocumentInput{})
	if err != nil {
		r.err = fmt.Errorf("read the instance identity document: %w", err)
		return
	}
	r.account = out.AccountID
}

// networkInterface reads an interface with its subnet and VPC.
func (r *reader) networkInterface(ctx context.Context, at string) {
	n := topology.NetworkInterface{
		NetworkInterfaceID: r.id(ctx, at+"interface-id", "eni-"), SubnetID: r.id(ctx, at+"subnet-id", "subnet-"), VPCID: r.id(ctx, at+"vpc-id", "vpc-"),
		OwnerID: r.value(ctx, at+"owner-id"), InstanceID: r.instance,
		PrivateIPAddresses: r.addresses(ctx, at+"local-ipv4s"), IPv6Addresses: r.addresses(ctx, at+"ipv6s"),
		IPv4Prefixes: r.prefixes(ctx, at+"ipv4-prefix"), IPv6Prefixes: r.prefixes(ctx, at+"ipv6-prefix"),
	}
	for _, public := range r.addresses(ctx, at+"ipv4-associations/") {
		a := topology.Association{PublicIP: public}
		if private := r.addresses(ctx, at+"ipv4-associations/"+public.String()); len(private) > 0 && slices.Contains(n.PrivateIPAddresses, private[0]) {
			a.PrivateIPAddress = private[0]
		}
		n.Associations = append(n.Associations, a)
	}
	s := topology.Subnet{SubnetID: n.SubnetID, VPCID: n.VPCID, AvailabilityZoneID: r.zoneID,
		CIDRBlocks: slices.Concat(r.prefixes(ctx, at+"subnet-ipv4-cidr-block"), r.prefixes(ctx, at+"subnet-ipv6-cidr-blocks"))}
	if r.zoneID == "" {
		s.AvailabilityZone = r.zone
	}
	v := topology.VPC{VPCID: n.VPCID, Region: r.region}
	for _, p := range slices.Concat(r.prefixes(ctx, at+"vpc-ipv4-cidr-block"), r.prefixes(ctx, at+"vpc-ipv4-cidr-blocks"), r.prefixes(ctx, at+"vpc-ipv6-cidr-blocks")) {
		if !slices.Contains(v.CIDRBlocks, p) { // the primary one stands alone, and again in the list
			v.CIDRBlocks = append(v.CIDRBlocks, p)
		}
	}
	if r.err != nil {
		return
	}
	t := &r.topology
	t.NetworkInterfaces = append(t.NetworkInterfaces, n)
	if !slices.ContainsFunc(t.Subnets, func(o topology.Subnet) bool { return o.SubnetID == s.SubnetID }) {
		t.Subnets = append(t.Subnets, s)
	}
	if !slices.ContainsFunc(t.VPCs, func(o topology.VPC) bool { return o.VPCID == v.VPCID }) {
		t.VPCs = append(t.VPCs, v)
	}
}

// value gives what is at a path; "" where there is nothing.
func (r *reader) value(ctx context.Context, path string) string {
	if r.err != nil {
		return ""
	}
	out, err := r.client.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	var status *smithyhttp.ResponseError
	switch {
	case errors.As(err, &status) && status.HTTPStatusCode() == http.StatusNotFound:
		return ""
	case err != nil:
		r.err = fmt.Errorf("read %s: %w", path, err)
		return ""
	}
	defer out.Content.Close()
	data, err := io.ReadAll(io.LimitReader(out.Content, maxValue+1))
	if err == nil && len(data) > maxValue {
		err = fmt.Errorf("is longer than %d bytes", maxValue)
	}
	if err != nil {
		r.err = fmt.Errorf("read %s: %w", path, err)
		return ""
	}
	return strings.TrimSpace(string(data))
}

// must gives what has to be there.
func (r *reader) must(ctx context.Context, path string) string {
	v := r.value(ctx, path)
	if v == "" && r.err == nil {
		r.err = fmt.Errorf("read %s: there is none", path)
	}
	return v
}

// id gives an id that has to be there. Something else may answer at the address: all kinds of
// local services do, with anything, on hosts outside EC2.
func (r *reader) id(ctx context.Context, path, prefix string) string {
	v := r.must(ctx, path)
	if r.err == nil && !strings.HasPrefix(v, prefix) {
		r.err = fmt.Errorf("read %s: %.40q does not begin with %q", path, v, prefix)
	}
	return v
}

func (r *reader) list(ctx context.Context, path string) []string {
	return strings.Fields(r.value(ctx, path))
}

// addresses gives the addresses of a list; what is none is left out.
func (r *reader) addresses(ctx context.Context, path string) []netip.Addr {
	var list []netip.Addr
	for _, s := range r.list(ctx, path) {
		if a, err := netip.ParseAddr(strings.TrimSuffix(s, "/")); err == nil && a.Zone() == "" {
			list = append(list, a.Unmap())
		}
	}
	return list
}

func (r *reader) prefixes(ctx context.Context, path string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range r.list(ctx, path) {
		if p, err := netip.ParsePrefix(s); err == nil && !p.Addr().Is4In6() {
			list = append(list, p.Masked())
		}
	}
	return list
}
