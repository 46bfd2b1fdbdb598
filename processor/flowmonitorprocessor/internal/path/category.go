// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package path

import (
	"github.com/otel-flowmonitor/flowmonitor/internal/flowattr"
	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// category decides by where the flow ends. Local zones come first, then services, then
// Regions; within an AZ and between AZs are always within one VPC. transit tells that a
// transit gateway was crossed.
func category(local *End, s *start, o outcome, transit bool) string {
	if s.zone != nil && s.zone.Zone.Type == topology.ZoneLocal {
		return flowattr.CategoryLocalZone
	}
	switch o.kind {
	case located:
		return categoryAt(local, s, o.place)
	case peerVPC:
		switch {
		case !regionsKnown(local, o):
		case local.Region != o.vpc.Region:
			return flowattr.CategoryInterRegion
		default:
			return flowattr.CategoryInterVPC
		}
	case service:
		if o.zone {
			return flowattr.CategoryLocalZone
		}
		return categoryOf(local.Region, o.service)
	case internet:
		return flowattr.CategoryInternet
	}
	switch {
	case !transit:
		return flowattr.CategoryUnclassified
	case otherRegion(local.Region, o.region):
		return flowattr.CategoryInterRegion // known to have reached the other Region's edge
	}
	return flowattr.CategoryTransitGateway
}

func categoryAt(local *End, s *start, p topology.Place) string {
	if p.Subnet == nil {
		return flowattr.CategoryUnclassified
	}
	v := p.VPC()
	if p.Subnet.Zone.Type == topology.ZoneLocal {
		return flowattr.CategoryLocalZone
	}
	if otherRegion(local.Region, v.Region) {
		return flowattr.CategoryInterRegion
	}
	if p.Interface.Exists() {
		if e := p.Interface.Extra().Endpoint; e != nil {
			return categoryOf(local.Region, topology.ServiceRef{Service: e.Service, Region: e.Region})
		}
	}
	switch {
	case s.vpc == nil && s.place.Subnet == nil:
		return flowattr.CategoryUnclassified // the local end's VPC is not known
	case s.vpc != v:
		return flowattr.CategoryInterVPC
	case s.zone == nil:
		return flowattr.CategoryUnclassified
	}
	switch same, known := topology.SameZone(s.zone, p.Subnet); {
	case !known:
		return flowattr.CategoryUnclassified
	case same:
		return flowattr.CategoryIntraAZ
	}
	return flowattr.CategoryInterAZ
}

func categoryOf(localRegion string, ref topology.ServiceRef) string {
	if otherRegion(localRegion, ref.Region) {
		return flowattr.CategoryInterRegion
	}
	switch ref.Service {
	case topology.ServiceS3:
		return flowattr.CategoryAmazonS3
	case topology.ServiceDynamoDB:
		return flowattr.CategoryAmazonDynamoDB
	}
	return flowattr.CategoryAWSService
}

// regionsKnown tells whether between VPCs and between Regions can be told apart, where a
// peer VPC is all that is known of the remote end.
func regionsKnown(local *End, o outcome) bool {
	return o.kind != peerVPC || local.Region != "" && o.vpc.Region != ""
}

// otherRegion needs to know both.
func otherRegion(a, b string) bool { return a != "" && b != "" && a != b }
