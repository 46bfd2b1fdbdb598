// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/file"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/ipranges"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/parts"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/path"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/snapshot"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

var taken = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// declared are the topologies that the processor is tested with.
func declared(t testing.TB) []parts.Part {
	t.Helper()
	files, err := filepath.Glob("../../testdata/*/topology.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 14)
	var list []parts.Part
	for _, f := range files {
		data, err := os.ReadFile(f)
		require.NoError(t, err)
		own, err := file.Topology(data)
		require.NoError(t, err)
		list = append(list, parts.Part{Key: parts.Key{Source: parts.EC2, Name: f}, Account: "111111111111", Region: "eu-west-1", Current: taken,
			Own: own, Shared: &topology.Topology{Regions: []topology.Region{{RegionName: "eu-west-1"}}}})
	}
	return list
}

func written(t testing.TB, list []parts.Part) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, snapshot.Write(&b, list))
	return b.Bytes()
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	want := declared(t)
	many := &topology.Topology{}
	for i := range 2500 { // more than one line
		many.Subnets = append(many.Subnets, topology.Subnet{SubnetID: fmt.Sprint("subnet-", i), CIDRBlocks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}})
	}
	want = append(want, parts.Part{Key: parts.Key{Source: parts.File}, Current: taken, Own: many, Shared: &topology.Topology{}})
	data := written(t, want)
	assert.True(t, snapshot.Is(data))
	got, err := snapshot.Read(bytes.NewReader(data))
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range want {
		assert.Equal(t, want[i], got[i], want[i].Name)
	}
}

func TestAFileThatIsNoneOrIsDamagedIsRefusedWhole(t *testing.T) {
	want := declared(t)[:1]
	data := written(t, want)
	refused := 0
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x04
		list, err := snapshot.Read(bytes.NewReader(bad))
		if err == nil { // some bits of gzip mean nothing: the time in its header, what fills up the last byte
			assert.Equal(t, want, list, "byte %d", i)
			continue
		}
		assert.Nil(t, list)
		refused++
	}
	assert.Greater(t, refused, len(data)-10)
	for n := range data {
		if list, err := snapshot.Read(bytes.NewReader(data[:n])); err == nil || list != nil {
			t.Errorf("%d of %d bytes are enough", n, len(data))
		}
	}
}

// compressed is what a careful forger would write: the right compression.
func compressed(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.Bytes()
}

// sealed adds the right end.
func sealed(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return compressed(text + fmt.Sprintf("{\"end\":{\"lines\":%d,\"sha256\":%q}}\n", strings.Count(text, "\n"), hex.EncodeToString(sum[:])))
}

const (
	header = `{"format":"flowmonitor topology snapshot","version":1}` + "\n"
	aPart  = `{"part":{"source":"file","current":"2026-11-22T10:00:00Z"}}` + "\n"
)

func TestWhatIsWrongIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"YAML":             {[]byte("vpcs: []\n"), "no snapshot"},
		"something else":   {compressed("{}\n"), "line 1: is no snapshot"},
		"a newer version":  {sealed(`{"format":"flowmonitor topology snapshot","version":2}` + "\n"), "is of version 2; this collector reads version 1"},
		"no end":           {compressed(header + aPart), "line 3: the end is missing"},
		"another checksum": {compressed(header + `{"end":{"lines":1,"sha256":"00"}}` + "\n"), "the checksum is that of other content"},
		"more behind":      {append(sealed(header), compressed("x")...), "something stands behind the end"},
		"no part":          {sealed(header + `{"own":{"vpcs":[{"vpc_id":"vpc-1"}]}}` + "\n"), "line 2: entities of no part"},
		"no JSON":          {sealed(header + aPart + "{\n"), "line 3: "},
		"a bad address":    {sealed(header + aPart + `{"own":{"vpcs":[{"vpc_id":"vpc-1","cidr_blocks":["10.0.0.0/33"]}]}}` + "\n"), "line 3: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := snapshot.Read(bytes.NewReader(c.data))
			assert.ErrorContains(t, err, c.want)
		})
	}
	list, err := snapshot.Read(bytes.NewReader(sealed(header + aPart + `{"own":{"new_section":[1],"vpcs":[{"vpc_id":"vpc-1","new_field":1}]},"new":1}` + "\n")))
	require.NoError(t, err, "what a later minor version adds is ignored")
	assert.Equal(t, "vpc-1", list[0].Own.VPCs[0].VPCID)
}

func TestALineWithoutEndIsRefusedBeforeItFillsTheMemory(t *testing.T) {
	r, w := io.Pipe()
	go func() {
		z := gzip.NewWriter(w)
		blanks := bytes.Repeat([]byte(" "), 1<<20)
		for range 80 {
			if _, err := z.Write(blanks); err != nil {
				return
			}
		}
		_ = w.CloseWithError(errors.Join(z.Close()))
	}()
	_, err := snapshot.Read(r)
	assert.ErrorContains(t, err, "is longer than 64 MiB")
	require.NoError(t, r.Close())
}

func TestANamedPipeIsNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, err := snapshot.Load(path)
	require.ErrorContains(t, err, "not a regular file")
	require.ErrorContains(t, snapshot.Save(path, nil), "not a regular file")
}

func TestALinkStaysOne(t *testing.T) {
	folder := t.TempDir()
	target, link := filepath.Join(folder, "target"), filepath.Join(folder, "link")
	require.NoError(t, os.WriteFile(target, nil, 0o600))
	require.NoError(t, os.Symlink(target, link))
	require.NoError(t, snapshot.Save(link, nil))
	info, err := os.Lstat(link)
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&os.ModeSymlink)
	_, err = snapshot.Load(target)
	require.NoError(t, err)
}

func TestSomebodysFileIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "topology.yaml")
	for _, there := range []string{"vpcs: []\n", "x"} {
		require.NoError(t, os.WriteFile(path, []byte(there), 0o644))
		require.ErrorContains(t, snapshot.Save(path, nil), "is no snapshot")
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, there, string(data))
	}
	for _, there := range []string{"", "\x1f\x8bdamaged"} {
		require.NoError(t, os.WriteFile(path, []byte(there), 0o644))
		require.NoError(t, snapshot.Save(path, nil))
	}
}

// What a killed process left goes once it is old; what somebody may still be writing, and what others have
// beside it, stays.
func TestWhatAKilledProcessLeftIsRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with [odd] names*")
	require.NoError(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "snap[1]?.gz")
	for name, age := range map[string]time.Duration{
		".unfinished-snap[1]?.gz.123": 2 * time.Hour, ".unfinished-snap[1]?.gz.456": time.Minute, ".unfinished-other.gz.789": 2 * time.Hour, "snap[1]?.gz.old": 2 * time.Hour,
	} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, os.Chtimes(file, time.Time{}, time.Now().Add(-age)))
	}
	require.NoError(t, snapshot.Save(path, nil))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	assert.Equal(t, []string{".unfinished-other.gz.789", ".unfinished-snap[1]?.gz.456", "snap[1]?.gz", "snap[1]?.gz.old"}, left)
}

func TestASavedFileIsTheOldOneOrTheNewOne(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "topology.snapshot")
	_, err := snapshot.Load(path)
	require.True(t, os.IsNotExist(err))
	list := declared(t)
	require.NoError(t, snapshot.Save(path, list[:1]))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, os.Chmod(path, 0o640))
	require.NoError(t, snapshot.Save(path, list[:2]))
	info, err = os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode().Perm(), "the mode that the user gave it")
	got, err := snapshot.Load(path)
	require.NoError(t, err)
	assert.Len(t, got, 2)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 1, "no temporary file is left")

	err = snapshot.Save(filepath.Join(dir, "nowhere", "x"), list)
	assert.ErrorContains(t, err, filepath.Join(dir, "nowhere", "x"))
	_, err = snapshot.Load(dir)
	assert.ErrorContains(t, err, "is not a regular file")
}

// use does with what was read what the processor does.
func use(t *testing.T, list []parts.Part) {
	r := path.New(topology.Build(parts.Merge(list), ipranges.Shipped().Blocks), ipranges.Shipped())
	for _, a := range []string{"10.1.1.10", "10.2.1.10", "52.218.1.1", "2001:db8::1"} {
		for _, b := range []string{"10.1.1.10", "203.0.113.7", "2001:db8::2"} {
			if r.Resolve(&path.Origin{Host: "i-1"}, netip.MustParseAddr(a), netip.MustParseAddr(b)).Category == "" {
				t.Fatalf("%s to %s has no category", a, b)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(written(f, declared(f)[:2]))
	f.Add(sealed(header))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := snapshot.Read(bytes.NewReader(data))
		if err != nil && list != nil {
			t.Fatal("a topology and an error")
		}
		use(t, list)
	})
}

// The checksum keeps damage out; a file that was made with it may still say anything.
func FuzzContent(f *testing.F) {
	z, err := gzip.NewReader(bytes.NewReader(written(f, declared(f))))
	if err != nil {
		f.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		f.Fatal(err)
	}
	for _, l := range strings.SplitAfter(string(text), "\n") {
		if strings.HasPrefix(l, `{"own"`) {
			f.Add(l)
		}
	}
	f.Add(`{"own":{"vpcs":[{"vpc_id":"vpc-1","cidr_blocks":["",""]}],"subnets":[{"subnet_id":"subnet-1","vpc_id":"vpc-1","cidr_blocks":["::ffff:10.0.0.0/104","10.0.0.1/8"]}]}}`)
	f.Add(`{"own":{"network_interfaces":[{"network_interface_id":"eni-1","private_ip_addresses":["","fe80::1%eth0"],"ipv4_prefixes":[""]}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := snapshot.Read(bytes.NewReader(sealed(header + aPart + text + "\n")))
		if err == nil {
			use(t, list)
		}
	})
}

func BenchmarkSnapshotOf100000Interfaces(b *testing.B) {
	t := &topology.Topology{}
	for i := range 100_000 {
		t.NetworkInterfaces = append(t.NetworkInterfaces, topology.NetworkInterface{
			NetworkInterfaceID: fmt.Sprintf("eni-%017x", i), SubnetID: fmt.Sprintf("subnet-%017x", i/250), VPCID: "vpc-0123456789abcdef0",
			PrivateIPAddresses: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})},
			InstanceID:         fmt.Sprintf("i-%017x", i), OwnerID: "111111111111", InterfaceType: "interface",
		})
	}
	list := []parts.Part{{Key: parts.Key{Source: parts.EC2}, Own: t}}
	var data bytes.Buffer
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			data.Reset()
			if err := snapshot.Write(&data, list); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(data.Len()), "bytes")
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := snapshot.Read(bytes.NewReader(data.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
