// Package backoff owns the arithmetic of growing pauses between attempts: how long the next pause is, and how to
// spread pauses that would otherwise fall together. Everything is a pure function; whoever retries keeps the state.
package backoff
