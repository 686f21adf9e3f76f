// Package annalslog is a small client of annals.v1.LogService: what the generated code leaves to whoever uses it.
//
// Errors are told by their reason, a retry never stores a record twice, and a reader that follows goes on where it was when a
// connection, or the node behind it, is lost.
package annalslog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The first pause before another try, and the longest, where the node does not say when.
const (
	pauseMin = 50 * time.Millisecond
	pauseMax = 2 * time.Second
)

// Refused is a request that was refused: by a node, which says why, or by the connection.
type Refused struct {
	Code codes.Code
	// In capitals, from the node, such as CONDITION_FAILED; empty: the connection was lost, or never there.
	Reason string
	// What belongs to the reason, such as next_offset.
	Metadata map[string]string
	// When the node expects to do better; zero where it does not say.
	RetryAfter time.Duration
	message    string
}

func (r *Refused) Error() string {
	if r.Reason == "" {
		return fmt.Sprintf("%v: %s", r.Code, r.message)
	}
	return fmt.Sprintf("%s: %s", r.Reason, r.message)
}

// MayPass says whether the same request may do better in a while.
func (r *Refused) MayPass() bool {
	switch r.Code {
	case codes.Unavailable, codes.Unknown, codes.ResourceExhausted:
		return true
	}
	return false
}

func refused(err error) *Refused {
	said := status.Convert(err)
	refused := &Refused{Code: said.Code(), message: said.Message()}
	for _, detail := range said.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			refused.Reason, refused.Metadata = detail.Reason, detail.Metadata
		case *errdetails.RetryInfo:
			refused.RetryAfter = detail.RetryDelay.AsDuration()
		}
	}
	return refused
}

// Another try, and another, with longer and longer pauses.
type tries struct {
	pause time.Duration
}

func (t *tries) succeeded() { t.pause = 0 }

// Waits before the next try. What it returns is a *Refused where there is to be none.
func (t *tries) pauseAfter(ctx context.Context, err error) error {
	refused := refused(err)
	if !refused.MayPass() || ctx.Err() != nil {
		return refused
	}
	t.pause = min(max(2*t.pause, pauseMin), pauseMax)
	pause := refused.RetryAfter
	if pause == 0 {
		pause = t.pause/2 + rand.N(t.pause)
	}
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return refused
	}
}
