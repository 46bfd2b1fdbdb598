// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package flowlimitprocessor

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the output files anew")

// TestGolden feeds testdata/<case>/input-1.yaml, input-2.yaml and so on, and compares what
// leaves, batch by batch, with output-1.yaml and so on. Nothing is ignored: not the order
// and not the time stamps.
func TestGolden(t *testing.T) {
	for _, tt := range []struct {
		name string
		top  int
	}{
		{"top_flows_stay_whole_and_the_others_merge_by_subnet", 2},
		{"without_enrichment_the_others_go_to_the_overflow_row", 1},
		{"kept_then_merged_then_kept_again_goes_on_where_it_ended", 1},
		{"rows_of_an_earlier_stage_find_their_row_again", 1},
		{"what_is_no_flow_passes_at_once", 1},
		{"listeners_are_ranked_among_themselves", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := filepath.Join("testdata", tt.name)
				next := newBackend()
				l := newTestLimiter(t, testConfig(tt.top), next)
				for i := 1; ; i++ {
					path := filepath.Join(dir, fmt.Sprintf("input-%d.yaml", i))
					if _, err := os.Stat(path); err != nil {
						require.Greater(t, i, 1, "no input")
						break
					}
					md, err := golden.ReadMetrics(path)
					require.NoError(t, err)
					consume(t, l, md)
				}
				require.NoError(t, l.Shutdown(t.Context()))

				for i, got := range next.received {
					path := filepath.Join(dir, fmt.Sprintf("output-%d.yaml", i+1))
					if *update {
						b, err := golden.MarshalMetricsYAML(got)
						require.NoError(t, err)
						require.NoError(t, os.WriteFile(path, b, 0o600))
						continue
					}
					want, err := golden.ReadMetrics(path)
					require.NoError(t, err)
					assert.NoError(t, pmetrictest.CompareMetrics(want, got), path)
				}
				assert.NoFileExists(t, filepath.Join(dir, fmt.Sprintf("output-%d.yaml", len(next.received)+1)))
				assertUnbroken(t, next)
			})
		})
	}
}
