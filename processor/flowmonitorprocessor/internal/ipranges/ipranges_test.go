// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ipranges_test

import (
	"bytes"
	"compress/gzip"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
)

func TestTheShippedRanges(t *testing.T) {
	table := ipranges.Shipped()
	assert.Equal(t, "2026-08-22-15-17-05", table.Created())
	assert.Greater(t, table.Len(), 10_000)
	assert.Len(t, table.Services(), 28, "IPv4 has 27, IPv6 adds IOT_CORE")
	for _, c := range []struct{ address, service, region string }{
		{"52.218.1.1", "S3", "eu-west-1"},
		{"3.5.64.1", "S3", "eu-west-1"}, // AMAZON, EC2 and S3 with the same prefix
		{"52.94.24.1", "DYNAMODB", "eu-west-1"},
		{"13.32.1.1", "CLOUDFRONT", ""},
		{"54.73.1.10", "EC2", "eu-west-1"}, // AMAZON and EC2
		{"108.128.160.1", "API_GATEWAY", "eu-west-1"},
		{"2a05:d031:8000::1", "S3", "eu-west-1"},
	} {
		got, ok := table.Lookup(netip.MustParseAddr(c.address))
		require.True(t, ok, c.address)
		assert.Equal(t, c.service, got.Service, c.address)
		assert.Equal(t, c.region, got.Region, c.address)
	}
	for _, a := range []string{"10.0.0.1", "203.0.113.1", "8.8.8.8", "2001:db8::1", "::1"} {
		_, ok := table.Lookup(netip.MustParseAddr(a))
		assert.False(t, ok, a)
	}
	assert.True(t, table.HasRegion("us-gov-west-1"))
	assert.False(t, table.HasRegion("GLOBAL"))
	assert.Contains(t, table.Blocks("S3", "eu-west-1"), netip.MustParsePrefix("52.218.0.0/17"))
}

func TestTheMostSpecificPrefixThenTheMostSpecificService(t *testing.T) {
	table, err := ipranges.Parse([]byte(`{"prefixes": [
		{"ip_prefix": "3.0.0.0/8", "region": "eu-west-1", "service": "S3"},
		{"ip_prefix": "3.1.0.0/16", "region": "us-east-1", "service": "AMAZON"},
		{"ip_prefix": "3.2.0.0/16", "region": "us-east-1", "service": "EBS"},
		{"ip_prefix": "3.2.0.0/16", "region": "us-east-1", "service": "EC2"},
		{"ip_prefix": "3.2.0.0/16", "region": "us-east-1", "service": "AMAZON"},
		{"ip_prefix": "3.3.0.0/16", "region": "us-east-1", "service": "AMAZON"},
		{"ip_prefix": "3.3.0.0/16", "region": "us-east-1", "service": "EC2"},
		{"ip_prefix": "4.0.0.0/24", "region": "GLOBAL", "service": "CLOUDFRONT_ORIGIN_FACING"},
		{"ip_prefix": "4.0.0.0/24", "region": "GLOBAL", "service": "CLOUDFRONT"},
		{"ip_prefix": "4.1.0.0/16", "region": "GLOBAL", "service": "CLOUDFRONT"}
	]}`))
	require.NoError(t, err)
	for address, want := range map[string]string{
		"3.9.0.1": "S3", "3.1.0.1": "AMAZON", "3.2.0.1": "EBS", "3.3.0.1": "EC2", "4.0.0.1": "CLOUDFRONT_ORIGIN_FACING", "4.1.0.1": "CLOUDFRONT",
	} {
		got, _ := table.Lookup(netip.MustParseAddr(address))
		assert.Equal(t, want, got.Service, address)
	}
}

func TestLocalZones(t *testing.T) {
	for group, want := range map[string]bool{
		"us-west-2": false, "us-west-2-lax-1": true, "us-east-1-wl1-bos-wlz-1": false, "": false,
	} {
		assert.Equal(t, want, ipranges.Range{Region: "us-west-2", BorderGroup: group}.LocalZone(), group)
	}
	assert.False(t, ipranges.Range{BorderGroup: "GLOBAL"}.LocalZone())
}

func TestWhatIsWrongIsSaidAllAtOnce(t *testing.T) {
	_, err := ipranges.Parse([]byte(`{"prefixes": [{"ip_prefix": "3.0.0.1/8", "service": "S3"}, {"ip_prefix": "x", "service": "S3"}],
		"ipv6_prefixes": [{"ipv6_prefix": "2001:db8::/32"}]}`))
	for _, want := range []string{"prefixes[0].ip_prefix: 3.0.0.1/8", "prefixes[1].ip_prefix: ", "ipv6_prefixes[0].service: is required"} {
		assert.ErrorContains(t, err, want)
	}
	for _, data := range []string{"", "{}", "[]", "{", `{"prefixes": []}`} {
		_, err := ipranges.Read([]byte(data))
		assert.Error(t, err, data)
	}
	_, err = ipranges.Read([]byte{0x1f, 0x8b, 0})
	assert.Error(t, err, "a truncated gzip")
}

func TestAFileThatUnpacksWithoutEndIsRefused(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(strings.Repeat(" ", 65<<20)))
	require.NoError(t, z.Close())
	_, err := ipranges.Read(b.Bytes())
	assert.ErrorContains(t, err, "more than")
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"prefixes": [{"ip_prefix": "3.0.0.0/8", "region": "eu-west-1", "service": "S3", "network_border_group": "eu-west-1"}]}`))
	f.Add([]byte(`{"ipv6_prefixes": [{"ipv6_prefix": "2600::/16", "region": "GLOBAL", "service": "AMAZON"}]}`))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := ipranges.Read(data)
		if err != nil {
			if table != nil {
				t.Fatal("a table and an error")
			}
			return
		}
		if table.Len() == 0 || len(table.Services()) == 0 {
			t.Fatal("accepted, and empty")
		}
		for _, a := range []string{"3.1.1.1", "2600::1", "0.0.0.0"} {
			if r, ok := table.Lookup(netip.MustParseAddr(a)); ok && !table.HasService(r.Service) {
				t.Fatalf("%s is of a service that is not listed: %+v", a, r)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	table := ipranges.Shipped()
	addresses := []netip.Addr{netip.MustParseAddr("52.218.1.1"), netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("2a05:d031:8000::1"), netip.MustParseAddr("54.73.1.10")}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		table.Lookup(addresses[i&3])
		i++
	}
}

// Three bytes of a file must not become hundreds of memory without a bound.
func TestAListWithoutEndIsRefusedBeforeItFillsTheMemory(t *testing.T) {
	file := []byte(`{"ipv6_prefixes": [` + strings.Repeat("{},", 8<<20/3) + `{}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ipranges.Read(file)
	runtime.ReadMemStats(&after)
	assert.ErrorContains(t, err, "a list has more than 200000 prefixes")
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(200<<20))
}
