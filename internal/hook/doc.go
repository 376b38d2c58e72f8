// Package hook owns carrying out the lifecycle handlers of containers (postStart and preStop): a command in the
// container, an HTTP request, or a pause (behaviours 132-135). When to run one, how long it may take and what its
// failure means is decided in package plan; the only limit here is the caller's context.
package hook
