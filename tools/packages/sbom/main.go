// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Command sbom writes what a built Go program is made of: a CycloneDX document and the
// licence texts of its modules. It reads the modules from the program itself, so that
// what the linker was not given is not listed, and their licences from the module cache.
//
//	sbom PROGRAM SBOM NOTICES
//
// It fails at a module without a licence that is known, or with one that is not among
// those that an Apache-2.0 program may be shipped with.
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/licenseclassifier/v2/assets"
)

// Licences that ask for no more than their text, or for the source of the files under
// them as they are (MPL-2.0), which the module proxy has.
var allowed = []string{"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MPL-2.0", "Zlib", "CC0-1.0", "Unlicense", "0BSD", "CC-BY-4.0", "MIT-0"}

// certain is how like a licence's text a file has to be; the classifier's own default.
const certain = 0.8

// read are the modules whose files the classifier does not understand, as a person has read
// them, and the words that have to be in them for that to hold.
var read = map[string]struct{ licence, words string }{
	"kernel.org/pub/linux/libs/security/libcap/cap": {"BSD-3-Clause", "SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only"}, // ours to choose
	"kernel.org/pub/linux/libs/security/libcap/psx": {"BSD-3-Clause", "SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only"},
	"github.com/Showmax/go-fqdn":                    {"Apache-2.0", "Licensed under the Apache License, Version 2.0"}, // its header only
	"github.com/ua-parser/uap-go":                   {"Apache-2.0", "Licensed under the Apache License, Version 2.0"},
	// The second licence is of the documentation, of which nothing is linked.
	"github.com/opencontainers/go-digest": {"Apache-2.0", "Apache License"},
	// The others are of build files and of other languages' sources.
	"github.com/apache/thrift": {"Apache-2.0", "Apache License"},
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|unlicense)([.-].*)?$`)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: sbom PROGRAM SBOM NOTICES")
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func run(program, sbom, notices string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	classifier, err := assets.DefaultClassifier()
	if err != nil {
		return err
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		return err
	}
	// The standard library is a part of every program.
	modules := append([]*debug.Module{{Path: "std", Version: info.GoVersion}}, info.Deps...)
	var components []cdx.Component
	var texts strings.Builder
	var faults []error
	for _, m := range modules {
		if m.Replace != nil {
			continue // this project's own tree; its licence is the package's
		}
		dir := filepath.Join(strings.TrimSpace(string(cache)), escape(m.Path)+"@"+escape(m.Version))
		if m.Path == "std" {
			dir = strings.TrimSpace(string(goroot))
		}
		names, err := licences(dir, m.Path+" "+m.Version, &texts, func(text []byte) (ids []string) {
			if r, ok := read[m.Path]; ok {
				if strings.Contains(string(text), r.words) {
					ids = append(ids, r.licence)
				}
				return ids
			}
			for _, match := range classifier.Match(text).Matches {
				if match.MatchType == "License" && match.Confidence >= certain {
					ids = append(ids, match.Name)
				}
			}
			return ids
		})
		if err != nil {
			faults = append(faults, err)
			continue
		}
		choices := cdx.Licenses{}
		for _, id := range names {
			choices = append(choices, cdx.LicenseChoice{License: &cdx.License{ID: id}})
		}
		purl := "pkg:golang/" + m.Path + "@" + m.Version
		components = append(components, cdx.Component{
			BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: purl, Licenses: &choices,
		})
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &cdx.Component{
		BOMRef: "program", Type: cdx.ComponentTypeApplication, Name: filepath.Base(program),
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
	}}
	bom.Components = &components
	file, err := os.Create(sbom)
	if err != nil {
		return err
	}
	if err := errors.Join(cdx.NewBOMEncoder(file, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom), file.Close()); err != nil {
		return err
	}
	counts := map[string]int{}
	for _, c := range components {
		for _, l := range *c.Licenses {
			counts[l.License.ID]++
		}
	}
	summary, err := json.Marshal(counts)
	if err != nil {
		return err
	}
	fmt.Printf("ok  %s: %d modules, licences %s\n", filepath.Base(program), len(components), summary)
	return os.WriteFile(notices, []byte(texts.String()), 0o644)
}

// licences adds the texts of a module's licence files to all, and gives what they are.
func licences(dir, module string, all *strings.Builder, classify func([]byte) []string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: its source is not in the module cache (go mod download): %w", module, err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(all, "==== %s: %s\n\n%s\n\n", module, e.Name(), strings.TrimSpace(string(text)))
		names = append(names, classify(text)...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: no licence that is known; look at its source, or leave it out", module)
	}
	for _, n := range names {
		if !slices.Contains(allowed, n) {
			return nil, fmt.Errorf("%s: licence %s is not among those allowed (%s)", module, n, strings.Join(allowed, ", "))
		}
	}
	return names, nil
}

// escape is a path's or version's name in the module cache: capitals as ! and the small letter.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('!')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
