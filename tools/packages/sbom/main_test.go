// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLicences(t *testing.T) {
	for name, c := range map[string]struct {
		file   string
		is     []string
		says   string // of the error
		listed bool   // among the notices
	}{
		"a licence that is allowed is taken, with its text": {"LICENSE", []string{"MIT", "MIT"}, "", true},
		"one that is not allowed is an error":               {"COPYING", []string{"AGPL-3.0"}, "AGPL-3.0", true},
		"one beside an allowed one is an error too":         {"LICENSE.md", []string{"MIT", "GPL-2.0"}, "GPL-2.0", true},
		"a text that nobody knows is an error":              {"LICENCE", nil, "no licence that is known", true},
		"a module without a licence file is an error":       {"README.md", []string{"MIT"}, "no licence that is known", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte("the text"), 0o600); err != nil {
				t.Fatal(err)
			}
			var notices strings.Builder
			names, err := licences(dir, "example.org/m v1.0.0", &notices, func([]byte) []string { return c.is })
			switch {
			case c.says == "" && (err != nil || len(names) != 1 || names[0] != c.is[0]):
				t.Errorf("got %v, %v", names, err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("the error is %v, and should say %q", err, c.says)
			}
			if strings.Contains(notices.String(), "the text") != c.listed {
				t.Errorf("notices: %q", notices.String())
			}
		})
	}
}

func TestEscapeIsTheModuleCachesOwn(t *testing.T) {
	if got := escape("github.com/Azure/azure-sdk-for-go"); got != "github.com/!azure/azure-sdk-for-go" {
		t.Error(got)
	}
}
