// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"
)

// storageEndsAtClose says whether a socket's storage has to be deleted when the socket is
// closed, before the kernel destroys both. Linux 7.0 lets go of a destroyed socket's storage
// in a way that the iterator over storages does not know (traced.h): it would bring the
// kernel down. That kernel is told by the state that each of its storages has.
func storageEndsAtClose() (bool, error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return false, fmt.Errorf("read the kernel's types: %w", err)
	}
	var storage *btf.Struct
	if err := kernel.TypeByName("bpf_local_storage_elem", &storage); err != nil {
		if errors.Is(err, btf.ErrNotFound) {
			return false, nil
		}
		return false, fmt.Errorf("read the kernel's type bpf_local_storage_elem: %w", err)
	}
	return slices.ContainsFunc(storage.Members, func(m btf.Member) bool { return m.Name == "state" }), nil
}
