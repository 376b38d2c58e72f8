package runtime

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/fault"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Events hands every event of the runtime to tell, one after the other, until the stream ends or ctx does; it always
// returns an error that says why. A runtime without events ends it with fault.ErrUnsupported. There is no sign that
// the stream stands before the first event comes: CRI knows none.
func (c *Client) Events(ctx context.Context, tell func(engine.Event)) error {
	const what = "follow the container runtime's events"
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.runtime.GetContainerEvents(ctx, &cri.GetEventsRequest{})
	for err == nil {
		var e *cri.ContainerEventResponse
		if e, err = stream.Recv(); err != nil {
			break
		}
		if event, ours := eventOf(e, time.Now()); ours {
			tell(event)
		}
	}
	if errors.Is(err, io.EOF) {
		err = fault.As(fault.ErrUnavailable, &callError{what: what, message: "the runtime ended the stream", cause: err})
	} else {
		err = explain(ctx, what, err)
	}
	c.observe("get_container_events", time.Since(began), err)
	return err
}
