// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package topology

import "strings"

// Names of services as the AWS ranges write them, where the ranges have the service;
// else the same style.
const (
	ServiceS3       = "S3"
	ServiceDynamoDB = "DYNAMODB"
	ServiceResolver = "ROUTE53_RESOLVER"
)

// endpointNames leads the last part of an endpoint's service name to the name that
// the AWS ranges have for the service, where upper case alone does not.
var endpointNames = map[string]string{
	"s3":                     ServiceS3,
	"s3express":              ServiceS3, // directory buckets: the ranges count them as S3
	"s3-global.accesspoint":  ServiceS3,
	"dynamodb":               ServiceDynamoDB,
	"execute-api":            "API_GATEWAY",
	"elasticfilesystem":      "EFS",
	"elasticfilesystem-fips": "EFS",
	"appflow":                "AMAZON_APPFLOW",
	"ec2-instance-connect":   "EC2_INSTANCE_CONNECT",
	"iot.data":               "IOT_CORE",
	"iot.credentials":        "IOT_CORE",
	"kinesisvideo":           "KINESIS_VIDEO_STREAMS",
}

// parseServiceName takes com.amazonaws.<region>.<service> apart, the name of an
// endpoint's service and of the prefix lists that AWS manages. A customer's own
// endpoint service (com.amazonaws.vpce.<region>.vpce-svc-…) keeps its id as its name.
func parseServiceName(name string) (service, region string, ok bool) {
	name = strings.TrimPrefix(name, "cn.")
	rest, ok := strings.CutPrefix(name, "com.amazonaws.")
	if !ok {
		if rest, ok = strings.CutPrefix(name, "aws."); !ok {
			return "", "", false
		}
	}
	parts := strings.Split(rest, ".")
	if parts[0] == "vpce" && len(parts) == 3 {
		return parts[2], parts[1], true
	}
	// aws.sagemaker.eu-west-1.notebook has the Region in second place.
	var words []string
	for _, p := range parts {
		if region == "" && isRegion(p) || p == "global" && region == "" {
			region = p
			continue
		}
		words = append(words, p)
	}
	if len(words) == 0 || words[0] == "" || region == "" {
		return "", "", false
	}
	if region == "global" {
		region = ""
	}
	last := strings.Join(words, ".")
	if s, ok := endpointNames[last]; ok {
		return s, region, true
	}
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(last)), region, true
}

// isRegion tells eu-west-1 and us-gov-west-1 from a service's name by their shape.
func isRegion(s string) bool {
	parts := strings.Split(s, "-")
	last := parts[len(parts)-1]
	return len(parts) >= 3 && len(last) == 1 && last[0] >= '1' && last[0] <= '9' && len(parts[0]) >= 2 && len(parts[0]) <= 4
}

func isCoreNetwork(target string) bool {
	return strings.HasPrefix(target, "arn:") && strings.Contains(target, ":core-network/")
}

// interfaceTypes are the services whose interfaces have a type of their own.
var interfaceTypes = map[string]string{
	"load_balancer":                    "ELB",
	"network_load_balancer":            "ELB",
	"gateway_load_balancer":            "ELB",
	"lambda":                           "LAMBDA",
	"api_gateway_managed":              "API_GATEWAY",
	"global_accelerator_managed":       "GLOBALACCELERATOR",
	"iot_rules_managed":                "IOT_CORE",
	"quicksight":                       "QUICKSIGHT",
	"aws_codestar_connections_managed": "CODESTAR_CONNECTIONS",
	"ec2_instance_connect_endpoint":    "EC2_INSTANCE_CONNECT",
}

// descriptions are how services describe the interfaces that they make.
var descriptions = []struct{ prefix, service string }{
	{"ELB ", "ELB"},
	{"RDSNetworkInterface", "RDS"},
	{"Network interface for DBProxy", "RDS"},
	{"ElastiCache", "ELASTICACHE"},
	{"EFS mount target", "EFS"},
	{"AWS Lambda VPC ENI", "LAMBDA"},
	{"Amazon EKS ", "EKS"},
	{"RedshiftNetworkInterface", "REDSHIFT"},
	{"DMSNetworkInterface", "DMS"},
	{"ES ", "OPENSEARCH"},
	{"OpenSearch", "OPENSEARCH"},
	{"DAX ", "DAX"},
	{"AWS created network interface for directory", "DIRECTORY_SERVICE"},
	{"AWS created network interface for fs-", "FSX"},
	{"AmazonMQ", "MQ"},
	{"EC2 Instance Connect Endpoint", "EC2_INSTANCE_CONNECT"},
}

// InterfaceServices are the names that an interface's type or description can lead
// to: those a monitor may name beside the ones in the AWS ranges.
func InterfaceServices() []string {
	var names []string
	for _, s := range interfaceTypes {
		names = append(names, s)
	}
	for _, d := range descriptions {
		names = append(names, d.service)
	}
	return names
}

// serviceOf recognises the service that owns an interface, "" for a customer's own.
// Anybody may write any description, so it counts only when the interface is not
// known to be the customer's.
func serviceOf(n *NetworkInterface) string {
	kind := strings.ToLower(n.InterfaceType)
	if s, ok := interfaceTypes[kind]; ok {
		return s
	}
	if n.RequesterManaged != nil && !*n.RequesterManaged {
		return ""
	}
	if kind != "" && kind != "interface" {
		return ""
	}
	for _, d := range descriptions {
		if strings.HasPrefix(n.Description, d.prefix) {
			return d.service
		}
	}
	return ""
}

// clusterOf gives the cluster whose control plane an interface belongs to.
func clusterOf(n *NetworkInterface) string {
	if name, ok := strings.CutPrefix(n.Description, "Amazon EKS "); ok {
		return strings.TrimSpace(name)
	}
	return ""
}

// endpointOf gives the id of the endpoint that a description names.
func endpointOf(n *NetworkInterface) string {
	id, ok := strings.CutPrefix(n.Description, "VPC Endpoint Interface ")
	if !ok {
		return ""
	}
	return strings.TrimSpace(id)
}

// isEndpoint recognises the interface of an endpoint that need not be listed, by its
// type, or by its description where a customer cannot have written it.
func isEndpoint(n *NetworkInterface) bool {
	switch strings.ToLower(n.InterfaceType) {
	case "vpc_endpoint":
		return true
	case "", "interface":
		customers := n.RequesterManaged != nil && !*n.RequesterManaged
		return !customers && strings.HasPrefix(endpointOf(n), "vpce-")
	}
	return false
}

// natGatewayOf gives the id of the NAT gateway that a description names.
func natGatewayOf(n *NetworkInterface) string {
	id, ok := strings.CutPrefix(n.Description, "Interface for NAT Gateway ")
	if !ok {
		return ""
	}
	return strings.TrimSpace(id)
}
