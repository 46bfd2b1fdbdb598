// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2test

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otel-flowmonitor/flowmonitor/processor/flowmonitorprocessor/internal/topology"
)

// Call is a request as the server saw it.
type Call struct {
	Service, Action, Account, Region string
	Form                             url.Values
}

// Fault is what a request gets instead of its answer.
type Fault struct {
	Delay  time.Duration // before anything is answered
	Status int           // 0: the answer itself, after the delay
	Code   string        // of the error, such as RequestLimitExceeded
	Body   []byte        // instead of an error: sent with the status
}

// Server is a test server of EC2 and STS.
type Server struct {
	URL string

	// PageLimit is how many items a page has at most, whatever was asked for; 0: as many
	// as were asked for.
	PageLimit int
	// SearchLimit is how many routes one search gives at most, without a token for more.
	SearchLimit int
	// ExternalIDs are required to assume a role, by its ARN.
	ExternalIDs map[string]string

	mu    sync.Mutex
	world *topology.Topology
	fault func(Call) *Fault
	calls []Call
	done  context.Context
}

// New starts a server of a complete topology; it is closed when the test ends.
func New(tb testing.TB, world *topology.Topology) *Server {
	tb.Helper()
	done, stop := context.WithCancel(context.Background())
	s := &Server{world: world, SearchLimit: 1000, ExternalIDs: map[string]string{}, done: done}
	web := httptest.NewServer(s)
	s.URL = web.URL
	tb.Cleanup(func() { stop(); web.CloseClientConnections(); web.Close() })
	return s
}

// SetWorld changes what there is.
func (s *Server) SetWorld(t *topology.Topology) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world = t
}

// SetFault decides what goes wrong; f gives nil for what goes well.
func (s *Server) SetFault(f func(Call) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Calls gives all requests so far.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Count gives how many requests there were of an action, of any with "".
func (s *Server) Count(action string) int {
	n := 0
	for _, c := range s.Calls() {
		if action == "" || c.Action == action {
			n++
		}
	}
	return n
}

// Environment sets credentials of an account as the ambient ones, and nothing else of this
// machine's own configuration.
func Environment(t testing.TB, account string) {
	t.Helper()
	set := t.(interface{ Setenv(key, value string) }).Setenv
	set("AWS_ACCESS_KEY_ID", "AKIA"+account)
	set("AWS_SECRET_ACCESS_KEY", "secret")
	set("AWS_SESSION_TOKEN", "")
	set("AWS_PROFILE", "")
	set("AWS_CONFIG_FILE", "/dev/null")
	set("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	set("AWS_EC2_METADATA_DISABLED", "true")
}

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=(AKIA|ASIA)([0-9]{12})/[0-9]{8}/([a-z0-9-]+)/(ec2|sts)/aws4_request, SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, Signature=[0-9a-f]{64}$`)

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	switch {
	case m == nil || m[1] == "ASIA" && r.Header.Get("X-Amz-Security-Token") != "token of "+m[2]:
		reply(w, http.StatusUnauthorized, ec2Error("AuthFailure", "AWS was not able to validate the provided access credentials"))
		return
	case r.Method != http.MethodPost || r.ParseForm() != nil:
		reply(w, http.StatusBadRequest, ec2Error("MalformedQueryString", "a form is expected"))
		return
	}
	c := Call{Service: m[4], Account: m[2], Region: m[3], Action: r.PostForm.Get("Action"), Form: r.PostForm}
	s.mu.Lock()
	s.calls = append(s.calls, c)
	fault, world := s.fault, s.world
	s.mu.Unlock()
	var f *Fault
	if fault != nil {
		f = fault(c)
	}
	if f != nil && f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			return
		case <-s.done.Done():
			return
		}
	}
	switch {
	case f != nil && f.Body != nil:
		reply(w, cmp.Or(f.Status, http.StatusOK), f.Body)
	case f != nil && f.Status != 0 && c.Service == "sts":
		reply(w, f.Status, stsError(f.Code, "as the test wants it"))
	case f != nil && f.Status != 0:
		reply(w, f.Status, ec2Error(f.Code, "as the test wants it"))
	case c.Service == "sts":
		s.sts(w, c)
	default:
		s.ec2(w, c, world)
	}
}

func reply(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func ec2Error(code, message string) []byte {
	return document("Response", "", el("Errors", el("Error", tx("Code", code), tx("Message", message))), tx("RequestID", requestID))
}

func stsError(code, message string) []byte {
	return document("ErrorResponse", "https://sts.amazonaws.com/doc/2011-06-15/",
		el("Error", tx("Type", "Sender"), tx("Code", code), tx("Message", message)), tx("RequestId", requestID))
}

const requestID = "7a62c442-3484-4f42-9342-6942EXAMPLE"

func (s *Server) sts(w http.ResponseWriter, c Call) {
	const namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
	metadata := el("ResponseMetadata", tx("RequestId", requestID))
	switch c.Action {
	case "GetCallerIdentity":
		reply(w, 200, document("GetCallerIdentityResponse", namespace, el("GetCallerIdentityResult",
			tx("Arn", "arn:aws:iam::"+c.Account+":user/collector"), tx("UserId", "AIDAEXAMPLE"), tx("Account", c.Account)), metadata))
	case "AssumeRole":
		role := c.Form.Get("RoleArn")
		parts := strings.Split(role, ":")
		if len(parts) != 6 || c.Form.Get("RoleSessionName") == "" {
			reply(w, 400, stsError("ValidationError", "RoleArn and RoleSessionName are required"))
			return
		}
		if want := s.ExternalIDs[role]; want != c.Form.Get("ExternalId") {
			reply(w, 403, stsError("AccessDenied", "is not authorized to perform: sts:AssumeRole on resource: "+role))
			return
		}
		reply(w, 200, document("AssumeRoleResponse", namespace, el("AssumeRoleResult",
			el("AssumedRoleUser", tx("AssumedRoleId", "AROAEXAMPLE:flowmonitor"), tx("Arn", "arn:aws:sts::"+parts[4]+":assumed-role/reader/flowmonitor")),
			el("Credentials", tx("AccessKeyId", "ASIA"+parts[4]), tx("SecretAccessKey", "secret"), tx("SessionToken", "token of "+parts[4]),
				tx("Expiration", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))), metadata))
	default:
		reply(w, 400, stsError("InvalidAction", "Could not find operation "+c.Action+" for version 2011-06-15"))
	}
}

// list is an answer that is a list.
type list struct {
	set   string
	items [][]node
	more  []node // beside the list
}

// limits are the sizes of pages that the API reference allows; an action that is not here
// has no pages.
var limits = map[string][2]int{
	"DescribeVpcs": {5, 1000}, "DescribeSubnets": {5, 1000}, "DescribeNetworkInterfaces": {5, 1000}, "DescribeRouteTables": {5, 100},
	"DescribeVpcPeeringConnections": {5, 1000}, "DescribeNatGateways": {5, 1000}, "DescribeInternetGateways": {5, 1000},
	"DescribeEgressOnlyInternetGateways": {5, 255}, "DescribeLocalGateways": {5, 1000}, "DescribeVpcEndpoints": {1, 1000},
	"DescribeManagedPrefixLists": {1, 100}, "GetManagedPrefixListEntries": {1, 100}, "DescribeTransitGateways": {5, 1000},
	"DescribeTransitGatewayAttachments": {5, 1000}, "DescribeTransitGatewayVpcAttachments": {5, 1000}, "DescribeTransitGatewayPeeringAttachments": {5, 1000},
	"DescribeTransitGatewayRouteTables": {5, 1000}, "GetTransitGatewayRouteTablePropagations": {5, 1000}, "SearchTransitGatewayRoutes": {5, 1000},
}

type apiError struct{ code, message string }

func (s *Server) ec2(w http.ResponseWriter, c Call, world *topology.Topology) {
	if c.Form.Get("Version") != "2016-11-15" {
		reply(w, 400, ec2Error("InvalidParameterValue", "Version"))
		return
	}
	v := &view{Topology: world, account: c.Account, region: c.Region, searchLimit: s.SearchLimit}
	filters, err := filtersOf(c.Form)
	var l *list
	if err == nil {
		l, err = v.answer(c.Action, c.Form, filters)
	}
	var next string
	if err == nil {
		next, err = s.page(c, l)
	}
	if err != nil {
		reply(w, 400, ec2Error(err.code, err.message))
		return
	}
	kids := append([]node{tx("requestId", requestID), set(l.set, l.items...)}, l.more...)
	reply(w, 200, document(c.Action+"Response", "http://ec2.amazonaws.com/doc/2016-11-15/", append(kids, tx("nextToken", next))...))
}

// filtersOf reads Filter.1.Name, Filter.1.Value.1, …
func filtersOf(form url.Values) (map[string][]string, *apiError) {
	filters := map[string][]string{}
	for i := 1; form.Has(fmt.Sprintf("Filter.%d.Name", i)); i++ {
		name := form.Get(fmt.Sprintf("Filter.%d.Name", i))
		for j := 1; form.Has(fmt.Sprintf("Filter.%d.Value.%d", i, j)); j++ {
			filters[name] = append(filters[name], form.Get(fmt.Sprintf("Filter.%d.Value.%d", i, j)))
		}
		switch n := len(filters[name]); {
		case n == 0:
			return nil, &apiError{"InvalidParameterValue", "the filter '" + name + "' has no value"}
		case n > 200:
			return nil, &apiError{"FilterLimitExceeded", "the maximum number of filter values specified on a single call is 200"}
		}
	}
	return filters, nil
}

// page cuts a list to a page and gives the token for the next.
func (s *Server) page(c Call, l *list) (next string, err *apiError) {
	limit, paged := limits[c.Action]
	if !paged {
		if c.Form.Has("MaxResults") || c.Form.Has("NextToken") {
			return "", &apiError{"UnknownParameter", "this action has no pages"}
		}
		return "", nil
	}
	size := len(l.items)
	if text := c.Form.Get("MaxResults"); text != "" {
		n, bad := strconv.Atoi(text)
		if bad != nil || n < limit[0] || n > limit[1] {
			return "", &apiError{"InvalidParameterValue", fmt.Sprintf("Value ( %s ) for parameter maxResults is invalid. Expecting a value between %d and %d", text, limit[0], limit[1])}
		}
		size = n
	} else if c.Action == "DescribeNetworkInterfaces" {
		return "", &apiError{"InvalidParameterValue", "the test server wants DescribeNetworkInterfaces with pages: without them it has a smaller bucket"}
	}
	if s.PageLimit > 0 {
		size = min(size, s.PageLimit)
	}
	// A token is good for the same request only.
	request := url.Values{}
	for k, v := range c.Form {
		if k != "NextToken" {
			request[k] = v
		}
	}
	from := 0
	if token := c.Form.Get("NextToken"); token != "" {
		data, bad := base64.URLEncoding.DecodeString(token)
		offset, of, ok := strings.Cut(string(data), " ")
		from, _ = strconv.Atoi(offset)
		if bad != nil || !ok || of != request.Encode() || from <= 0 || from > len(l.items) {
			return "", &apiError{"InvalidNextToken", "the token is invalid"}
		}
	}
	to := min(from+size, len(l.items))
	if to < len(l.items) {
		next = base64.URLEncoding.EncodeToString([]byte(strconv.Itoa(to) + " " + request.Encode()))
	}
	l.items = l.items[from:to]
	return next, nil
}
