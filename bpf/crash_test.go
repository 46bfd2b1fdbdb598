// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// victimEnv makes this test binary a process that counts, to be killed.
const victimEnv = "FLOWMONITOR_TEST_VICTIM"

// victim is such a process.
type victim struct {
	Options Options
	Output  string // one delivered round a line
	// Pause is the longest time that delivering takes, so that many a kill meets it. 0:
	// rounds are asked for, one for each line of the standard input.
	Pause time.Duration
}

// delivered is a round that a victim delivered.
type delivered struct {
	Process   int
	Round     uint32 // the one that began when it ended
	Uncertain int    // by this process, at its start
	Left      bool   // by the process before
	Sum       totals
}

func runVictim(config string) error {
	var v victim
	if err := json.Unmarshal([]byte(config), &v); err != nil {
		return err
	}
	out, err := os.OpenFile(v.Output, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	s, err := Load(v.Options)
	if err != nil {
		return err
	}
	// Its errors are about namespaces of others on this machine.
	_, _ = s.Adopt(context.Background())
	fmt.Println("counting")
	for asked := bufio.NewScanner(os.Stdin); v.Pause != 0 || asked.Scan(); {
		if err := v.round(s, out); err != nil {
			return err
		}
		if v.Pause == 0 {
			fmt.Println("delivered")
		}
	}
	return s.Close()
}

func (v *victim) round(s *Sockops, out io.Writer) error {
	_, left := s.Left()
	d := delivered{Process: os.Getpid(), Left: left, Uncertain: s.Continuity().Uncertain, Sum: totals{}}
	if err := s.Harvest(d.Sum.add); err != nil {
		return err
	}
	d.Round = s.round
	if s.pins != nil {
		d.Round = s.pins.of.Round
	}
	line, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := s.Offer(time.Now()); err != nil {
		return err
	}
	v.pause()
	if _, err := out.Write(append(line, '\n')); err != nil { // one system call: all or nothing
		return err
	}
	v.pause()
	return s.Settle(time.Now(), true)
}

func (v *victim) pause() {
	if v.Pause != 0 {
		time.Sleep(rand.N(v.Pause))
	}
}

// start starts the victim and returns when it counts.
func (v *victim) start(t testing.TB) *killable {
	t.Helper()
	config, err := json.Marshal(v)
	require.NoError(t, err)
	k := &killable{cmd: exec.Command(os.Args[0])}
	k.cmd.Env = append(os.Environ(), victimEnv+"="+string(config))
	k.cmd.Stderr = &k.stderr
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	k.stdin, err = k.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := k.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, k.cmd.Start())
	k.said = bufio.NewScanner(stdout)
	k.hear(t)
	return k
}

type killable struct {
	cmd    *exec.Cmd
	stdin  io.Writer
	said   *bufio.Scanner
	stderr bytes.Buffer
}

// deliver asks for a round.
func (k *killable) deliver(t testing.TB) {
	t.Helper()
	_, err := io.WriteString(k.stdin, "deliver\n")
	require.NoError(t, err)
	k.hear(t)
}

// hear waits for the next line.
func (k *killable) hear(t testing.TB) {
	t.Helper()
	if !k.said.Scan() {
		k.cmd.Wait()
		t.Fatalf("the victim ended: %v: %s", k.cmd.ProcessState, &k.stderr)
	}
}

func (k *killable) kill(t testing.TB) {
	t.Helper()
	require.NoError(t, k.cmd.Process.Kill())
	k.cmd.Wait()
	require.Empty(t, k.stderr.String(), "it was killed, and did not end by itself")
}

// deliveries reads what victims have delivered.
func (v *victim) deliveries(t testing.TB) (all []delivered) {
	t.Helper()
	b, err := os.ReadFile(v.Output)
	require.NoError(t, err)
	for line := range bytes.Lines(b) {
		var d delivered
		require.NoError(t, json.Unmarshal(line, &d))
		all = append(all, d)
	}
	return all
}

// into adds to another sum.
func (s totals) into(other totals) {
	for role, f := range s {
		other.add(&FlowKey{Role: role}, f, nil)
	}
}

func newVictim(t testing.TB, pinPath string, pause time.Duration) *victim {
	return &victim{
		Options: Options{CgroupPath: ownCgroup(t), PinPath: pinPath, MaxFlows: 4096, MaxSockets: 1 << 20},
		Output:  filepath.Join(t.TempDir(), "delivered"),
		Pause:   pause,
	}
}

func TestKilledWithoutPinsNothingIsLeftAndOpenConnectionsAreAdopted(t *testing.T) {
	require.NoError(t, supported(t))
	v := newVictim(t, "", 0)
	across, acrossServer := pair(t) // before anybody counts
	k := v.start(t)
	say(t, across, acrossServer, 1)
	up, down := exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", 10, 1)
	up++
	k.deliver(t)
	say(t, across, acrossServer, 1000) // lost:
	exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", 10, 1)
	k.kill(t) // it was not delivered
	attachedTo(t, v.Options.CgroupPath, 0)
	say(t, across, acrossServer, 10_000) // nobody counted

	k = v.start(t)
	say(t, across, acrossServer, 10)
	up2, down2 := exchange(t, "tcp4", "127.0.0.1:0", "127.0.0.1", 10, 1)
	across.Close()
	acrossServer.Close()
	k.deliver(t)
	k.kill(t)
	attachedTo(t, v.Options.CgroupPath, 0)

	sum := totals{}
	for _, d := range v.deliveries(t) {
		d.Sum.into(sum)
	}
	client, server := sum.of(RoleClient), sum.of(RoleServer)
	assert.Equal(t, up+up2+10, client.Sent)
	assert.Equal(t, down+down2, client.Received)
	assert.Equal(t, up+up2+10, server.Received)
	assert.EqualValues(t, 20, client.Attempted)
	assert.EqualValues(t, 20, server.Opened)
	assert.EqualValues(t, 21, client.Closed[ClosedOrderly])
	assert.NotContains(t, sum, uint8(RoleUnknown))
}

// What the victims have delivered is each round once, but for those that were with the
// pipeline when the process was killed: they may be there twice, and the next process says so.
func TestKilledWithPinsNothingIsLostAndAtMostOneRoundComesAgain(t *testing.T) {
	kills := howMany(2, 8, 300)
	v := newVictim(t, bpffs(t), 8*time.Millisecond)
	k := v.start(t)
	ctx, stop := context.WithCancel(t.Context())
	var talking sync.WaitGroup
	var apps [2]traffic
	for i := range apps {
		talking.Go(func() {
			for ctx.Err() == nil {
				apps[i].exchange(t, 10)
			}
		})
	}
	across, acrossServer := pair(t)
	app := traffic{connections: 1}
	for range kills {
		app.say(t, across, acrossServer, 1000)
		time.Sleep(rand.N(100 * time.Millisecond)) // a round takes about 25 ms: a random moment of any
		k.kill(t)
		app.say(t, across, acrossServer, 1000)
		k = v.start(t)
	}
	k.kill(t)
	stop()
	talking.Wait()
	across.Close()
	acrossServer.Close()

	last := &pinned{options: v.Options}
	last.start(t)
	defer last.Close()
	rest := totals{}
	if _, left := last.Left(); left {
		round := delivered{Process: os.Getpid(), Left: true, Uncertain: last.Continuity().Uncertain, Round: last.round, Sum: totals{}}
		last.deliver(t, round.Sum)
		v.append(t, round)
	}
	last.finish(t, rest)

	said, repeated := v.once(t, rest)
	for _, a := range apps {
		app.up, app.down, app.connections = app.up+a.up, app.down+a.down, app.connections+a.connections
	}
	client, server := rest.of(RoleClient), rest.of(RoleServer)
	assert.Equal(t, app.up, client.Sent)
	assert.Equal(t, app.up, server.Received)
	assert.Equal(t, app.down, server.Sent)
	assert.Equal(t, app.down, client.Received)
	assert.Equal(t, client.SegmentsSent, server.SegmentsReceived)
	assert.EqualValues(t, app.connections, client.Connect.Count)
	// A few of 100,000 end with an RST, also by the kernel's own count: ports are used again and again.
	assert.Equal(t, app.connections, all(client.Closed))
	assert.Equal(t, app.connections, all(server.Closed))
	assert.LessOrEqual(t, said, kills+1, "at most one round a kill")
	t.Logf("%d connections, %d kills: %d rounds uncertain, %d of them repeated", app.connections, kills+1, said, repeated)
}

// once adds each delivered round to sum, those that were delivered twice once. It gives how
// many the processes said might come again, and how many did.
func (v *victim) once(t testing.TB, sum totals) (said, repeated int) {
	t.Helper()
	rounds, process := map[uint32]delivered{}, 0
	for _, d := range v.deliveries(t) {
		if d.Process != process {
			process, said = d.Process, said+d.Uncertain
		}
		before, again := rounds[d.Round]
		if !again {
			rounds[d.Round] = d
			d.Sum.into(sum)
			continue
		}
		repeated++
		assert.True(t, d.Left)
		assert.Equal(t, 1, d.Uncertain, "it is said that round %d comes again", d.Round)
		assert.Equal(t, before.Sum, d.Sum, "as it was")
	}
	return said, repeated
}

func (v *victim) append(t testing.TB, d delivered) {
	t.Helper()
	f, err := os.OpenFile(v.Output, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, json.NewEncoder(f).Encode(d))
}

func all(causes [5]uint32) (n uint32) {
	for _, c := range causes {
		n += c
	}
	return n
}

func BenchmarkLoad(b *testing.B) {
	o := Options{CgroupPath: ownCgroup(b), MaxFlows: 16384, MaxSockets: 1 << 20}
	run := func(b *testing.B) {
		for b.Loop() {
			s, err := Load(o)
			require.NoError(b, err)
			require.NoError(b, s.Close())
		}
	}
	b.Run("without pins", run)
	o.PinPath = bpffs(b)
	b.Run("with pins", run)
}
