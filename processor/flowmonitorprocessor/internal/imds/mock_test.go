// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package imds_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/loopback"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// mock runs AWS's own mock of the metadata service (the version in tools/go.mod), which
// takes session tokens only, and gives its address.
func mock(t *testing.T, values map[string]any) string {
	t.Helper()
	out, err := exec.Command("go", "tool", "-modfile=../../../../tools/go.mod", "-n", "ec2-metadata-mock").Output()
	require.NoError(t, err, "build the mock")
	config := filepath.Join(t.TempDir(), "config.json")
	data, err := json.Marshal(values)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(config, data, 0o600))
	address, err := loopback.FreeAddress()
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	cmd := exec.Command(strings.TrimSpace(string(out)), "--imdsv2", "--hostname", "127.0.0.1", "--port", port, "--config-file", config)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	url := "http://127.0.0.1:" + port
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	require.Eventually(t, func() bool {
		resp, err := client.Get(url + "/latest/meta-data/")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusUnauthorized // without a token
	}, patience, 10*time.Millisecond)
	return url
}

func TestWhatTheRealMockSays(t *testing.T) {
	url := mock(t, map[string]any{
		"metadata": map[string]any{"values": map[string]any{
			"mac-local-ipv4s": "192.0.2.10", "mac-vpc-ipv4-cidr-blocks": "192.0.2.0/24\n100.64.0.0/16",
		}},
		"dynamic": map[string]any{"values": map[string]any{"instance-identity-document": map[string]any{"accountId": "111122223333"}}},
	})
	p := read(t, url)
	assert.Equal(t, "us-east-1", p.Region)
	assert.Equal(t, "111122223333", p.Account)
	addr, cidr := netip.MustParseAddr, netip.MustParsePrefix
	assert.Equal(t, &topology.Topology{
		Accounts:          []topology.Account{{AccountID: "111122223333"}},
		Regions:           []topology.Region{{RegionName: "us-east-1"}},
		AvailabilityZones: []topology.AvailabilityZone{{ZoneID: "use1-az4", ZoneName: "us-east-1a", AccountID: "111122223333", RegionName: "us-east-1"}},
		VPCs:              []topology.VPC{{VPCID: "vpc-d295a6a7", Region: "us-east-1", CIDRBlocks: []netip.Prefix{cidr("192.0.2.0/24"), cidr("100.64.0.0/16"), cidr("2001:db8::/32")}}},
		Subnets: []topology.Subnet{{SubnetID: "subnet-0ac62554", VPCID: "vpc-d295a6a7", AvailabilityZoneID: "use1-az4",
			CIDRBlocks: []netip.Prefix{cidr("192.0.2.0/24"), cidr("2001:db8::/32")}}},
		NetworkInterfaces: []topology.NetworkInterface{{NetworkInterfaceID: "eni-0f95d3625f5c521cc", SubnetID: "subnet-0ac62554", VPCID: "vpc-d295a6a7", OwnerID: "515336597381",
			InstanceID: "i-1234567890abcdef0", PrivateIPAddresses: []netip.Addr{addr("192.0.2.10")}, IPv6Addresses: []netip.Addr{addr("2001:db8:8:4::2")},
			Associations: []topology.Association{{PublicIP: addr("192.0.2.54")}}}},
	}, p.Own)
}
