// Package access owns who asks something of this agent over the network (port 10250), and whether they may.
//
// Who: the holder of a client certificate that an authority of the clientCAFile signed, or of a bearer token that the
// API server vouches for (TokenReview), or, if that is switched on, anybody. Whether: always, or as the API server says
// (SubjectAccessReview about the node and a subresource that follows from the path). Answers are remembered for a
// while; equal questions are asked once. Everything runs in the goroutine of the request.
//
// The delegating authenticator and authorizer of k8s.io/apiserver would do the same, at 17 MB of resident memory.
package access
