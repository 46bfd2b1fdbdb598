// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// Save writes a snapshot beside path and renames it over, so that whoever reads it finds
// the old one or the new one, whole, also after a power failure. The mode of a file that is
// there already is kept; a new one is its owner's only. What is there and is no snapshot, not
// even a damaged one, is somebody's file and an error.
func Save(path string, list []parts.Part) (err error) {
	wrap := func(err error) error { return fmt.Errorf("write the snapshot %s: %w", path, err) }
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the file that a link leads to is replaced, and not the link
	}
	mode := os.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
		if err := replaceable(path); err != nil {
			return wrap(err)
		}
	}
	removeUnfinished(path)
	f, err := os.CreateTemp(filepath.Dir(path), unfinished+filepath.Base(path)+".*")
	if err != nil {
		return wrap(err)
	}
	defer func() {
		if err != nil {
			err = wrap(errors.Join(err, f.Close(), os.Remove(f.Name())))
		}
	}()
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err := Write(buffered, list); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	_ = f.Close() // it is synced
	return syncFolder(filepath.Dir(path))
}

const (
	// unfinished begins the name of what is being written, followed by the snapshot's.
	unfinished = ".unfinished-"
	// abandoned is after how long somebody is taken to have died while writing: a snapshot of a million
	// interfaces takes seconds.
	abandoned = time.Hour
)

// removeUnfinished removes what processes that were killed have left beside a snapshot. What cannot be
// removed is left.
func removeUnfinished(path string) {
	dir, prefix := filepath.Dir(path), unfinished+filepath.Base(path)+"."
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), prefix) && e.Type().IsRegular() && time.Since(info.ModTime()) > abandoned {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// replaceable tells a snapshot, or an empty file, from others by its first bytes.
func replaceable(path string) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	start := make([]byte, 2)
	if n, err := io.ReadFull(f, start); n > 0 && (err != nil || !Is(start)) {
		return errors.New("the file that is there is no snapshot: give it another name")
	}
	return nil
}

// syncFolder makes a rename last. What cannot be opened for that (some network file
// systems) is left to the file system.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer dir.Close()
	_ = dir.Sync()
	return nil
}

// Write writes a snapshot.
func Write(w io.Writer, list []parts.Part) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed) // ids and addresses: a higher level wins a tenth and takes three times as long
	if err != nil {
		return err
	}
	e := encoder{w: z, digest: sha256.New()}
	e.line(&line{Format: format, Version: version})
	for _, p := range list {
		e.line(&line{Part: &part{p.Source, p.Name, p.Account, p.Region, p.Current.UTC()}})
		e.entities(p.Own, func(t *topology.Topology) *line { return &line{Own: t} })
		e.entities(p.Shared, func(t *topology.Topology) *line { return &line{Shared: t} })
	}
	e.line(&line{End: &end{e.lines, hex.EncodeToString(e.digest.Sum(nil))}})
	return errors.Join(e.err, z.Close())
}

type encoder struct {
	w      io.Writer
	digest hash.Hash
	lines  int
	err    error // the first; nothing is written after it
}

func (e *encoder) line(l *line) {
	if e.err != nil {
		return
	}
	data, err := json.Marshal(l)
	if err != nil {
		e.err = err
		return
	}
	data = append(data, '\n')
	e.digest.Write(data)
	e.lines++
	_, e.err = e.w.Write(data)
}

// entities writes the sections of a topology, each in pieces.
func (e *encoder) entities(t *topology.Topology, of func(*topology.Topology) *line) {
	if t == nil {
		return
	}
	all := reflect.ValueOf(t).Elem()
	for i := range all.NumField() {
		list := all.Field(i)
		for from := 0; from < list.Len(); from += linesOf {
			piece := &topology.Topology{}
			reflect.ValueOf(piece).Elem().Field(i).Set(list.Slice(from, min(from+linesOf, list.Len())))
			e.line(of(piece))
		}
	}
}
