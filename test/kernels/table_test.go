// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const documentWithTable = `# A document

<!-- begin kernels -->
| feature | 6.1 amd64 | 6.12 amd64 |
| --- | --- | --- |
| round-trip times | smoothed | every sample |
| time-outs | callback | own count |
<!-- end kernels -->
More.
`

func write(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "README.md")
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

func TestWhatKernelsToldIsComparedWithWhatIsDocumented(t *testing.T) {
	file := write(t, documentWithTable)
	var same table
	same.set("6.12 amd64", []feature{{"time-outs", "own count"}, {"round-trip times", "every sample"}})
	require.NoError(t, documented(file, &same, false))

	var other table
	other.set("6.12 amd64", []feature{{"round-trip times", "smoothed"}})
	err := documented(file, &other, false)
	require.ErrorContains(t, err, `6.12 amd64: round-trip times: found "smoothed", documented is "every sample"`)
	require.ErrorContains(t, err, `6.12 amd64: time-outs: found "", documented is "own count"`)
	assert.NotContains(t, err.Error(), "6.1 amd64", "that one was not run")

	var unknown table
	unknown.set("7.3 amd64", []feature{{"round-trip times", "every sample"}})
	require.ErrorContains(t, documented(file, &unknown, false), `documented is ""`)
}

func TestAnUpdateChangesTheColumnsOfTheKernelsThatRan(t *testing.T) {
	file := write(t, documentWithTable)
	var t1 table
	t1.set("6.1 amd64", []feature{{"round-trip times", "none"}, {"closed windows", "yes"}})
	t1.set("7.3 amd64", []feature{{"round-trip times", "every sample"}})
	require.NoError(t, documented(file, &t1, true))
	require.NoError(t, documented(file, &t1, false))
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, `# A document

<!-- begin kernels -->
| feature | 6.1 amd64 | 6.12 amd64 | 7.3 amd64 |
| --- | --- | --- | --- |
| round-trip times | none | every sample | every sample |
| time-outs |  | own count |  |
| closed windows | yes |  |  |
<!-- end kernels -->
More.
`, string(got))
}

func TestADocumentWithoutATableIsRefused(t *testing.T) {
	require.ErrorContains(t, documented(write(t, "nothing"), &table{}, false), "has no place for the table of kernels")
}
