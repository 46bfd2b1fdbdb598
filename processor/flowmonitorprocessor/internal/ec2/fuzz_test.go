// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/netip"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// canned answers every request alike.
type canned struct {
	body []byte
	left int
}

func (c *canned) Do(r *http.Request) (*http.Response, error) {
	if c.left--; c.left < 0 {
		return nil, context.DeadlineExceeded // the answers have tokens for more without end
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/xml"}}, Body: io.NopCloser(bytes.NewReader(c.body)), Request: r}, nil
}

// Whatever a service answers, to whatever is asked: the SDK's own decoder and what is made
// of its output neither panic nor hang, and the topology can be asked.
func FuzzAnswers(f *testing.F) {
	seeds, err := os.ReadDir("testdata/answers")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds: ", err)
	}
	for _, s := range seeds {
		data, err := os.ReadFile("testdata/answers/" + s.Name())
		if err != nil {
			f.Fatal(err)
		}
		for i := range sections {
			f.Add(data, uint8(i))
		}
	}
	addresses := []netip.Addr{netip.MustParseAddr("10.1.1.10"), netip.MustParseAddr("10.0.1.10"), netip.MustParseAddr("54.1.1.1"), netip.MustParseAddr("2a05:d018:1:1::10")}
	f.Fuzz(func(t *testing.T, body []byte, which uint8) {
		client := ec2.New(ec2.Options{Region: "eu-west-1", HTTPClient: &canned{body, 20}, Retryer: aws.NopRetryer{},
			Credentials: sdkcredentials.NewStaticCredentialsProvider("AKIA111111111111", "secret", "")})
		r := &fetch{client: client, account: "111111111111", region: "eu-west-1", own: &topology.Topology{}, shared: &topology.Topology{}}
		for range 2 { // the section, and one that refers to it
			s := sections[int(which)%len(sections)]
			_ = s.read(r, t.Context())
			which++
		}
		r.sort()
		x := path.New(topology.Build(topology.Merge(r.own, r.shared), ipranges.Shipped().Blocks), ipranges.Shipped())
		for _, a := range addresses {
			for _, b := range addresses {
				if x.Resolve(&path.Origin{Host: "i-1"}, a, b).Category == "" {
					t.Fatalf("%s to %s has no category", a, b)
				}
			}
		}
	})
}
