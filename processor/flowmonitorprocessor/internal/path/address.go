// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path

import "net/netip"

var (
	// Instance services over IPv6: metadata, DNS, time, EKS pod identity.
	ec2Link = netip.MustParsePrefix("fd00:ec2::/32")

	// Never on the Internet, though netip counts them as global unicast: carrier-grade
	// NAT (in VPCs: pods), benchmarking, and the reserved class E.
	notPublic = []netip.Prefix{
		netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("0.0.0.0/8"),
	}
)

// nearHost tells addresses that mean something on the host's own link only.
func nearHost(a netip.Addr) bool {
	return a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() || ec2Link.Contains(a)
}

// isPublic tells addresses that the Internet routes. The blocks reserved for
// documentation count as public: nobody uses them for anything else.
func isPublic(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
