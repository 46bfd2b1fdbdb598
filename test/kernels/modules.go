// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// modules are those of one kernel. A package that is only unpacked has no list of their
// dependencies (depmod makes it when it is installed); each module names its own.
type modules struct {
	files   map[string]string // by the kernel's name: always with underscores
	builtin map[string]bool
}

func findModules(dir string) (modules, error) {
	m := modules{files: map[string]string{}, builtin: map[string]bool{}}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // newer packages leave it to depmod
		return m, err
	}
	for _, file := range strings.Fields(string(builtin)) {
		m.builtin[moduleName(file)] = true
	}
	return m, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), ".ko") {
			m.files[moduleName(path)] = path
		}
		return err
	})
}

func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// module is a kernel module as the kernel loads it.
type module struct {
	name    string
	content []byte
}

// load gives the wanted modules behind those that they depend on. What the kernel has not
// is left out: it is built in, or the test that needs it says that it is missing.
func (m modules) load(wanted []string) (found []module, err error) {
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		if seen[name] || m.builtin[name] {
			return nil
		}
		seen[name] = true
		file, ok := m.files[name]
		if !ok {
			return nil
		}
		content, err := readModule(file)
		if err != nil {
			return fmt.Errorf("read module %q: %w", file, err)
		}
		depends, err := dependencies(content)
		if err != nil {
			return fmt.Errorf("read module %q: %w", file, err)
		}
		for _, d := range depends {
			if err := visit(strings.ReplaceAll(d, "-", "_")); err != nil {
				return err
			}
		}
		found = append(found, module{name, content})
		return nil
	}
	for _, name := range wanted {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func readModule(file string) ([]byte, error) {
	if filepath.Ext(file) == ".xz" {
		return exec.Command("xz", "--decompress", "--stdout", file).Output()
	}
	return os.ReadFile(file)
}

// dependencies reads what a module says of itself: "depends=a,b" among the strings of its
// section .modinfo.
func dependencies(content []byte) ([]string, error) {
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no section .modinfo")
	}
	data, err := section.Data()
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(data), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
