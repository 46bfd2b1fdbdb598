// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package prometheus

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// wrong makes rules wrong, one at a time, in ways that are easy to write: every one has to be found by promtool's tests.
var wrong = []struct{ name, old, new string }{
	{"never true or nothing", "", "vector(0) < 0"},
	{"the other comparison", " > ", " < "},
	{"at least, not equal", " == 1", " != 1"},
	{"below the threshold of coverage", " < 0.999", " > 0.999"},
	{"without phases", `{flow_phase=~"established|close"}`, ""},
	{"the whole is the part", "audit_covered", "audit_seen"},
	{"attempts are openings", "connections_attempted", "connections_failed"},
	{"resets go uncounted", "offset 1m)) >= 0", "offset 1m)) >= -1e18"},
	{"a quantile of nothing", "[5m]))) >= 0", "[5m])))"},
	{"sums instead of the oldest", "max by", "sum by (source) (vector(1)) or min by"},
	{"the quantile", "histogram_quantile(0.99", "histogram_quantile(0.9"},
	{"the median", "histogram_quantile(0.5", "histogram_quantile(0.6"},
	{"directions", `"flow_local_aws_az_id", "(.*)"), "to_az"`, `"flow_remote_aws_az_id", "(.*)"), "to_az"`},
	{"directions of VPCs", `"flow_remote_aws_vpc_id", "(.*)"), "to_vpc"`, `"flow_local_aws_vpc_id", "(.*)"), "to_vpc"`},
	{"only the last gateway", `.*?\"transit_gateway`, `.*\"transit_gateway`},
}

// TestARuleThatIsWrongFailsItsTest changes each rule of the example in turn.
func TestARuleThatIsWrongFailsItsTest(t *testing.T) {
	t.Parallel()
	promtool := binary(t, "promtool")
	tests, err := filepath.Glob(filepath.Join(example, "rules", "tests", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, tests)
	used := map[string]int{}
	for _, test := range tests {
		name := filepath.Base(test)
		text, err := os.ReadFile(filepath.Join(example, "rules", name))
		require.NoError(t, err, "a test is named as its rules")
		var file map[string]any
		require.NoError(t, yaml.Unmarshal(text, &file))
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "tests"), 0o755))
		its, err := os.ReadFile(test)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tests", name), its, 0o600))
		passes := func() bool {
			changed, err := yaml.Marshal(file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), changed, 0o600))
			return exec.Command(promtool, "test", "rules", filepath.Join(dir, "tests", name)).Run() == nil
		}
		require.True(t, passes(), "%s, as it is", name)
		for _, group := range file["groups"].([]any) {
			for _, r := range group.(map[string]any)["rules"].([]any) {
				rule := r.(map[string]any)
				right := rule["expr"].(string)
				for _, w := range wrong {
					if !strings.Contains(right, w.old) {
						continue
					}
					rule["expr"] = w.new
					if w.old != "" {
						rule["expr"] = strings.Replace(right, w.old, w.new, 1)
					}
					used[w.name]++
					assert.False(t, passes(), "%s: %v%v with %q passes", name, rule["record"], rule["alert"], w.name)
				}
				rule["expr"] = right
				if lasts, ok := rule["for"]; ok {
					delete(rule, "for")
					assert.False(t, passes(), "%s: %v without its for passes", name, rule["alert"])
					rule["for"] = lasts
				}
			}
		}
	}
	for _, w := range wrong {
		assert.NotZero(t, used[w.name], "%q changes no rule", w.name)
	}
}
