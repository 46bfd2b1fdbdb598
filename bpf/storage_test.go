// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The descriptor keeps the socket alive that its peer has reset.
func TestAStorageEndsAtTheCloseWhereTheKernelWantsThat(t *testing.T) {
	here, err := storageEndsAtClose()
	require.NoError(t, err)
	for name, always := range map[string]bool{"as this kernel is": false, "as on those that need it": true} {
		t.Run(name, func(t *testing.T) {
			p := load(t, Options{storageEndsAtClose: always})
			listener, err := net.Listen("tcp4", "127.0.0.1:0")
			require.NoError(t, err)
			defer listener.Close()
			client, err := net.Dial("tcp4", listener.Addr().String())
			require.NoError(t, err)
			defer client.Close()
			server, err := listener.Accept()
			require.NoError(t, err)

			raw, err := client.(*net.TCPConn).SyscallConn()
			require.NoError(t, err)
			stored := func() (err error) {
				value := make([]byte, p.objects.Conns.ValueSize())
				require.NoError(t, raw.Control(func(fd uintptr) { err = p.objects.Conns.Lookup(int32(fd), value) }))
				return err
			}
			require.NoError(t, stored())
			require.NoError(t, server.(*net.TCPConn).SetLinger(0))
			require.NoError(t, server.Close())
			_, err = client.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			if here || always {
				assert.ErrorIs(t, stored(), ebpf.ErrKeyNotExist)
			} else {
				assert.NoError(t, stored())
			}

			sum := totals{}
			sum.settle(t, p)
			assert.Equal(t, [5]uint32{ClosedReset: 1}, sum.of(RoleClient).Closed)
		})
	}
}
