// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"context"
	"sync/atomic"
)

// attempts watches the requests of one refresh. A request that is not answered is tried
// again for more than a minute; nobody should wait as long for a word about it.
type attempts struct {
	failed  atomic.Int32 // one after the other
	trouble func(error)
}

// saidAfter is how many attempts in a row have to fail: one is a hiccup. The second comes
// within a second.
const saidAfter = 2

type attemptsKey struct{}

// watched gives a context whose requests are watched. trouble is called when attempts go on
// failing, from any goroutine.
func watched(ctx context.Context, trouble func(error)) context.Context {
	return context.WithValue(ctx, attemptsKey{}, &attempts{trouble: trouble})
}

// note takes what became of an attempt. Throttling passes, and what is denied is not tried
// again: the refresh tells both.
func (a *attempts) note(result string, err error) {
	switch result {
	case RequestOK:
		a.failed.Store(0)
	case RequestFailed:
		if a.failed.Add(1) == saidAfter {
			a.trouble(err)
		}
	}
}
