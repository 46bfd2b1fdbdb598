// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// pairOf opens a connection over loopback, from a given port if it is not 0.
func pairOf(t testing.TB, ln net.Listener, port int) (client, server net.Conn) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}}
	client, err := dialer.DialContext(t.Context(), "tcp4", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	server, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	return client, server
}

// write moves n bytes.
func write(t testing.TB, from, to net.Conn, n int) {
	t.Helper()
	_, err := from.Write(make([]byte, n))
	require.NoError(t, err)
	for read := 0; read < n; {
		k, err := to.Read(make([]byte, n))
		require.NoError(t, err)
		read += k
	}
}

// tupleOf is what a socket holds.
func tupleOf(c net.Conn) (k Tuple) {
	local, peer := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
	k.Local, k.Peer = local.Addr().As16(), peer.Addr().As16()
	k.LocalPort, k.PeerPort = local.Port(), peer.Port()
	return k
}

// harvestKeys gives what was sent by flow.
func harvestKeys(t testing.TB, p *Sockops) map[FlowKey]uint64 {
	t.Helper()
	sent := map[FlowKey]uint64{}
	require.NoError(t, p.Harvest(func(k *FlowKey, f *Flow, _ *Detail) { sent[*k] += f.Sent }))
	return sent
}

// only gives the one flow of a role.
func only(t testing.TB, flows map[FlowKey]uint64, role uint8) (key FlowKey, sent uint64) {
	t.Helper()
	n := 0
	for k, s := range flows {
		if k.Role == role {
			key, sent = k, s
			n++
		}
	}
	require.Equal(t, 1, n, "%v", flows)
	return key, sent
}

func translationsOf(t testing.TB, p *Sockops) map[Tuple]uint32 {
	t.Helper()
	found := map[Tuple]uint32{}
	require.NoError(t, p.Translations(func(k Tuple, id uint32) { found[k] = id }))
	return found
}

func TestAConnectionAsksUntilItIsTranslatedOrSettled(t *testing.T) {
	p := load(t, Options{NAT: true})
	require.NoError(t, p.TranslationsComplete(true))
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	client, server := pairOf(t, ln, 0)
	write(t, client, server, 100)

	flows := harvestKeys(t, p)
	key, sent := only(t, flows, RoleClient)
	tuple := tupleOf(client)
	assert.EqualValues(t, KindConnection, key.Kind)
	assert.EqualValues(t, PortPeer, key.Ports)
	assert.Equal(t, tuple, Tuple{Local: key.Local, Peer: key.Peer, LocalPort: key.LocalPort, PeerPort: key.PeerPort})
	assert.EqualValues(t, 100, sent)
	key, _ = only(t, flows, RoleServer)
	assert.EqualValues(t, KindConnection, key.Kind)
	assert.EqualValues(t, PortLocal, key.Ports)

	n, err := p.Translate([]Tuple{tuple}, []uint32{7})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	write(t, client, server, 200)
	flows = harvestKeys(t, p)
	key, sent = only(t, flows, RoleClient)
	assert.EqualValues(t, KindFlow, key.Kind)
	assert.EqualValues(t, 7, key.Translation)
	assert.Zero(t, key.LocalPort)
	assert.Zero(t, key.Ports)
	assert.EqualValues(t, 200, sent)
	key, _ = only(t, flows, RoleServer)
	assert.EqualValues(t, KindFlow, key.Kind, "a round old, and not translated")
	assert.Zero(t, key.Translation)

	t.Run("what depends on more than the tuple goes on asking", func(t *testing.T) {
		_, err := p.Translate([]Tuple{tupleOf(server)}, []uint32{AskTranslation})
		require.NoError(t, err)
		key, _ := only(t, harvestKeys(t, p), RoleServer)
		assert.EqualValues(t, KindConnection, key.Kind)
		require.NoError(t, p.Forget([]Tuple{tupleOf(server), tupleOf(server)}))
	})
	t.Run("and so does what is not translated while that is not certain", func(t *testing.T) {
		require.NoError(t, p.TranslationsComplete(false))
		flows := harvestKeys(t, p)
		key, _ := only(t, flows, RoleServer)
		assert.EqualValues(t, KindConnection, key.Kind)
		key, _ = only(t, flows, RoleClient)
		assert.EqualValues(t, 7, key.Translation)
		require.NoError(t, p.TranslationsComplete(true))
		harvestKeys(t, p)
	})

	// Its end belongs to it, and to nothing that comes after it.
	write(t, client, server, 300)
	assert.Equal(t, map[Tuple]uint32{tuple: 7}, translationsOf(t, p))
	require.NoError(t, client.(*net.TCPConn).SetLinger(0)) // no TIME_WAIT holds the port
	require.NoError(t, client.Close())
	server.Close()
	key, sent = only(t, harvestKeys(t, p), RoleClient)
	assert.EqualValues(t, 7, key.Translation)
	assert.EqualValues(t, 300, sent)
	assert.Empty(t, translationsOf(t, p))

	// Also if user space was late, and told of it when it had ended.
	_, err = p.Translate([]Tuple{tuple}, []uint32{7})
	require.NoError(t, err)
	again, peer := pairOf(t, ln, int(tuple.LocalPort))
	require.Equal(t, tuple, tupleOf(again))
	write(t, again, peer, 400)
	key, sent = only(t, harvestKeys(t, p), RoleClient)
	assert.EqualValues(t, KindConnection, key.Kind, "another connection of the same ports asks")
	assert.EqualValues(t, 400, sent)
}

// Without room each row of a connection goes to an overflow flow, and nothing is lost.
func TestTooManyRowsOfConnectionsAreCountedInTheOverflowFlow(t *testing.T) {
	const n = 60
	p := load(t, Options{NAT: true, MaxFlows: 10})
	up, down := exchange(t, "tcp4", "127.0.0.1:0", "", n, 4)
	sum, overflowed := totals{}, uint64(0)
	require.Eventually(t, func() bool {
		require.NoError(t, p.Harvest(func(k *FlowKey, f *Flow, d *Detail) {
			sum.add(k, f, d)
			if k.Kind == KindOverflowIPv4 {
				overflowed += f.Sent
				assert.Equal(t, FlowKey{Kind: KindOverflowIPv4, Role: k.Role}, *k)
			}
		}))
		closed := sum.of(RoleClient).Closed
		return closed[ClosedOrderly]+closed[ClosedReset]+closed[ClosedAborted] == n
	}, 10*time.Second, 10*time.Millisecond)
	assert.NotZero(t, overflowed)
	assert.EqualValues(t, up, sum.of(RoleClient).Sent)
	assert.EqualValues(t, down, sum.of(RoleClient).Received)
	assert.EqualValues(t, n, sum.of(RoleClient).Opened)
}

func TestAFullMapOfTranslationsSaysHowManyItTook(t *testing.T) {
	p := load(t, Options{}) // room for one
	n, err := p.Translate([]Tuple{{LocalPort: 1}, {LocalPort: 2}, {LocalPort: 3}}, []uint32{1, 2, 3})
	assert.ErrorIs(t, err, unix.E2BIG)
	assert.Equal(t, 1, n)
	assert.Equal(t, map[Tuple]uint32{{LocalPort: 1}: 1}, translationsOf(t, p))
}
