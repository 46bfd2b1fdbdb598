// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package health

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// table is how often what was right.
func (s scores) table() string {
	var b strings.Builder
	b.WriteString("| scenario | injected | runs right | scored windows right | said | segments a window: mean (least) | right from window |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, x := range s.all {
		if x.windows == 0 {
			continue
		}
		var said []string
		for what, n := range x.said {
			said = append(said, fmt.Sprintf("%s (%d)", what, n))
		}
		slices.Sort(said)
		slices.Sort(x.detected)
		injected := x.injected
		if injected == "" {
			injected = "nothing"
		}
		fmt.Fprintf(&b, "| %s | %s | %d of %d | %d of %d | %s | %d (%d) | %d to %d |\n", x.name, injected, x.right, x.runs, x.rightWindows, x.windows,
			strings.Join(said, "; "), x.allSegments/x.windows, x.leastSegments, x.detected[0], x.detected[len(x.detected)-1])
	}
	return b.String()
}

// Marks of the place in a document where the table belongs.
const (
	opening = "<!-- real packets -->\n"
	closing = "<!-- end real packets -->\n"
)

// write puts the table into a document.
func (s scores) write(path string) error {
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	from, to := bytes.Index(document, []byte(opening)), bytes.Index(document, []byte(closing))
	if from < 0 || to < from {
		return fmt.Errorf("%s: no %q followed by %q", path, opening, closing)
	}
	out := slices.Concat(document[:from+len(opening)], []byte(s.table()), document[to:])
	return os.WriteFile(path, out, 0o644)
}

func TestTheTableIsWrittenBetweenItsMarks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "document.md")
	require.NoError(t, os.WriteFile(file, []byte("before\n"+opening+"old\n"+closing+"after\n"), 0o600))
	s := scores{all: []*score{{name: "x", runs: 1, right: 1, windows: 2, rightWindows: 1, said: map[string]int{"healthy, none": 2}, detected: []int{1}}}}
	require.NoError(t, s.write(file))
	document, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "before\n"+opening+s.table()+closing+"after\n", string(document))
	assert.Contains(t, s.table(), "| x | nothing | 1 of 1 | 1 of 2 |")
	require.NoError(t, os.WriteFile(file, []byte("no marks\n"), 0o600))
	assert.ErrorContains(t, s.write(file), opening[:10])
}
