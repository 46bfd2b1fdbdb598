// Copyright The flow monitor Authors
// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// genuine refuses what does not answer the operation: nothing at all, or the page of a proxy.
// The SDK reads both as an answer in which nothing is listed, and an account without interfaces
// would take the place of the last good one.
func genuine(stack *middleware.Stack) error {
	return stack.Deserialize.Insert(middleware.DeserializeMiddlewareFunc("flowmonitor.Genuine", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, md, err := next.HandleDeserialize(ctx, in)
		resp, ok := out.RawResponse.(*smithyhttp.Response)
		if err != nil || !ok || resp.StatusCode != http.StatusOK {
			return out, md, err
		}
		body := bufio.NewReaderSize(resp.Body, prologue)
		start, _ := body.Peek(prologue)
		resp.Body = struct {
			io.Reader
			io.Closer
		}{body, resp.Body}
		if want, got := middleware.GetOperationName(ctx)+"Response", rootOf(start); got != want {
			return out, md, &notAnAnswer{want, got}
		}
		return out, md, nil
	}), "OperationDeserializer", middleware.After)
}

// prologue is what may stand before the root element's name: the XML declaration and comments.
const prologue = 4 << 10

// rootOf gives the name of the first element of a document; "" where there is none.
func rootOf(start []byte) string {
	d := xml.NewDecoder(bytes.NewReader(start))
	for {
		t, err := d.Token()
		if err != nil {
			return ""
		}
		if e, ok := t.(xml.StartElement); ok {
			return e.Name.Local
		}
	}
}

type notAnAnswer struct{ want, got string }

func (e *notAnAnswer) Error() string {
	if e.got == "" {
		return fmt.Sprintf("the answer is no %s, and no XML (is there a proxy, or another service at the endpoint?)", e.want)
	}
	return fmt.Sprintf("the answer is no %s, but <%s> (is there a proxy, or another service at the endpoint?)", e.want, e.got)
}

// RetryableError makes the SDK ask again.
func (*notAnAnswer) RetryableError() bool { return true }
