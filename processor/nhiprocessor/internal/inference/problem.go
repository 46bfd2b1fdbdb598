// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package inference

// Problem is the evidence of one window, as numbers. Hosts, classes and services are
// indexes into the slices; -1 is none.
type Problem struct {
	Rows       []Row
	Hosts      []string // names as of components
	Components []string
	Services   []string // names as of components
	Classes    []Class
	Paths      []Path
}

// Row is what one host sent to another along one path.
type Row struct {
	Segments, Lost float64
	// Connections that sent, and of those the ones that retransmitted; 0 when not told.
	Active, Retransmitting float32
	Local, Remote          int32
	Class                  int32
	Path                   int32
	Service                int32
	Forward                bool // along the class, not against it
	Role                   Role
}

// Role says which end opened the connections.
type Role uint8

// Roles of the local end.
const (
	RoleUnknown Role = iota
	Client
	Server
)

// Path is a class with its direction, and where it begins and ends. A fault of one direction
// of a component concerns what comes out of one place.
type Path struct {
	First, Last   int32   // component next to the local and to the remote end, -1 for none
	Local, Remote []int32 // places that the ends are in, zone and VPC, as numbers of any kind
}

// Class is a path without direction.
type Class struct {
	Components []int32 // none twice
	Palindrome bool    // both ends are the same place
	// Usual is what is known of the class from earlier windows, nil for nothing. It learns of the window.
	Usual *Usual
}

// sides gives the hosts at the first and at the second end of the row's path. Where both
// ends of the path are the same place, the sender's side is the first.
func (p *Problem) sides(r *Row) (first, second int32) {
	if r.Forward || r.Class < 0 || p.Classes[r.Class].Palindrome {
		return r.Local, r.Remote
	}
	return r.Remote, r.Local
}

// server and client give the host at that end of a row's connections, -1 when unknown.
func (r *Row) server() int32 {
	switch r.Role {
	case Server:
		return r.Local
	case Client:
		return r.Remote
	}
	return -1
}

func (r *Row) client() int32 {
	switch r.Role {
	case Server:
		return r.Remote
	case Client:
		return r.Local
	}
	return -1
}

// Kind is what a suspect is.
type Kind uint8

// Kinds of suspects. Undetermined is no suspect: loss that stands out but cannot be told to
// be one end's or the network's.
const (
	Host Kind = iota
	Service
	Network
	Undetermined
	Demand // what would be the network's, but comes of far more traffic than usual
)

func (k Kind) String() string {
	return [...]string{"host", "service", "network", "undetermined", "demand"}[k]
}

// Suspect is one part of the explanation.
type Suspect struct {
	Kind Kind
	// Names of the components that cannot be told apart, sorted; for a host the host.
	Names []string
	// Hosts are the indexes of the blamed hosts: one, or several that cannot be told apart.
	Hosts []int32
	// Service says that a service is among what cannot be told apart.
	Service        bool
	Segments, Lost float64 // what it explains
	Rate           float64
	Confidence     float64 // 0…1, against the other explanations that were weighed
	Rows           []int32
	// Alternatives are the names of other explanations that were nearly as likely, likeliest first.
	Alternatives [][]string
}

// Explanation is the result for one window.
type Explanation struct {
	Suspects []Suspect
	// Blame has for each row the index of its suspect, or -1.
	Blame []int32
	// Background is the loss rate of rows that nothing is blamed for.
	Background float64
	Dispersion float64
	// Enough is how many segments a host needs in a window to count as observed.
	Enough float64

	// Windows is how many windows are explained together, when more than one.
	Windows int
	// Doubtful says that something may be to blame that did not suffice for a suspect.
	Doubtful bool

	rate, level float64
	mostLost    float64 // of a row, that counts in the background
	matter      matter
	candidates  *candidates
}

// SharedHosts is how many hosts must see loss at each side of a network component.
const SharedHosts = 3
