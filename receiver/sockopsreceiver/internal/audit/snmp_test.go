// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	snmp = `Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 483742 483018 396 222 0 5502186 18446744073709551615 259 0 528 0
Udp: InDatagrams
Udp: 7
`
	netstat = `TcpExt: SyncookiesSent SyncookiesRecv EmbryonicRsts TW TWRecycled TWKilled Later
TcpExt: 1 2 3 4 5 6 7
IpExt: InNoRoutes
IpExt: 0
`
	sockstat = `sockets: used 15
TCP: inuse 1 orphan 0 tw 2 alloc 3 mem 140
UDP: inuse 0 mem 7
`
)

func TestTheCountersOfANamespace(t *testing.T) {
	var r reading
	require.NoError(t, r.parseSNMP([]byte(snmp)))
	require.NoError(t, r.parseNetstat([]byte(netstat)))
	require.NoError(t, r.parseSockstat([]byte(sockstat)))
	assert.Equal(t, reading{
		activeOpens: 483742, passiveOpens: 483018, outSegs: 1<<64 - 1, retransSegs: 259, outRsts: 528,
		syncookiesSent: 1, embryonicRsts: 3, timeWaitsEnded: 4, timeWaitsUsed: 5, timeWaitsShot: 6,
		timeWaitsNow: 2,
	}, r)
	assert.EqualValues(t, 17, r.timeWaits())
}

func TestAKernelWithoutAColumnOfTcpExtDoes(t *testing.T) {
	var r reading
	require.NoError(t, r.parseNetstat([]byte("TcpExt: EmbryonicRsts\nTcpExt: 3\n")))
	assert.Equal(t, reading{embryonicRsts: 3}, r)
}

func TestFilesThatAreNotTheKernels(t *testing.T) {
	for name, c := range map[string]struct {
		parse func(*reading, []byte) error
		file  string
		want  string
	}{
		"an empty file":           {(*reading).parseSNMP, "", "table Tcp of the file snmp: no such table"},
		"a table without values":  {(*reading).parseSNMP, "Tcp: ActiveOpens\n", "table Tcp of the file snmp: no such table"},
		"a column too few":        {(*reading).parseSNMP, strings.Replace(snmp, "RetransSegs", "Retrans", 1), "table Tcp of the file snmp: no such column"},
		"a value too few":         {(*reading).parseSNMP, strings.Replace(snmp, " 528 0\n", "\n", 1), "table Tcp of the file snmp: no such column"},
		"a value that is none":    {(*reading).parseSNMP, strings.Replace(snmp, "483742", "many", 1), `table Tcp of the file snmp: ActiveOpens: strconv.ParseUint: parsing "many": invalid syntax`},
		"no TcpExt":               {(*reading).parseNetstat, snmp, "table TcpExt of the file netstat: no such table"},
		"a TcpExt that is none":   {(*reading).parseNetstat, "TcpExt: TW\nTcpExt: -1\n", `table TcpExt of the file netstat: TW: strconv.ParseUint: parsing "-1": invalid syntax`},
		"sockstat without TCP":    {(*reading).parseSockstat, "sockets: used 1\n", "the file sockstat: no such table"},
		"sockstat without tw":     {(*reading).parseSockstat, "TCP: inuse 1\n", "the file sockstat: tw: no such column"},
		"sockstat with a tw less": {(*reading).parseSockstat, "TCP: inuse 1 tw\n", `the file sockstat: tw: strconv.ParseUint: parsing "": invalid syntax`},
	} {
		t.Run(name, func(t *testing.T) {
			assert.EqualError(t, c.parse(&reading{}, []byte(c.file)), c.want)
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range []string{snmp, netstat, sockstat, "Tcp:\nTcp:", "TCP: tw"} {
		f.Add([]byte(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, parse := range []func(*reading, []byte) error{(*reading).parseSNMP, (*reading).parseNetstat, (*reading).parseSockstat} {
			var once, again reading
			if err := parse(&once, file); err != nil {
				continue
			}
			// What follows does not matter, and what comes before it only if it is that table.
			require.NoError(t, parse(&again, append(append([]byte("Other: 1\n"), file...), "\nOther: 2\n"...)))
			require.Equal(t, once, again)
		}
	})
}

func TestParsingAllocatesNothing(t *testing.T) {
	var r reading
	s, n, k := []byte(snmp), []byte(netstat), []byte(sockstat)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_ = r.parseSNMP(s)
		_ = r.parseNetstat(n)
		_ = r.parseSockstat(k)
	}))
}
