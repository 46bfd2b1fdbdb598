// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package imds_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/imds"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// patience is how long a test waits for what has to come; it ends sooner when it does.
const patience = 20 * time.Second

// outcome is what a reading gave.
type outcome struct {
	part parts.Part
	err  error
}

// run starts a source and hands over what each reading gives.
func run(t *testing.T, url string, interval time.Duration) <-chan outcome {
	t.Helper()
	results := make(chan outcome, 100)
	var last parts.Part
	s := imds.New(imds.Options{Endpoint: url, Interval: interval, Put: func(p parts.Part) parts.Part { last = p; return p }, Result: func(k parts.Key, err error) {
		assert.Equal(t, imds.Key, k)
		results <- outcome{last, err}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return results
}

func next(t *testing.T, results <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-results:
		return o
	case <-time.After(patience):
		t.Fatal("nothing was read")
		return outcome{}
	}
}

func read(t *testing.T, url string) parts.Part {
	t.Helper()
	o := next(t, run(t, url, time.Hour))
	require.NoError(t, o.err)
	return o.part
}

// service is a metadata service whose values a test gives; the mock of AWS has one
// interface only, and no prefixes.
type service struct {
	mu     sync.Mutex
	values map[string]string
	tokens int
	fail   int // status of everything but tokens
}

func (s *service) set(path, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[path] = value
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch value, ok := s.values[strings.TrimPrefix(r.URL.Path, "/latest/")]; {
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		s.tokens++
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds"))
		_, _ = w.Write([]byte("token"))
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "token":
		w.WriteHeader(http.StatusUnauthorized)
	case s.fail != 0:
		w.WriteHeader(s.fail)
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = w.Write([]byte(value))
	}
}

const (
	first  = "meta-data/network/interfaces/macs/02:00:00:00:00:01/"
	second = "meta-data/network/interfaces/macs/02:00:00:00:00:02/"
)

// twoInterfaces is a node whose second interface is in a subnet that another account shares,
// with prefixes for containers.
func twoInterfaces(t *testing.T) (*service, string) {
	s := &service{values: map[string]string{
		"dynamic/instance-identity/document":           `{"accountId": "222222222222", "region": "eu-west-1", "instanceId": "i-1"}`,
		"meta-data/instance-id":                        "i-1",
		"meta-data/placement/region":                   "eu-west-1",
		"meta-data/placement/availability-zone":        "eu-west-1a",
		"meta-data/placement/availability-zone-id":     "euw1-az1",
		"meta-data/network/interfaces/macs/":           "02:00:00:00:00:01/\n02:00:00:00:00:02/",
		first + "interface-id":                         "eni-1",
		first + "subnet-id":                            "subnet-1",
		first + "vpc-id":                               "vpc-1",
		first + "owner-id":                             "222222222222",
		first + "local-ipv4s":                          "10.1.1.10\n10.1.1.11",
		first + "ipv4-associations/":                   "54.1.1.1",
		first + "ipv4-associations/54.1.1.1":           "10.1.1.11",
		first + "subnet-ipv4-cidr-block":               "10.1.1.0/24",
		first + "vpc-ipv4-cidr-block":                  "10.1.0.0/16",
		first + "vpc-ipv4-cidr-blocks":                 "10.9.0.0/16\n10.1.0.0/16",
		second + "interface-id":                        "eni-2",
		second + "subnet-id":                           "subnet-2",
		second + "vpc-id":                              "vpc-2",
		second + "owner-id":                            "222222222222",
		second + "local-ipv4s":                         "10.1.1.10", // the same address in another VPC
		second + "ipv6s":                               "2a05:d018:1:1::10",
		second + "ipv4-prefix":                         "10.1.1.32/28\n10.1.1.64/28",
		second + "ipv6-prefix":                         "2a05:d018:1:1:8000::/80",
		second + "subnet-ipv4-cidr-block":              "10.1.1.0/24",
		second + "subnet-ipv6-cidr-blocks":             "2a05:d018:1:1::/64",
		second + "vpc-ipv4-cidr-block":                 "10.1.0.0/16",
		second + "vpc-ipv4-cidr-blocks":                "10.1.0.0/16",
		second + "vpc-ipv6-cidr-blocks":                "2a05:d018:1::/56",
		second + "security-group-ids":                  "sg-1",
		"meta-data/network/interfaces/macs/unheard-of": "x",
	}}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return s, web.URL
}

func TestAHostWithTwoInterfacesAndPrefixes(t *testing.T) {
	s, url := twoInterfaces(t)
	p := read(t, url)
	require.Len(t, p.Own.NetworkInterfaces, 2)
	require.Len(t, p.Own.VPCs, 2)
	assert.Equal(t, "10.1.0.0/16", p.Own.VPCs[0].CIDRBlocks[0].String(), "the primary block first")
	assert.Equal(t, netip.MustParseAddr("10.1.1.11"), p.Own.NetworkInterfaces[0].Associations[0].PrivateIPAddress)
	assert.Equal(t, 1, s.tokens, "one session")

	r := path.New(topology.Build(p.Own, nil), ipranges.Shipped())
	host := &path.Origin{Host: "i-1"}
	for address, want := range map[string]string{"10.1.1.11": "eni-1", "10.1.1.40": "eni-2", "2a05:d018:1:1::10": "eni-2", "2a05:d018:1:1:8000::7": "eni-2"} {
		got := r.ResolveLocal(host, netip.MustParseAddr(address))
		assert.Equal(t, want, got.Local.Interface, address)
		assert.Equal(t, "i-1", got.Local.Host)
		assert.Equal(t, "222222222222", got.Local.Account)
		assert.Equal(t, "euw1-az1", got.Local.ZoneID)
		assert.Equal(t, "eu-west-1a", got.Local.Zone)
	}
	both := r.ResolveLocal(host, netip.MustParseAddr("10.1.1.10"))
	assert.Equal(t, "ambiguous", both.Unresolved, "two of its interfaces have it")
	same := r.Resolve(host, netip.MustParseAddr("10.1.1.11"), netip.MustParseAddr("10.1.1.200"))
	assert.Equal(t, "INTRA_AZ", same.Category, "a neighbour in the subnet")
	other := r.Resolve(host, netip.MustParseAddr("10.1.1.11"), netip.MustParseAddr("10.1.77.1"))
	assert.Equal(t, "UNCLASSIFIED", other.Category, "the zone of another subnet is not known")
	assert.Equal(t, "vpc-1", other.Local.VPC)
}

func TestWhatChangesIsReadAgain(t *testing.T) {
	s, url := twoInterfaces(t)
	results := run(t, url, 10*time.Millisecond)
	require.NoError(t, next(t, results).err)
	s.set(second+"ipv4-prefix", "10.1.1.96/28")
	require.Eventually(t, func() bool {
		o := next(t, results)
		return o.err == nil && o.part.Own.NetworkInterfaces[1].IPv4Prefixes[0].String() == "10.1.1.96/28"
	}, patience, time.Millisecond)
}

func TestHalfAHostIsNotTaken(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*service)
		want  string
	}{
		"no interface":            {func(s *service) { s.values["meta-data/network/interfaces/macs/"] = "" }, "it has no network interface"},
		"an interface without id": {func(s *service) { delete(s.values, second+"interface-id") }, "02/interface-id: there is none"},
		"no identity":             {func(s *service) { delete(s.values, "dynamic/instance-identity/document") }, "instance identity document"},
		"a page of something":     {func(s *service) { s.values["dynamic/instance-identity/document"] = "<html>" }, "instance identity document"},
		"another service's ids":   {func(s *service) { s.values[second+"interface-id"] = "{}" }, `02/interface-id: "{}" does not begin with "eni-"`},
		"not allowed":             {func(s *service) { s.fail = 403 }, "read instance-id"},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := twoInterfaces(t)
			c.spoil(s)
			o := next(t, run(t, url, time.Hour))
			assert.ErrorContains(t, o.err, c.want)
			assert.ErrorContains(t, o.err, "instance metadata service: ")
			assert.Nil(t, o.part.Own)
		})
	}
}

func TestWhatIsStrangeIsLeftOut(t *testing.T) {
	s, url := twoInterfaces(t)
	s.values[first+"local-ipv4s"] = "10.1.1.10 <b>x</b> fe80::1%eth0 ::ffff:10.1.1.12"
	s.values[first+"subnet-ipv4-cidr-block"] = "10.1.1.7/24 10.1.1.0/99"
	delete(s.values, "meta-data/placement/availability-zone-id")
	p := read(t, url)
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("10.1.1.10"), netip.MustParseAddr("10.1.1.12")}, p.Own.NetworkInterfaces[0].PrivateIPAddresses)
	assert.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.1.1.0/24")}, p.Own.Subnets[0].CIDRBlocks)
	assert.Equal(t, "eu-west-1a", p.Own.Subnets[0].AvailabilityZone, "then the name has to do")
	assert.Empty(t, p.Own.AvailabilityZones)
}

func TestWithoutAServiceItSaysSoAndStopsAtOnce(t *testing.T) {
	web := httptest.NewServer(nil)
	web.Close()
	o := next(t, run(t, web.URL, time.Hour))
	assert.ErrorContains(t, o.err, "not on EC2?")

	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(slow.Close)
	s := imds.New(imds.Options{Endpoint: slow.URL, Interval: time.Hour, Put: func(p parts.Part) parts.Part { return p }, Result: func(parts.Key, error) { t.Error("it was stopped, which is no result") }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	begun := time.Now()
	cancel()
	<-done
	assert.Less(t, time.Since(begun), time.Second)
}
