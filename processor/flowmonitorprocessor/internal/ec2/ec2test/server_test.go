// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2test_test

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ec2/ec2test"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

func world() *topology.Topology {
	t := &topology.Topology{}
	for i := range 12 {
		t.VPCs = append(t.VPCs, topology.VPC{VPCID: fmt.Sprintf("vpc-%02d", i), Region: "eu-west-1", CIDRBlocks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}})
	}
	return ec2test.Complete(t, func(string, string) []netip.Prefix { return nil })
}

const signature = "AWS4-HMAC-SHA256 Credential=%s/20261122/eu-west-1/%s/aws4_request, SignedHeaders=content-type;host, Signature=%s"

func ask(t *testing.T, s *ec2test.Server, key, service, form string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader(form))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", fmt.Sprintf(signature, key, service, strings.Repeat("0", 64)))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

const key = "AKIA" + ec2test.DefaultAccount

// What EC2 refuses, the server refuses: else a test against it would prove nothing.
func TestTheServerIsAsStrictAsEC2(t *testing.T) {
	s := ec2test.New(t, world())
	values := url.Values{}
	for i := range 201 {
		values.Set(fmt.Sprintf("Filter.1.Value.%d", i+1), "10.0.0.1")
	}
	for name, c := range map[string]struct{ key, service, form, want string }{
		"no credentials":                {"nobody", "ec2", "Action=DescribeVpcs", "AuthFailure"},
		"a session without its token":   {"ASIA111111111111", "ec2", "Action=DescribeVpcs", "AuthFailure"},
		"another version":               {key, "ec2", "Action=DescribeVpcs&Version=2015-10-01", "InvalidParameterValue"},
		"an action that does not exist": {key, "ec2", "Action=DescribeMoons&Version=2016-11-15", "InvalidAction"},
		"pages too small":               {key, "ec2", "Action=DescribeVpcs&Version=2016-11-15&MaxResults=4", "InvalidParameterValue"},
		"pages too large":               {key, "ec2", "Action=DescribeRouteTables&Version=2016-11-15&MaxResults=101", "InvalidParameterValue"},
		"pages where there are none":    {key, "ec2", "Action=DescribeVpnGateways&Version=2016-11-15&MaxResults=5", "UnknownParameter"},
		"interfaces without pages":      {key, "ec2", "Action=DescribeNetworkInterfaces&Version=2016-11-15", "InvalidParameterValue"},
		"a token of its own":            {key, "ec2", "Action=DescribeVpcs&Version=2016-11-15&MaxResults=5&NextToken=abc", "InvalidNextToken"},
		"an unknown filter":             {key, "ec2", "Action=DescribeVpcs&Version=2016-11-15&MaxResults=5&Filter.1.Name=moon&Filter.1.Value.1=x", "InvalidParameterValue"},
		"too many values":               {key, "ec2", "Action=DescribeNetworkInterfaces&Version=2016-11-15&MaxResults=5&Filter.1.Name=addresses.private-ip-address&" + values.Encode(), "FilterLimitExceeded"},
		"routes without a filter":       {key, "ec2", "Action=SearchTransitGatewayRoutes&Version=2016-11-15&TransitGatewayRouteTableId=tgw-rtb-1", "InvalidRouteTableID.NotFound"},
		"a list that is not there":      {key, "ec2", "Action=GetManagedPrefixListEntries&Version=2016-11-15&PrefixListId=pl-1", "InvalidPrefixListID.NotFound"},
		"a role without a name":         {key, "sts", "Action=AssumeRole&Version=2011-06-15&RoleArn=x", "ValidationError"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := ask(t, s, c.key, c.service, c.form)
			assert.GreaterOrEqual(t, status, 400)
			assert.Contains(t, body, "<Code>"+c.want+"</Code>")
		})
	}
}

func TestATokenLeadsToTheNextPageOfTheSameRequestOnly(t *testing.T) {
	s := ec2test.New(t, world())
	const request = "Action=DescribeVpcs&Version=2016-11-15&MaxResults=5"
	seen := 0
	token := ""
	for range 3 {
		form := request
		if token != "" {
			form += "&NextToken=" + url.QueryEscape(token)
		}
		status, body := ask(t, s, key, "ec2", form)
		require.Equal(t, 200, status, body)
		seen += strings.Count(body, "<vpcId>")
		_, after, _ := strings.Cut(body, "<nextToken>")
		token, _, _ = strings.Cut(after, "</nextToken>")
		if token != "" {
			status, _ = ask(t, s, key, "ec2", "Action=DescribeVpcs&Version=2016-11-15&MaxResults=6&NextToken="+url.QueryEscape(token))
			assert.Equal(t, 400, status)
		}
	}
	assert.Equal(t, 12, seen)
	assert.Empty(t, token)
}
