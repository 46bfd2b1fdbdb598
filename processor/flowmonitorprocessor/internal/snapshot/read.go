// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"syscall"
	"unique"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// Is tells a snapshot from a topology file, which is YAML, by its first bytes.
func Is(data []byte) bool { return bytes.HasPrefix(data, []byte{0x1f, 0x8b}) }

// Load reads the snapshot at path. A file that is not there is an error that
// [os.IsNotExist] tells.
func Load(path string) ([]parts.Part, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := Read(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// open opens a regular file. It does not wait for somebody to write to a named pipe.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, f.Close(), fmt.Errorf("%s is not a regular file", path))
	}
	return f, nil
}

// Read reads a snapshot. Nothing of a damaged one is given. It never panics, whatever is read.
func Read(r io.Reader) ([]parts.Part, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("no snapshot of a topology: %w", err)
	}
	d := decoder{r: bufio.NewReaderSize(io.LimitReader(z, maxSize), 1<<20)}
	list, err := d.all()
	if err != nil {
		return nil, fmt.Errorf("damaged snapshot: line %d: %w", d.lines+1, err)
	}
	return list, nil
}

type decoder struct {
	r     *bufio.Reader
	lines int
}

func (d *decoder) all() ([]parts.Part, error) {
	digest := sha256.New()
	var list []parts.Part
	for {
		data, err := d.next()
		if err != nil {
			return nil, err
		}
		var l line
		if err := json.Unmarshal(data, &l); err != nil {
			return nil, err
		}
		switch {
		case d.lines == 0 && l.Format != format:
			return nil, errors.New("is no snapshot of a topology")
		case d.lines == 0 && l.Version != version:
			return nil, fmt.Errorf("is of version %d; this collector reads version %d", l.Version, version)
		case d.lines == 0:
		case l.End != nil:
			if l.End.Lines != d.lines || l.End.SHA256 != hex.EncodeToString(digest.Sum(nil)) {
				return nil, errors.New("the checksum is that of other content")
			}
			return list, d.end()
		case l.Part != nil:
			p := l.Part
			list = append(list, parts.Part{Key: parts.Key{Source: p.Source, Name: p.Name}, Account: p.Account, Region: p.Region, Current: p.Current,
				Own: &topology.Topology{}, Shared: &topology.Topology{}})
		case len(list) == 0:
			return nil, errors.New("entities of no part")
		default:
			add(list[len(list)-1].Own, l.Own)
			add(list[len(list)-1].Shared, l.Shared)
		}
		digest.Write(data)
		d.lines++
	}
}

// next gives a line with its end.
func (d *decoder) next() ([]byte, error) {
	var data []byte
	for {
		piece, err := d.r.ReadSlice('\n')
		data = append(data, piece...)
		switch {
		case err == nil:
			return data, nil
		case len(data) > maxLine:
			return nil, fmt.Errorf("is longer than %d MiB", maxLine>>20)
		case errors.Is(err, io.EOF):
			return nil, errors.New("the end is missing")
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// end reads what has to be the end: the checksum of the compression stands behind it.
func (d *decoder) end() error {
	d.lines++
	if _, err := d.r.ReadByte(); err == nil {
		return errors.New("something stands behind the end")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// add appends the sections of a piece to those of a topology.
func add(t, piece *topology.Topology) {
	if piece == nil {
		return
	}
	for i := range piece.NetworkInterfaces {
		share(&piece.NetworkInterfaces[i])
	}
	all, more := reflect.ValueOf(t).Elem(), reflect.ValueOf(piece).Elem()
	for i := range all.NumField() {
		if more.Field(i).Len() > 0 {
			all.Field(i).Set(reflect.AppendSlice(all.Field(i), more.Field(i)))
		}
	}
}

// share keeps one copy of what a million interfaces say alike.
func share(n *topology.NetworkInterface) {
	for _, s := range []*string{&n.SubnetID, &n.VPCID, &n.OwnerID, &n.InterfaceType, &n.Description} {
		*s = unique.Make(*s).Value()
	}
}
