// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package k8sattributes

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// labels are as many as make a pod have as many attributes as flowmonitor gives a flow.
const labels = 13

// serveCluster answers for a Kubernetes API whose cluster has a pod at each address, and
// tells the processor's client of it.
func serveCluster(b *testing.B, addresses int) {
	list := corev1.PodList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "1"},
	}
	started := metav1.NewTime(time.Unix(1_700_000_000, 0))
	for i := range addresses {
		pod := corev1.Pod{}
		pod.Name = fmt.Sprintf("checkout-6d5f7c9b8-%05d", i)
		pod.Namespace = "shop"
		pod.UID = types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
		pod.ResourceVersion = "1"
		pod.CreationTimestamp = started
		pod.Labels = map[string]string{}
		for k := range labels {
			pod.Labels[fmt.Sprintf("team.example.com/label-%02d", k)] = fmt.Sprintf("value-%02d-%d", k, i%50)
		}
		pod.Spec.NodeName = fmt.Sprintf("ip-10-0-%d-%d.eu-west-1.compute.internal", i/30>>8, i/30&255)
		pod.Spec.Hostname = pod.Name
		pod.Status.Phase = corev1.PodRunning
		pod.Status.PodIP = remote(i).String()
		pod.Status.StartTime = &started
		list.Items = append(list.Items, pod)
	}
	pods, err := json.Marshal(list)
	require.NoError(b, err)

	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Query().Get("sendInitialEvents") == "true": // as of an older API server: the client lists
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
				Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity})
		case r.URL.Query().Get("watch") != "": // nothing ever changes
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case r.URL.Path == "/api/v1/pods":
			_, _ = w.Write(pods)
		default:
			http.NotFound(w, r)
		}
	}))
	b.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	at, err := url.Parse(server.URL)
	require.NoError(b, err)
	host, port, err := net.SplitHostPort(at.Host)
	require.NoError(b, err)
	b.Setenv("KUBERNETES_SERVICE_HOST", host)
	b.Setenv("KUBERNETES_SERVICE_PORT", port)
}
