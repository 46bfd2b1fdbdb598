// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// Tuple are the two ends of a socket (nat.h): addresses as in [FlowKey], ports in host
// order.
type Tuple = sockopsTuple

// AskTranslation marks a tuple whose translation depends on more than itself: its
// connections stay flows of their own ([KindConnection]).
const AskTranslation = 1<<32 - 1

// Translate says what becomes of the sockets with these tuples: ids[i], from 1, is what
// [FlowKey].Translation will say of tuples[i], or [AskTranslation]. It holds until the
// connection ends. n is how many the map took: it holds so many and no more. Only with
// [Options].NAT.
//
// Safe for concurrent use, but not with Close.
func (s *Sockops) Translate(tuples []Tuple, ids []uint32) (n int, err error) {
	n, err = s.objects.Translations.BatchUpdate(tuples, ids, nil)
	if err != nil {
		return n, fmt.Errorf("add %d translated connections to the %d of map translations: %w", len(tuples), s.objects.Translations.MaxEntries(), err)
	}
	return n, nil
}

// Forget takes tuples out before the end of their connections. Those that are not there
// do no harm.
func (s *Sockops) Forget(tuples []Tuple) error {
	for len(tuples) > 0 {
		n, err := s.objects.Translations.BatchDelete(tuples, nil)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ebpf.ErrKeyNotExist) && n < len(tuples):
			tuples = tuples[n+1:] // the batch ends at the first that is missing
		default:
			return fmt.Errorf("forget %d translated connections: %w", len(tuples), err)
		}
	}
	return nil
}

// TranslationsComplete says whether every translated connection that is older than the
// next walk is in the map: if so, a connection that is not there has no translation, and
// needs no flow of its own once it has lived through two walks. Starts as false.
func (s *Sockops) TranslationsComplete(complete bool) error {
	return s.objects.TranslationsComplete.Set(complete)
}

// Translations hands over the tuples that the kernel has been told of and that still have
// a connection: with pins also those of an earlier process.
func (s *Sockops) Translations(yield func(Tuple, uint32)) error {
	var tuple Tuple
	var id uint32
	it := s.objects.Translations.Iterate()
	for it.Next(&tuple, &id) {
		yield(tuple, id)
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) { // so many went meanwhile
		return fmt.Errorf("read the translated connections: %w", err)
	}
	return nil
}
