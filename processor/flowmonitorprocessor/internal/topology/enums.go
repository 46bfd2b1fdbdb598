// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"strings"
)

// ZoneType tells local zones, which are a category of their own, from others. The
// zero value says nothing; then the form of the zone's id tells.
type ZoneType uint8

const (
	ZoneUnspecified ZoneType = iota
	ZoneAvailability
	ZoneLocal
	ZoneWavelength
)

// MarshalText writes the EC2 API's word.
func (z ZoneType) MarshalText() ([]byte, error) {
	return word(z, "", "availability-zone", "local-zone", "wavelength-zone")
}

// UnmarshalText reads the EC2 API's word.
func (z *ZoneType) UnmarshalText(text []byte) error {
	return oneOf(z, text, "availability-zone", ZoneAvailability, "local-zone", ZoneLocal,
		"wavelength-zone", ZoneWavelength, "wavelength", ZoneWavelength)
}

// RouteState is active unless the target is gone.
type RouteState uint8

const (
	RouteActive RouteState = iota
	RouteBlackhole
)

// MarshalText writes the EC2 API's word.
func (s RouteState) MarshalText() ([]byte, error) { return word(s, "active", "blackhole") }

// UnmarshalText reads the EC2 API's word.
func (s *RouteState) UnmarshalText(text []byte) error {
	return oneOf(s, text, "active", RouteActive, "blackhole", RouteBlackhole)
}

// RouteType says how a route came into a transit gateway's table: a static one wins
// over a propagated one to the same destination.
type RouteType uint8

const (
	RouteStatic RouteType = iota
	RoutePropagated
)

// MarshalText writes the EC2 API's word.
func (t RouteType) MarshalText() ([]byte, error) { return word(t, "static", "propagated") }

// UnmarshalText reads the EC2 API's word.
func (t *RouteType) UnmarshalText(text []byte) error {
	return oneOf(t, text, "static", RouteStatic, "propagated", RoutePropagated)
}

// AttachmentType is what a transit gateway attachment leads to.
type AttachmentType uint8

const (
	AttachmentVPC AttachmentType = iota
	AttachmentPeering
	AttachmentVPN
	AttachmentDirectConnect
	AttachmentConnect
	AttachmentOther // leads somewhere that this model does not follow
)

// MarshalText writes the EC2 API's word.
func (t AttachmentType) MarshalText() ([]byte, error) {
	return word(t, "vpc", "peering", "vpn", "direct-connect-gateway", "connect", "other")
}

// UnmarshalText reads the EC2 API's word.
func (t *AttachmentType) UnmarshalText(text []byte) error {
	return oneOf(t, text, "vpc", AttachmentVPC, "peering", AttachmentPeering, "vpn", AttachmentVPN,
		"direct-connect", AttachmentDirectConnect, "direct-connect-gateway", AttachmentDirectConnect,
		"connect", AttachmentConnect, "other", AttachmentOther)
}

// ConnectivityType tells NAT gateways that lead to the Internet from private ones.
type ConnectivityType uint8

const (
	ConnectivityPublic ConnectivityType = iota
	ConnectivityPrivate
)

// MarshalText writes the EC2 API's word.
func (t ConnectivityType) MarshalText() ([]byte, error) { return word(t, "public", "private") }

// UnmarshalText reads the EC2 API's word.
func (t *ConnectivityType) UnmarshalText(text []byte) error {
	return oneOf(t, text, "public", ConnectivityPublic, "private", ConnectivityPrivate)
}

// EndpointType is the way a VPC endpoint works.
type EndpointType uint8

const (
	EndpointGateway EndpointType = iota
	EndpointInterface
	EndpointGatewayLoadBalancer
)

// MarshalText writes the EC2 API's word.
func (t EndpointType) MarshalText() ([]byte, error) {
	return word(t, "Gateway", "Interface", "GatewayLoadBalancer")
}

// UnmarshalText reads the EC2 API's word, in any case.
func (t *EndpointType) UnmarshalText(text []byte) error {
	return oneOf(t, []byte(strings.ToLower(string(text))), "gateway", EndpointGateway, "interface", EndpointInterface,
		"gateway-load-balancer", EndpointGatewayLoadBalancer, "gatewayloadbalancer", EndpointGatewayLoadBalancer)
}

// word gives the word of a value by its number.
func word[T ~uint8](value T, words ...string) ([]byte, error) {
	if int(value) >= len(words) {
		return nil, fmt.Errorf("%T %d has no word", value, value)
	}
	return []byte(words[value]), nil
}

// oneOf sets dst to the value that follows its word among the pairs.
func oneOf[T any](dst *T, text []byte, pairs ...any) error {
	words := make([]string, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i].(string) == string(text) {
			*dst = pairs[i+1].(T)
			return nil
		}
		words = append(words, pairs[i].(string))
	}
	return fmt.Errorf("%q is none of %s", text, strings.Join(words, ", "))
}
