// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package nhiprocessor

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
)

// The README's table of metrics is made of the table that names them: go test -update.
func TestTheReadmeListsTheMetrics(t *testing.T) {
	const begin, end = "<!-- metrics -->\n", "<!-- end metrics -->"
	data, err := os.ReadFile("README.md")
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(data), begin)
	require.True(t, ok)
	got, after, ok := strings.Cut(rest, end)
	require.True(t, ok)

	var want strings.Builder
	want.WriteString("| metric | type | unit | attributes | meaning |\n| --- | --- | --- | --- | --- |\n")
	for _, m := range flowattr.NHIMetrics {
		fmt.Fprintf(&want, "| `%s` | %s | %s | `%s` | %s |\n", m.Name, m.Kind, m.Unit, strings.Join(m.Attributes, "`, `"), m.Description)
	}
	if *update {
		require.NoError(t, os.WriteFile("README.md", []byte(before+begin+want.String()+end+after), 0o644))
		return
	}
	assert.Equal(t, want.String(), got)
}

func TestTheReadmeListsEveryOption(t *testing.T) {
	data, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if key := f.Tag.Get("mapstructure"); key != "" {
			assert.Contains(t, string(data), "\n| `"+key+"` |")
		}
	}
}
