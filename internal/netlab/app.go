// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync/atomic"
)

// appEnv carries an app's configuration to its process.
const appEnv = "NETLAB_APP"

// mainCalled is true once [Main] was: without it an app would run this program
// again from its beginning, with a lab of its own.
var mainCalled atomic.Bool

// Main runs the app if this process was started to be one (see [Node.StartServer]
// and [Node.StartClient]), and does not return then; else it returns at once. Call
// it first of all in main, or in TestMain:
//
//	func TestMain(m *testing.M) {
//		netlab.Main()
//		os.Exit(m.Run())
//	}
func Main() {
	mainCalled.Store(true)
	config, ok := os.LookupEnv(appEnv)
	if !ok {
		return
	}
	// Nothing that an app might start is an app.
	_ = os.Unsetenv(appEnv)
	os.Exit(runApp([]byte(config), os.Stdin, os.Stdout))
}

// appConfig is what [appEnv] holds: one of the two.
type appConfig struct {
	Server *ServerConfig `json:",omitempty"`
	Client *ClientConfig `json:",omitempty"`
}

// message is what an app says, one line of JSON each.
type message struct {
	Listening *netip.AddrPort `json:",omitempty"`
	Report    *Report         `json:",omitempty"`
	Error     string          `json:",omitempty"`
}

// What an app is told, one word a line. The end of its input means that nobody is
// there any more: it exits at once.
const (
	commandExchange = "exchange"
	commandStop     = "stop"
)

// runApp is the app: its exit code.
func runApp(config []byte, in io.Reader, out io.Writer) int {
	say := json.NewEncoder(out)
	var c appConfig
	err := json.Unmarshal(config, &c)
	// Room for the commands of a parent in a hurry, so that its end is still seen.
	commands := make(chan string, 16)
	go func() {
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			commands <- lines.Text()
		}
		os.Exit(exitAbandoned)
	}()
	switch {
	case err != nil:
	case c.Server != nil:
		err = serve(*c.Server, commands, func(m message) { _ = say.Encode(m) })
	case c.Client != nil:
		err = drive(*c.Client, commands, func(m message) { _ = say.Encode(m) })
	default:
		err = fmt.Errorf("%s names no app", appEnv)
	}
	if err != nil {
		_ = say.Encode(message{Error: err.Error()})
		return exitFailed
	}
	return 0
}

// Exit codes of an app.
const (
	exitFailed    = 1
	exitAbandoned = 3 // its parent is gone
)
