// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

// Package privileges gives up what the process may do, once it is no longer needed.
package privileges // import "github.com/otel-flowmonitor/flowmonitor/receiver/sockopsreceiver/internal/privileges"

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Drop gives up all capabilities of the process but those in keep: of all its threads, in
// all sets, ambient and bounding set included, so that no program that it starts gets one
// back. It also sets no_new_privs, by which set-user-ID programs and file capabilities
// give nothing either. It cannot be undone, and it is for the whole process, whatever else
// runs in it. What is in keep but not there is not gained.
//
// Lowering the bounding set takes CAP_SETPCAP. Without that it stays: no_new_privs alone
// keeps what is in it from coming back.
//
// An error leaves undone what it names, and what comes after it: never more privileges
// than there were.
func Drop(keep ...cap.Value) error {
	// First: while it is not set, a program that is started gets back what follows.
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	held := cap.GetProc()
	if err := lowerBound(held, keep); err != nil {
		return err
	}
	if err := cap.ResetAmbient(); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}
	rest := cap.NewSet()
	for _, c := range keep {
		for _, set := range []cap.Flag{cap.Permitted, cap.Effective} {
			has, err := held.GetFlag(set, c)
			if err == nil && has {
				err = rest.SetFlag(set, true, c)
			}
			if err != nil {
				return fmt.Errorf("keep capability %v: %w", c, err)
			}
		}
	}
	if err := rest.SetProc(); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return nil
}

// lowerBound takes all but keep out of the bounding set, if that is allowed.
func lowerBound(held *cap.Set, keep []cap.Value) error {
	if allowed, err := held.GetFlag(cap.Effective, cap.SETPCAP); err != nil || !allowed {
		return err
	}
	for c := range cap.MaxBits() {
		if bound, err := cap.GetBound(c); err != nil || !bound || slices.Contains(keep, c) {
			continue
		}
		if err := cap.DropBound(c); err != nil {
			return fmt.Errorf("take %v out of the bounding set: %w", c, err)
		}
	}
	return nil
}

// Names are the capabilities that the process has, by name.
func Names() (names []string, err error) {
	held := cap.GetProc()
	for c := range cap.MaxBits() {
		has, flagErr := held.GetFlag(cap.Permitted, c)
		err = errors.Join(err, flagErr)
		if has {
			names = append(names, c.String())
		}
	}
	return names, err
}
